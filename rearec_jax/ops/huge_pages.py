"""Large memory pages for large arrays, kept between updates: more updates a second on CPUs.

XLA asks the C library for the memory of an update's intermediate arrays and gives it back after it.
The C library gives large blocks back to the kernel, which hands them out again in pages of 4 KiB,
with a fault for each, all set to zero. glibc (2.35 and newer) keeps what it has, and asks for pages
of 2 MiB where the kernel gives them on request ("madvise"), if an environment variable told it to
before the program began. It keeps large blocks for the first thread alone, so that is the one that
computes.
"""

from collections.abc import Mapping
import os
import pathlib
import sys

TUNABLES, TUNABLE = "GLIBC_TUNABLES", "glibc.malloc.hugetlb"
KEPT = 16 * 2**30  # bytes: blocks, and free memory, below which nothing goes back to the kernel
KEEP = {"glibc.malloc.mmap_threshold": f"{KEPT}", "glibc.malloc.trim_threshold": f"{KEPT}"}
RESTARTED = "REAREC_RESTARTED"  # a privileged program loses the tunables: never twice
SETTING = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")


def restart_with_huge_pages() -> None:
    """Starts this command again, in this process, where that gives it huge pages or keeps memory.

    Call it first thing: all that was computed before is lost. Asks for no huge pages where the
    system has none or gives them unasked. Does nothing where there is no such system, and where
    GLIBC_TUNABLES names glibc.malloc.hugetlb (=0: without any of this).
    """
    if sys.platform != "linux" or not sys.executable:
        return
    try:
        setting = SETTING.read_text()
    except OSError:  # a container that hides it
        setting = ""
    environment = with_huge_pages(os.environ, setting)
    if environment is not None:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def with_huge_pages(environment: Mapping[str, str], setting: str) -> dict[str, str] | None:
    """The environment of a program that asks for huge pages and keeps them; None: leave it.

    Args:
        setting: of the kernel, such as "always [madvise] never".
    """
    given = environment.get(TUNABLES, "")
    if TUNABLE in given or RESTARTED in environment:
        return None
    asked = {TUNABLE: "1"} if "[madvise]" in setting else {}
    asked |= {name: value for name, value in KEEP.items() if name not in given}
    tunables = [given] * bool(given) + [f"{name}={value}" for name, value in asked.items()]
    return {**environment, TUNABLES: ":".join(tunables), RESTARTED: "1"}


def compute_in_first_thread() -> None:
    """Has JAX compute, on CPUs, in the thread that asks for it: glibc keeps the first one's memory.

    Call it before the first array. Other devices compute as ever, while their program goes on.
    """
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)
