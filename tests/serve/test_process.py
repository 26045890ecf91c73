"""The server as a process: the examples of its documentation, newer models, its end."""

from collections.abc import Iterator
import concurrent.futures
import http.client
import importlib.util
import json
import os
from pathlib import Path
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request

from absl import flags
from absl.testing import flagsaver
import pytest

import rearec_jax
from rearec_jax.commands.serve import serve_run
from rearec_jax.errors import UserError
from tests.processes import ROOT
from tests.serve.conftest import write
from tests.test_main import start

JSON = {"Content-Type": "application/json"}
QUESTION = {"histories": [["i1", "i2"]], "k": 3}


def get(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, JSON)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


class Server:
    def __init__(self, *options: str, cwd: Path):
        self.process = start("--mode=serve", "--port=0", "--max_batch=2", *options, cwd=cwd)
        self.said: list[str] = []
        self.place = cwd
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.url = self.wait_for(r"listening at (\S+)")[1]

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)

    def wait_for(self, pattern: str, seconds: float = 60) -> re.Match[str]:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if found := re.search(pattern, "".join(self.said)):
                return found
            time.sleep(0.05)
        raise AssertionError(f"{pattern} was not said: {''.join(self.said)}")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    place = tmp_path_factory.mktemp("process")
    write(place / "1")
    os.symlink("1", place / "current")
    server = Server(f"--runs={place / 'current'}", "--watch=0.1", cwd=place)
    server.wait_for("model current is ready")
    yield server
    with server.process:  # closes its pipes
        server.process.kill()
        server.reader.join()


def swap(place: Path, target: str) -> None:
    os.symlink(target, place / "next")
    os.replace(place / "next", place / "current")


def test_the_documentation_runs_as_it_stands(server):
    text = (ROOT / "docs/serving.md").read_text(encoding="utf-8")
    address = server.url.removeprefix("http://")
    ids = {'"17"': '"i17"', '"4"': '"i4"', '"39"': '"i3"'}  # this model's items have other names
    for language, code in re.findall(r"```(bash|python)\n(.*?)```", text, re.DOTALL):
        if "rearec_jax.main" in code:
            continue  # the command that started this server
        for old, new in {"localhost:8000": address, **ids}.items():
            code = code.replace(old, new)
        if language == "bash" and shutil.which("curl") is None:
            continue
        command = ["bash", "-euc", code] if language == "bash" else [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0 and done.stdout and "error" not in done.stdout, done


@pytest.mark.parametrize("path", ["/samples", "/health", "/static/page.css"])
def test_only_names_of_this_machine_are_answered(server, path):
    """A page elsewhere whose name leads here (DNS rebinding) reads nothing."""
    port = server.url.rpartition(":")[2]
    named = {"localhost": 200, f"127.0.0.1:{port}": 200, f"[::1]:{port}": 200}
    for host, status in (named | {"evil.example": 400, f"evil.example:{port}": 400}).items():
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=20)
        connection.request("GET", path, headers={"Host": host})
        with connection.getresponse() as answer:
            assert (answer.status, answer.read() == b"") == (status, False)
        connection.close()


def test_a_newer_model_takes_over_and_no_request_is_dropped(server):
    place = server.place
    write(place / "2", seed=1)
    expected = [rearec_jax.load(place / n).recommend([["i1", "i2"]], 3).ids[0] for n in "12"]
    assert expected[0] != expected[1]
    answers, stop = [], threading.Event()

    def keep_asking():
        while not stop.is_set():
            answers.append(get(f"{server.url}/recommend", QUESTION)["results"][0]["ids"])

    asking = threading.Thread(target=keep_asking)
    asking.start()
    swap(place, "2")
    server.wait_for("is replaced by what")
    time.sleep(0.1)
    stop.set()
    asking.join()
    assert answers[0] == expected[0] and answers[-1] == expected[1]
    first_new = answers.index(expected[1])
    assert all(ids == expected[ids_at >= first_new] for ids_at, ids in enumerate(answers))


