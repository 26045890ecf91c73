"""Huge memory pages that are kept between updates, which makes updates faster on CPUs.

XLA allocates the intermediate arrays of an update by the C library, and frees them after it. The C
library returns large blocks to the kernel, which hands them out again in pages of 4 KiB, sets each
to zero, and takes a page fault for each. If an environment variable is set before the program
starts, glibc (2.35 and newer) keeps the blocks, and requests pages of 2 MiB where the kernel gives
them on request ("madvise"). It keeps large blocks of the first thread only, which must therefore be
the one that computes.
"""

from collections.abc import Mapping
import os
import pathlib
import signal
import sys

TUNABLES, TUNABLE = "GLIBC_TUNABLES", "glibc.malloc.hugetlb"
KEPT = 16 * 2**30  # the bytes of free memory below which glibc returns nothing to the kernel
KEEP = {"glibc.malloc.mmap_threshold": f"{KEPT}", "glibc.malloc.trim_threshold": f"{KEPT}"}
RESTARTED = "REAREC_RESTARTED"  # set so that a program that loses the tunables restarts once
WAITING = signal.SIGINT, signal.SIGTERM, signal.SIGHUP  # signals that wait for a restart
SETTING = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")


def restart_with_huge_pages() -> None:
    """Starts this command again, in the same process, with huge pages and memory that is kept.

    It must be called first, because all that was computed before is lost, but after the handlers of
    signals are set: a signal that comes during the restart waits until the second call. It requests
    no huge pages where the kernel has none or gives them without a request. It does nothing on
    other systems than Linux, and where GLIBC_TUNABLES names glibc.malloc.hugetlb (of which =0 turns
    all of this off).
    """
    if sys.platform != "linux" or not sys.executable:
        return
    try:
        setting = SETTING.read_text()
    except OSError:  # Some containers hide the setting.
        setting = ""
    environment = with_huge_pages(os.environ, setting)
    if environment is not None:
        signal.pthread_sigmask(signal.SIG_BLOCK, WAITING)  # stays for the program that follows
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WAITING)


def with_huge_pages(environment: Mapping[str, str], setting: str) -> dict[str, str] | None:
    """Returns the environment of a program with huge pages, or None where it needs no other one.

    Args:
        setting: The kernel's setting, such as "always [madvise] never".
    """
    given = environment.get(TUNABLES, "")
    if TUNABLE in given or RESTARTED in environment:
        return None
    asked = {TUNABLE: "1"} if "[madvise]" in setting else {}
    asked |= {name: value for name, value in KEEP.items() if name not in given}
    tunables = [given] * bool(given) + [f"{name}={value}" for name, value in asked.items()]
    return {**environment, TUNABLES: ":".join(tunables), RESTARTED: "1"}


def compute_in_first_thread() -> None:
    """Makes JAX compute on CPUs in the thread that calls it, so that glibc keeps the memory.

    It must be called before the first array is made. Other devices still compute while the program
    goes on.
    """
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)
