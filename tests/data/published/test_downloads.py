"""Downloads from a real server on localhost: cut, changed, refused, resumed."""

import hashlib
import logging
from multiprocessing import get_context
import os
import random

import pytest

from rearec_jax.data.published import downloads
from rearec_jax.data.published.downloads import RemoteFile, fetch, find
from rearec_jax.errors import UserError
from tests.data.published.file_server import serving

CONTENT = random.Random(0).randbytes(3_000_000)
FILE = RemoteFile("some/where/file.bin")
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "WAIT_SECONDS", 0.001)
    path = tmp_path / "server" / FILE.path
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    with serving(tmp_path / "server") as running:
        yield running


def replace_content(server, content):
    (server.root / FILE.path).write_bytes(content)


def names(directory):
    return sorted(os.listdir(directory))


def test_a_file_arrives_whole_and_is_not_fetched_again(server, tmp_path):
    place = fetch(FILE, server.url + "/", tmp_path / "new" / "down")
    assert place == tmp_path / "new" / "down" / "file.bin"
    assert place.read_bytes() == CONTENT
    assert fetch(FILE, server.url, place.parent) == place
    assert len(server.requests) == 1
    assert names(place.parent) == [".lock", "file.bin", "file.bin.sha256"]
    assert (place.parent / "file.bin.sha256").read_text() == f"{SHA}  file.bin\n"


def test_cut_connections_continue_where_they_stopped(server, tmp_path, caplog):
    server.cuts = [1_000_000, 500_000, 0, 0, 700_000]
    with caplog.at_level(logging.WARNING):
        assert fetch(FILE, server.url, tmp_path).read_bytes() == CONTENT
    starts = [start for _, start in server.requests]
    assert starts == [0, 1_000_000, 1_500_000, 1_500_000, 1_500_000, 2_200_000]
    assert "after 1000000 bytes; trying again" in caplog.text


def test_a_later_call_continues_what_an_earlier_one_left(server, tmp_path):
    server.cuts = [1_000_000] + [0] * 20
    with pytest.raises(UserError, match=r"file\.bin cannot be downloaded.*continues where it"):
        fetch(FILE, server.url, tmp_path)
    assert (tmp_path / "file.bin.part").stat().st_size == 1_000_000
    assert not (tmp_path / "file.bin").exists()
    server.cuts = []
    server.requests.clear()
    assert fetch(FILE, server.url, tmp_path).read_bytes() == CONTENT
    assert server.requests == [(f"/{FILE.path}", 1_000_000)]
    assert "file.bin.part" not in names(tmp_path)


def test_a_file_that_changed_in_between_starts_again(server, tmp_path):
    server.cuts = [1_000_000] + [0] * 20
    with pytest.raises(UserError):
        fetch(FILE, server.url, tmp_path)
    server.cuts = []
    other = CONTENT[::-1]
    replace_content(server, other)
    assert fetch(FILE, server.url, tmp_path).read_bytes() == other


def test_a_server_without_ranges_starts_again(server, tmp_path):
    server.ranges = False
    server.cuts = [1_000_000]
    assert fetch(FILE, server.url, tmp_path).read_bytes() == CONTENT


def test_a_server_that_tells_no_length(server, tmp_path):
    server.lengths = False
    assert fetch(FILE, server.url, tmp_path).read_bytes() == CONTENT


def test_a_complete_part_is_taken_as_it_is(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    assert fetch(FILE, server.url, tmp_path).read_bytes() == CONTENT
    assert server.requests == [(f"/{FILE.path}", len(CONTENT))]


def test_a_part_longer_than_the_file_starts_again(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT + b"more")
    assert fetch(FILE, server.url, tmp_path).read_bytes() == CONTENT


def test_errors_that_pass_are_tried_again(server, tmp_path):
    server.statuses = [503, 429, 500]
    assert fetch(FILE, server.url, tmp_path).read_bytes() == CONTENT


def test_a_file_that_is_not_there_is_said_at_once(server, tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.gz cannot be downloaded \(HTTP 404"):
        fetch(RemoteFile("nowhere.gz"), server.url, tmp_path)
    assert len(server.requests) == 1
    assert names(tmp_path) == [".lock", "server"]


def test_no_server_at_all(server, tmp_path):
    url = server.url
    server.shutdown()
    server.server_close()
    with pytest.raises(UserError, match=r"cannot be downloaded .*data\.mirror"):
        fetch(FILE, url, tmp_path)


def test_a_wrong_checksum_leaves_no_file(server, tmp_path):
    file = RemoteFile(FILE.path, sha256="0" * 64)
    with pytest.raises(UserError, match=r"SHA-256 .* is not the publisher's, 0000"):
        fetch(file, server.url, tmp_path)
    assert names(tmp_path) == [".lock", "server"]
    file = RemoteFile(FILE.path, sha256=SHA)
    assert fetch(file, server.url, tmp_path).read_bytes() == CONTENT


def test_a_second_download_must_equal_the_first(server, tmp_path):
    place = fetch(FILE, server.url, tmp_path)
    place.unlink()
    replace_content(server, CONTENT[::-1])
    with pytest.raises(UserError, match=r"first download .*has changed.*file\.bin\.sha256"):
        fetch(FILE, server.url, tmp_path)
    assert not place.exists()
    (tmp_path / "file.bin.sha256").unlink()
    assert fetch(FILE, server.url, tmp_path).read_bytes() == CONTENT[::-1]


def test_a_directory_serves_as_mirror_and_is_read_in_place(server, tmp_path):
    root = server.root
    assert find(FILE, str(root), tmp_path / "unused") == root / FILE.path
    flat = tmp_path / "flat"
    flat.mkdir()
    with pytest.raises(UserError, match=r"flat \(option data\.mirror\) holds neither some/where"):
        find(FILE, str(flat), tmp_path / "unused")
    (flat / FILE.name).write_bytes(b"x")
    assert find(FILE, str(flat), tmp_path / "unused") == flat / FILE.name
    assert not (tmp_path / "unused").exists()
    assert find(FILE, server.url, tmp_path / "used").read_bytes() == CONTENT


def _fetch(url, directory):
    assert fetch(FILE, url, directory).read_bytes() == CONTENT


def test_processes_at_once_do_not_mix_their_bytes(server, tmp_path):
    context = get_context("spawn")
    workers = [context.Process(target=_fetch, args=(server.url, tmp_path)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert len(server.requests) == 1
