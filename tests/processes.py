"""Flags of XLA and environments: of pytest's own process and of those that tests start."""

import functools
import os
from pathlib import Path
import socket
import subprocess
import sys
import time

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 120  # for processes to end
# Compiling tiny programs with them takes less than half the time. Some versions of XLA lack one.
QUICK = ("--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1")
TAKEN = "REAREC_TEST_XLA_FLAGS"


def xla_flags(devices: int) -> str:
    """So many virtual CPU devices; slower programs, compiled in less than half the time."""
    return " ".join([f"--xla_force_host_platform_device_count={devices}", *_quick_flags()])


def environment(devices: int = 1) -> dict[str, str]:
    """As a user has it, without the strict settings of conftest.py."""
    strict = ("JAX_NUMPY_DTYPE_PROMOTION", "JAX_NUMPY_RANK_PROMOTION")
    kept = {name: value for name, value in os.environ.items() if name not in strict}
    return kept | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": xla_flags(devices)}


def start(*arguments: str, cwd: Path, devices: int = 1) -> subprocess.Popen[str]:
    """Python with ``arguments``, as a user starts it."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment(devices),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def finish(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    deadline = time.monotonic() + SECONDS
    try:
        said = [p.communicate(timeout=max(1, deadline - time.monotonic())) for p in processes]
    finally:
        for process in processes:
            process.kill()
    return [(p.returncode, *text) for p, text in zip(processes, said, strict=True)]


def programs(count: int, program: str) -> list[tuple[int, str, str]]:
    """Runs one program in so many processes; PORT and NUMBER, 0 to count - 1, are filled in."""
    port = free_port()
    return finish(
        [
            start("-c", f"PORT, NUMBER = {port}, {number}\n" + program, cwd=ROOT)
            for number in range(count)
        ]
    )


@functools.cache
def _quick_flags() -> tuple[str, ...]:
    """The flags of QUICK that this jaxlib takes; processes started from here find them in TAKEN."""
    if TAKEN not in os.environ:
        taken = QUICK if _takes(*QUICK) else tuple(flag for flag in QUICK if _takes(flag))
        os.environ[TAKEN] = " ".join(taken)
    return tuple(os.environ[TAKEN].split())


def _takes(*flags: str) -> bool:
    """Whether XLA starts with these flags: it ends its process at one that it does not know."""
    program = "from jaxlib import xla_client; xla_client.make_cpu_client()"
    started = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"XLA_FLAGS": " ".join(flags)},
        capture_output=True,
        text=True,
    )
    if started.returncode and "Unknown flag" not in started.stderr:
        raise RuntimeError(f"XLA does not start with XLA_FLAGS={flags}:\n{started.stderr}")
    return not started.returncode
