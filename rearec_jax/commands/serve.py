"""Defines the flags of --mode=serve, and starts the server."""

from collections.abc import Mapping, Sequence
import importlib.util
import ipaddress
import os
import pathlib
import re
from typing import Any

from absl import flags
from rich.console import Console

from rearec_jax.commands.given import Given
from rearec_jax.errors import UserError
from rearec_jax.serve.limits import Limits

HELP = "the models in --workdir and --runs over HTTP"

KEY_VARIABLE = "REAREC_API_KEY"
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_NEEDED = ("starlette", "pydantic", "uvicorn", "httptools", "orjson", "prometheus_client")

_HOST = flags.DEFINE_string("host", "localhost", "serve: address to listen at; 0.0.0.0: all.")
_PORT = flags.DEFINE_integer(
    "port", 8000, "serve: port to listen at; 0: any that is free.", 0, 2**16 - 1
)
_KEY_FILE = flags.DEFINE_string(
    "api_key_file", "", f"serve: file with the key that requests must show; or ${KEY_VARIABLE}."
)
_WATCH = flags.DEFINE_float("watch", 2.0, "serve: seconds between looks for newer models; 0: none.")
# The fields of `serve.limits.Limits` that have a flag.
_LIMITS: Mapping[str, flags.FlagHolder[Any]] = {
    "body_bytes": flags.DEFINE_integer("max_body_kib", 1024, "serve: the largest body in KiB."),
    "histories": flags.DEFINE_integer("max_histories", 128, "serve: histories of a request."),
    "history": flags.DEFINE_integer("max_history", 1000, "serve: items of a history."),
    "k": flags.DEFINE_integer("max_k", 100, "serve: items of a list."),
    "waiting": flags.DEFINE_integer("max_waiting", 1024, "serve: histories in the queue."),
    "users": flags.DEFINE_integer("max_batch", 128, "serve: histories computed at once, about."),
    "seconds": flags.DEFINE_float("max_seconds", 10.0, "serve: time of a request."),
    "header_seconds": flags.DEFINE_float(
        "max_header_seconds", 10.0, "serve: time for the headers of a request to arrive."
    ),
    "connections": flags.DEFINE_integer("max_connections", 2048, "serve: open connections."),
}
_HOSTS = flags.DEFINE_list(
    "allowed_hosts",
    [],
    "serve: names and addresses, separated by commas, that requests may call the server by; at"
    " localhost its own names besides, elsewhere any where none is given.",
)


def run(given: Given) -> None:
    """Serves the models in --workdir and --runs until it is stopped."""
    given.check_options()
    serve_run(given.workdir, given.runs)


def serve_run(workdir: str | None, runs: Sequence[str]) -> None:
    """Serves the models in ``workdir`` (separated by commas) and ``runs`` until it is stopped.

    Raises:
        UserError: a flag, a model or the address is wrong, or the extra is missing.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"--mode=serve needs {', '.join(missing)}: pip install -e '.[serve]' in the project's"
            " directory (the extra `serve`)"
        )
    # Imported here, because a training need neither wait for these nor have them.
    from rearec_jax.serve.guard import Access
    from rearec_jax.serve.models import Models
    from rearec_jax.serve.server import listen, run

    paths = [path for path in [*(workdir or "").split(","), *runs] if path]
    limits, key = _limits(), _key()
    with listen(_HOST.value, _PORT.value) as listening:
        is_local = ipaddress.ip_address(listening.getsockname()[0].partition("%")[0]).is_loopback
        if not key and not is_local:
            _say(f"--host={_HOST.value} without a key: whoever reaches the port may ask")
        access = Access(key, _hosts(is_local))
        run(Models(paths, limits), limits, access, _WATCH.value, listening, _say)


def _limits() -> Limits:
    """Checks the flags of limits and returns their values."""
    for flag in _LIMITS.values():
        if not flag.value > 0:  # NaN is not
            raise UserError(f"--{flag.name}={flag.value} must be greater than 0")
    if not _WATCH.value >= 0:
        raise UserError(f"--watch={_WATCH.value} must be at least 0")
    values = {field: flag.value for field, flag in _LIMITS.items()}
    if values["histories"] > values["waiting"]:
        raise UserError(
            f"--max_histories={values['histories']} must not exceed"
            f" --max_waiting={values['waiting']}, or such a request would find the queue full for"
            " ever"
        )
    return Limits(**values | {"body_bytes": 1024 * values["body_bytes"]})


def _hosts(is_local: bool) -> set[str] | None:
    """Returns what requests may call the server by; None: anything."""
    hosts = {host.lower() for host in _HOSTS.value}
    for host in hosts:
        if not re.fullmatch(r"\[[0-9a-f:.]+\]|[a-z0-9._-]+", host):
            raise UserError(
                f"--allowed_hosts={host} must be a name or an address without a port: no wildcards,"
                " an IPv6 address in brackets, letters beyond ASCII as browsers send them (xn--)"
            )
    return hosts | {*LOOPBACK, _HOST.value.lower()} if is_local else hosts or None


def _key() -> str:
    """Returns the API key, from a file or the environment: other users can read command lines."""
    if not _KEY_FILE.value:
        return _printable(os.environ.get(KEY_VARIABLE, "").strip(), f"${KEY_VARIABLE}")
    try:
        key = pathlib.Path(_KEY_FILE.value).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--api_key_file={_KEY_FILE.value} cannot be read: {error}") from error
    if not key:
        raise UserError(f"--api_key_file={_KEY_FILE.value} is empty; write the key into it")
    return _printable(key, f"--api_key_file={_KEY_FILE.value}")


def _printable(key: str, where: str) -> str:
    """Returns the key; raises UserError where a header cannot hold it."""
    wrong = next((letter for letter in key if not " " <= letter <= "~"), None)
    if wrong is not None:
        raise UserError(
            f"the key in {where} has the character U+{ord(wrong):04X}, which no header of a request"
            " may hold; make it of printable ASCII"
        )
    return key


def _say(text: str) -> None:
    Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)
