"""Large memory pages for large arrays: fewer page faults, and so more updates a second on CPUs.

XLA asks the C library for the memory of each intermediate array, and the kernel hands it out in
pages of 4 KiB, with a fault for each. Where it gives pages of 2 MiB to programs that ask
("madvise"), glibc (2.35 and newer) asks, if an environment variable told it to before the program
began.
"""

from collections.abc import Mapping
import os
import pathlib
import sys

TUNABLES, TUNABLE = "GLIBC_TUNABLES", "glibc.malloc.hugetlb"
RESTARTED = "REAREC_RESTARTED"  # a privileged program loses the tunables: never twice
SETTING = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")


def restart_with_huge_pages() -> None:
    """Starts this command again, in this process, where that gives it huge pages.

    Call it first thing: all that was computed before is lost. Does nothing where the system has
    none or gives them unasked, and where GLIBC_TUNABLES names glibc.malloc.hugetlb (=0: without).
    """
    try:
        setting = SETTING.read_text()
    except OSError:  # not Linux, or a container that hides it
        return
    environment = with_huge_pages(os.environ, setting)
    if environment is not None and sys.executable:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def with_huge_pages(environment: Mapping[str, str], setting: str) -> dict[str, str] | None:
    """The environment of a program that asks for huge pages; None: leave it as it is.

    Args:
        setting: of the kernel, such as "always [madvise] never".
    """
    tunables = environment.get(TUNABLES, "")
    if "[madvise]" not in setting or TUNABLE in tunables or RESTARTED in environment:
        return None
    asked = f"{tunables}:{TUNABLE}=1" if tunables else f"{TUNABLE}=1"
    return {**environment, TUNABLES: asked, RESTARTED: "1"}
