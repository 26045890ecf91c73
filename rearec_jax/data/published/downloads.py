"""Gets files of a public data set from its server, a mirror or a directory, whole or not at all.

A download that was cut continues where it stopped (HTTP Range). The bytes are written to NAME.part,
which is renamed when its size, and its checksum where one is known, are right. The SHA-256 of the
first download of each file is kept beside it in NAME.sha256: later downloads of the same file must
equal it. It shows that nothing has changed since, not that the first download was right.
"""

from collections.abc import Iterator
import dataclasses
from email.message import Message
import hashlib
import http.client
import logging
import os
from pathlib import Path
import re
import time
import urllib.error
import urllib.parse
import urllib.request

import filelock

from rearec_jax.errors import UserError
from rearec_jax.run.files import expanded
from rearec_jax.run.progress import ByteProgress

ATTEMPTS = 5  # in a row without a single new byte
WAIT_SECONDS = 1.0  # the wait before the second attempt; it doubles with each
TIMEOUT_SECONDS = 60.0  # the time without any byte after which a connection is lost
_BLOCK = 1 << 20
_LOST = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, OSError)


@dataclasses.dataclass(frozen=True)
class RemoteFile:
    """A file on a server.

    path:   its path below the server's root.
    sha256: its SHA-256 where the publisher gives it, else "".
    """

    path: str
    sha256: str = ""

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


def is_url(source: str) -> bool:
    """Says whether ``source`` is a URL prefix rather than a directory."""
    return re.match(r"https?://", source) is not None


def find(file: RemoteFile, source: str, directory: Path) -> Path:
    """Returns the local path of ``file``, which is downloaded if it is not there yet.

    Args:
        file: the file.
        source: a URL prefix, or a directory that holds the file under its whole path or its name
            alone, from where it is then read.
        directory: the directory for downloads.

    Raises:
        UserError: the file does not exist or has changed, or the server cannot be reached.
    """
    if is_url(source):
        return fetch(file, source, directory)
    root = Path(expanded(source))
    for candidate in (root / file.path, root / file.name):
        if candidate.is_file():
            return candidate
    raise UserError(
        f"directory {root} (option data.mirror) holds neither {file.path} nor {file.name}; put the"
        " file there, or leave data.mirror empty to download it"
    )


def fetch(file: RemoteFile, source: str, directory: Path) -> Path:
    """Downloads ``file`` from the URL prefix ``source``, unless it is in ``directory`` already.

    Raises:
        UserError: see `find`.
    """
    path = directory / file.name
    if path.is_file():
        return path
    directory.mkdir(parents=True, exist_ok=True)
    # Other processes wait: two writers of one NAME.part would mix its bytes.
    with filelock.FileLock(directory / ".lock", fallback_to_soft=False):
        return path if path.is_file() else _get(file, source, path)


def _get(file: RemoteFile, source: str, path: Path) -> Path:
    url = f"{source.rstrip('/')}/{urllib.parse.quote(file.path)}"
    part = path.with_name(f"{path.name}.part")
    _download(url, part)
    _verify(part, path, file, url)
    os.replace(part, path)
    return path


def _download(url: str, part: Path) -> None:
    """Fills ``part`` until it has the size that the server gives, through lost connections."""
    failures, reason = 0, ""
    while failures < ATTEMPTS:
        before = _size(part)
        try:
            if _continue(url, part):
                return
            reason = "the connection was cut"
        except urllib.error.HTTPError as error:
            error.close()
            if 400 <= error.code < 500 and error.code not in (408, 429):
                raise UserError(_refused(url, f"HTTP {error.code} {error.reason}")) from error
            reason = f"HTTP {error.code} {error.reason}"
        except _LOST as error:
            reason = str(getattr(error, "reason", "") or error) or type(error).__name__
        failures = 1 if _size(part) > before else failures + 1
        if failures < ATTEMPTS:
            wait = WAIT_SECONDS * 2 ** (failures - 1)
            logging.warning("%s: %s after %d bytes; trying again", url, reason, _size(part))
            time.sleep(wait)
    raise UserError(_refused(url, reason))


def _refused(url: str, reason: str) -> str:
    return (
        f"{url} cannot be downloaded ({reason}); run the same command later (it continues where it"
        " stopped), or get the file otherwise and set data.mirror to its directory"
    )


def _continue(url: str, part: Path) -> bool:
    """Requests the bytes that ``part`` lacks; returns True when the file is complete."""
    there = _size(part)
    request = urllib.request.Request(url, headers=_headers(there, part))
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # no bytes lie beyond: the file is complete, or another one
            raise
        error.close()
        if _total(error.headers, there) == there:
            return True
        part.unlink()
        return False
    with response:
        if response.status != 206:  # the server sends the whole file
            there = 0
        total = _total(response.headers, there)
        _remember_version(part, response.headers)
        with part.open("r+b" if there else "wb") as file:
            file.seek(there)
            file.truncate()
            for block in _blocks(response, url, total, there):
                file.write(block)
        return total is None or _size(part) == total


def _blocks(
    response: http.client.HTTPResponse, url: str, total: int | None, done: int
) -> Iterator[bytes]:
    with ByteProgress(url.rpartition("/")[2], total, done) as progress:
        while True:
            try:
                block = response.read1(_BLOCK)
            except http.client.IncompleteRead as error:
                block = error.partial
            if not block:
                return
            yield block
            progress.advance(len(block))


def _headers(there: int, part: Path) -> dict[str, str]:
    """Returns the headers that request the rest, if the server's file is still the same."""
    headers = {"User-Agent": "rearec_jax", "Accept-Encoding": "identity"}
    version = _version_file(part)
    if there:
        headers["Range"] = f"bytes={there}-"
        if version.is_file():
            headers["If-Range"] = version.read_text()
    return headers


def _version_file(part: Path) -> Path:
    return part.with_name(part.name + ".version")


def _remember_version(part: Path, headers: Message) -> None:
    """Records the version of the server's file: a strong ETag, else its date."""
    etag = headers.get("ETag", "")
    version = etag if etag.startswith('"') else headers.get("Last-Modified", "")
    if version:
        _version_file(part).write_text(version)
    else:
        _version_file(part).unlink(missing_ok=True)


def _total(headers: Message, there: int) -> int | None:
    """Returns the bytes of the whole file, from 'Content-Range: bytes 7-9/10' or Content-Length."""
    match = re.fullmatch(r"bytes .*/(\d+)", headers.get("Content-Range", ""))
    if match is not None:
        return int(match[1])
    length = headers.get("Content-Length", "")
    return there + int(length) if length.isdigit() else None


def _verify(part: Path, path: Path, file: RemoteFile, url: str) -> None:
    """Compares the checksum with the published one, or that of the first download; records it."""
    _version_file(part).unlink(missing_ok=True)
    record = path.with_name(f"{path.name}.sha256")
    known = file.sha256 or (record.read_text().split()[0] if record.is_file() else "")
    with part.open("rb") as content:
        actual = hashlib.file_digest(content, "sha256").hexdigest()
    if known and actual != known:
        part.unlink()
        origin = "the publisher's" if file.sha256 else f"that of the first download ({record})"
        raise UserError(
            f"{url}: SHA-256 {actual} is not {origin}, {known}; the file was damaged on its way or"
            " has changed, so download it again or set data.mirror to another place"
            + ("" if file.sha256 else f" (delete {record.name} to accept a changed file)")
        )
    scratch = record.with_name(f".{record.name}")
    scratch.write_text(f"{actual}  {path.name}\n")
    os.replace(scratch, record)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
