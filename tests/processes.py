"""Flags of XLA and environments: of pytest's own process and of those that tests start."""

import functools
import importlib.util
import mmap
import os
from pathlib import Path
import subprocess
import sys

ROOT = Path(__file__).resolve().parents[1]


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


@functools.cache
def _is_known(flag: str) -> bool:
    """Whether this jaxlib has a flag of XLA, which dies of one that it does not know."""
    found = importlib.util.find_spec("jaxlib")
    for library in Path(found.origin).parent.glob("*.so") if found and found.origin else ():
        with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as m:
            if m.find(flag.encode()) >= 0:
                return True
    return False
