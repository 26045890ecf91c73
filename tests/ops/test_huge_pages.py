"""Huge pages: asked for where the kernel gives them on request, and kept; no command changes."""

import json
import os
import subprocess
import sys

import pytest

from rearec_jax.ops import huge_pages
from rearec_jax.ops.huge_pages import RESTARTED, TUNABLES
from rearec_jax.run import front_door
from tests.processes import ROOT

ON_REQUEST = "always [madvise] never\n"
KEPT = "glibc.malloc.mmap_threshold=17179869184:glibc.malloc.trim_threshold=17179869184"
SAY = """\
import json, os, pathlib, sys
from rearec_jax.ops import huge_pages
huge_pages.SETTING = pathlib.Path(sys.argv[1])
huge_pages.restart_with_huge_pages()
print(json.dumps([os.getpid(), sys.argv[2:], os.environ.get(huge_pages.TUNABLES)]))
"""


def test_they_are_asked_for_beside_what_else_is_asked_of_the_c_library():
    given = {"GLIBC_TUNABLES": "glibc.malloc.arena_max=2", "HOME": "/root"}
    asked = huge_pages.with_huge_pages(given, ON_REQUEST)
    assert asked and asked["HOME"] == "/root"
    assert asked["GLIBC_TUNABLES"] == f"glibc.malloc.arena_max=2:glibc.malloc.hugetlb=1:{KEPT}"
    assert huge_pages.with_huge_pages(asked, ON_REQUEST) is None


@pytest.mark.parametrize("setting", ["[always] madvise never\n", "always madvise [never]\n", ""])
def test_a_kernel_that_does_not_wait_for_it_is_asked_for_no_huge_pages(setting):
    asked = huge_pages.with_huge_pages({}, setting)
    assert asked and asked["GLIBC_TUNABLES"] == KEPT
    assert huge_pages.with_huge_pages(asked, setting) is None


def test_a_threshold_that_was_chosen_stays():
    chosen = {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=4096"}
    asked = huge_pages.with_huge_pages(chosen, "")
    assert asked and asked["GLIBC_TUNABLES"] == (
        "glibc.malloc.trim_threshold=4096:glibc.malloc.mmap_threshold=17179869184"
    )


def test_whoever_chose_is_left_alone():
    chosen = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}
    assert huge_pages.with_huge_pages(chosen, ON_REQUEST) is None


def test_a_program_whose_tunables_are_taken_away_does_not_restart_for_ever():
    asked = huge_pages.with_huge_pages({}, ON_REQUEST)
    assert asked
    del asked["GLIBC_TUNABLES"]
    assert huge_pages.with_huge_pages(asked, ON_REQUEST) is None


@pytest.mark.skipif(sys.platform != "linux", reason="huge pages on request are Linux's")
@pytest.mark.parametrize(
    ("setting", "asked"), [(ON_REQUEST, f"glibc.malloc.hugetlb=1:{KEPT}"), ("[never]", KEPT)]
)
def test_a_restart_keeps_process_and_arguments(tmp_path, setting, asked):
    (tmp_path / "enabled").write_text(setting)
    arguments = ["--name=with a space", "--quote='\"", ""]
    command = [sys.executable, "-c", SAY, str(tmp_path / "enabled"), *arguments]
    environment = {k: v for k, v in os.environ.items() if k not in (TUNABLES, RESTARTED)}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)
    output, _ = child.communicate(timeout=60)
    assert json.loads(output) == [child.pid, arguments, asked]


INTERRUPTED = """\
import os, signal, sys
from rearec_jax.ops import huge_pages
from rearec_jax.run import front_door
front_door.open_door()
print(os.environ.get(huge_pages.RESTARTED, "0"), flush=True)
restart = os.execve
def execve(*arguments):
    os.kill(os.getpid(), getattr(signal, sys.argv[1]))
    restart(*arguments)
os.execve = execve
huge_pages.restart_with_huge_pages()
print("goes on")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="huge pages on request are Linux's")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_in_the_middle_of_a_restart_waits_for_the_program(tmp_path, name):
    environment = {k: v for k, v in os.environ.items() if k not in (TUNABLES, RESTARTED)}
    command = [sys.executable, "-c", INTERRUPTED, name]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert (done.returncode, done.stdout) == (front_door.INTERRUPTED, "0\n1\n"), done.stderr
    assert done.stderr == front_door.SENTENCE + "\n"


@pytest.mark.skipif(sys.platform != "linux", reason="huge pages on request are Linux's")
def test_the_program_asks_for_them_before_it_starts(tmp_path):
    (tmp_path / "enabled").write_text(ON_REQUEST)
    setting = f"pathlib.Path({str(tmp_path / 'enabled')!r})"
    (tmp_path / "sitecustomize.py").write_text(
        f"import pathlib\nfrom rearec_jax.ops import huge_pages\nhuge_pages.SETTING = {setting}\n"
    )
    (tmp_path / "config.py").write_text(
        f"import os\nprint(os.environ.get({huge_pages.TUNABLES!r}))\nget_config = None\n"
    )
    environment = {k: v for k, v in os.environ.items() if k not in (TUNABLES, RESTARTED)}
    environment["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{ROOT}"
    command = [sys.executable, "-m", "rearec_jax.main", f"--config={tmp_path / 'config.py'}"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert f"glibc.malloc.hugetlb=1:{KEPT}" in done.stdout.splitlines(), done.stderr
