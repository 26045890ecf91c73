"""Flags of XLA and environments: of pytest's own process and of those that tests start."""

import functools
import importlib.util
import mmap
import os
from pathlib import Path
import socket
import subprocess
import sys
import time

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 120  # for processes to end


def xla_flags(devices: int) -> str:
    """So many virtual CPU devices; slower programs, compiled in less than half the time."""
    quick = {"xla_cpu_use_fusion_emitters": "false", "xla_cpu_parallel_codegen_split_count": "1"}
    flags = {"xla_force_host_platform_device_count": f"{devices}"}
    flags |= {name: value for name, value in quick.items() if _is_known(name)}
    return " ".join(f"--{name}={value}" for name, value in flags.items())


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
def _is_known(flag: str) -> bool:
    """Whether this jaxlib has a flag of XLA, which dies of one that it does not know."""
    found = importlib.util.find_spec("jaxlib")
    for library in Path(found.origin).parent.glob("*.so") if found and found.origin else ():
        with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as m:
            if m.find(flag.encode()) >= 0:
                return True
    return False