def test_a_broken_newer_model_is_said_and_the_old_one_stays(server):
    place = server.place
    before = get(f"{server.url}/recommend", QUESTION)["results"]
    shutil.copytree(place / "1", place / "broken")
    (place / "broken" / "table.npy").write_bytes(b"nothing")
    swap(place, "broken")
    server.wait_for("stays as it was: .*table.npy cannot be read")
    (told,) = get(f"{server.url}/ready")["models"]
    assert "cannot be read" in told["problem"]
    assert get(f"{server.url}/recommend", QUESTION)["results"] == before


def test_it_ends_when_it_has_answered(server):  # the last test: the server is gone after it
    """Each kept connection ends with an answer that closes it, and none without one."""
    statuses, body = [], json.dumps(QUESTION)

    def keep_asking():
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=20)
        while True:
            connection.request("POST", "/recommend", body, JSON)
            with connection.getresponse() as answer:
                answer.read()
                statuses.append(answer.status)
                if answer.will_close:
                    return

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(keep_asking) for _ in range(4)]
        time.sleep(0.2)
        started = time.monotonic()
        assert server.stop() == 0, server.said
        assert time.monotonic() - started < 5
        for one in asking:
            one.result(10)
    assert statuses.count(200) > 4 and set(statuses) <= {200, 503}
    begun, answered = server.wait_for(r"stopped: (\S+) of (\S+) requests answered").groups()
    assert begun == answered and "Traceback" not in "".join(server.said)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "--workdir=DIR, a finished run or an exported model, is missing"),
        (["--workdir=nowhere"], "--workdir=nowhere does not exist"),
        (["--workdir=x", "--max_k=0"], "--max_k=0 must be greater than 0"),
        (["--workdir=x", "--max_seconds=nan"], "--max_seconds=nan must be greater than 0"),
        (["--workdir=x", "--max_header_seconds=nan"], "--max_header_seconds=nan must be greater"),
        (["--workdir=x", "--max_connections=0"], "--max_connections=0 must be greater than 0"),
        (["--workdir=x", "--allowed_hosts=a.example:80"], "must be a name or an address without"),
        (["--workdir=x", "--allowed_hosts=http://a"], "--allowed_hosts=http://a must be a name"),
        (["--workdir=x", "--allowed_hosts=*"], "--allowed_hosts=* must be a name"),
        (["--workdir=x", "--allowed_hosts=*.a.example"], "no wildcards"),
        (["--workdir=x", "--allowed_hosts=\u00fc.example"], "xn--"),
        (["--workdir=x", "--watch=nan"], "--watch=nan must be at least 0"),
        (["--workdir=x", "--max_histories=9", "--max_waiting=8"], "must not exceed --max_waiting"),
        (["--workdir=x", "--api_key_file=nokey"], "--api_key_file=nokey cannot be read"),
    ],
)
def test_mistakes_are_one_sentence(options, said, tmp_path, monkeypatch, parsed_flags):
    monkeypatch.chdir(tmp_path)
    values = {"port": "0"} | dict(option[2:].split("=") for option in options)
    workdir = values.pop("workdir", None)
    with flagsaver.as_parsed(**values), pytest.raises(UserError, match=re.escape(said)):
        serve_run(workdir, [])


@pytest.mark.parametrize("where", ["file", "variable"])
def test_a_key_that_no_header_may_hold_is_refused(where, tmp_path, monkeypatch, parsed_flags):
    (tmp_path / "key").write_text("\u201csecret\u201d\n", encoding="utf-8")
    values = {"api_key_file": str(tmp_path / "key")} if where == "file" else {}
    if where == "variable":
        monkeypatch.setenv("REAREC_API_KEY", "\u201csecret\u201d")
    with flagsaver.as_parsed(**values), pytest.raises(UserError, match=r"U\+201C.*printable ASCII"):
        serve_run("x", [])


def test_without_the_extra_it_says_which(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"--mode=serve needs starlette.*pip install -e '.\[serve\]'"
    ):
        serve_run("x", [])


@pytest.fixture
def parsed_flags():
    was_parsed = flags.FLAGS.is_parsed()
    flags.FLAGS.mark_as_parsed()
    yield
    if not was_parsed:
        flags.FLAGS.unparse_flags()
