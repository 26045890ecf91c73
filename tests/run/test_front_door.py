"""How a process ends: its exit code and its last words, whatever stops it and whoever listens."""

import os
from pathlib import Path
import signal
import subprocess
import sys
import time

import pytest

from rearec_jax.errors import UserError
from rearec_jax.run import front_door
from rearec_jax.run.front_door import FAILED, INTERRUPTED, MISTAKE, SENTENCE
from tests.processes import environment, start

TOLD = SENTENCE + "\n"
IMPORTS = """\
import atexit, ctypes, hashlib, os, signal, sys, threading, time
from rearec_jax.errors import UserError
from rearec_jax.run import front_door, interruption
front_door.open_door()
def ready():
    print("ready", flush=True)
"""


def begin(body: str, cwd: Path, more: str = "") -> subprocess.Popen[str]:
    """A program of these lines behind the front door."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    text = f"{IMPORTS}{more}\ndef program():\n{lines}front_door.run_process(program, 1.0)\n"
    return start("-c", text, cwd=cwd)


def run(body: str, cwd: Path, more: str = "") -> tuple[int, str, str]:
    process = begin(body, cwd, more)
    return ended(process)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors


def stopped(
    body: str, numbers: list[signal.Signals], cwd: Path, more: str = ""
) -> tuple[int, str, str]:
    """What comes of a program that gets a signal each time it says that it is ready."""
    process = begin(body, cwd, more)
    for number in numbers:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()
        process.send_signal(number)
    return ended(process)


def test_a_signal_that_python_drops_inside_of_a_callback_is_raised_again(tmp_path):
    body = """\
front_door.unwind_from_here()
def callback(*_):
    gc.callbacks.clear()
    signal.raise_signal(signal.SIGINT)
    time.sleep(0)
import gc
gc.callbacks.append(callback)
gc.collect()
for _ in range(300):
    time.sleep(0.1)
"""
    begun = time.monotonic()
    assert run(body, tmp_path) == (INTERRUPTED, "", TOLD)
    assert time.monotonic() - begun < 25


class TestEnds:
    @pytest.mark.parametrize(
        ("body", "code", "told"),
        [
            ("return None", 0, ""),
            ("return 3", 3, ""),
            ("sys.exit()", 0, ""),
            ("sys.exit(4)", 4, ""),
            ("sys.exit('no')", FAILED, "no\n"),
            ("raise UserError('x=1 is wrong')", MISTAKE, "error: x=1 is wrong\n"),
            ("raise KeyboardInterrupt", INTERRUPTED, TOLD),
        ],
    )
    def test_every_end_has_its_code_and_its_sentence(self, body, code, told, tmp_path):
        assert run(body, tmp_path) == (code, "", told)

    def test_what_nobody_expected_has_a_traceback(self, tmp_path):
        code, _, errors = run("raise KeyError('unexpected')", tmp_path)
        assert code == FAILED
        assert errors.startswith("Traceback") and "KeyError: 'unexpected'" in errors

    def test_nothing_is_lost(self, tmp_path):
        """Output, standard error without a newline, files, and what is registered for the end."""
        body = (
            "atexit.register(lambda: print('registered'))\n"
            "print('printed', end=' ')\n"
            "sys.stderr.write('half a line')\n"
            "file = open('file', 'w'); file.write('whole'); file.close()"
        )
        assert run(body, tmp_path) == (0, "printed registered\n", "half a line")
        assert (tmp_path / "file").read_text() == "whole"

    def test_threads_that_cannot_be_stopped_neither_delay_nor_crash_the_end(self, tmp_path):
        body = (
            "work = lambda: hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)\n"
            "threading.Thread(target=work).start()"
        )
        began = time.monotonic()
        assert run(body, tmp_path) == (0, "", "")
        assert time.monotonic() - began < 10

    def test_threads_that_still_compile_do_not_crash_the_end(self, tmp_path):
        body = (
            "import itertools, jax, jax.numpy as jnp\n"
            "def compile():\n"
            "    for i in itertools.count():\n"
            "        jax.jit(lambda x: jnp.sort(x @ x + i))(jnp.ones((9, 9)))\n"
            "        compiled.set()\n"
            "compiled = threading.Event()\n"
            "for _ in range(3): threading.Thread(target=compile, daemon=True).start()\n"
            "compiled.wait()"
        )
        assert run(body, tmp_path) == (0, "", "")

    def test_a_caller_in_the_same_process_gets_codes_and_errors(self, capsys):
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

        def mistake() -> None:
            raise UserError("wrong")

        def unexpected() -> None:
            raise KeyError

        assert front_door.exit_code(lambda: None) == 0
        assert front_door.exit_code(mistake) == MISTAKE
        with pytest.raises(KeyError):
            front_door.exit_code(unexpected)
        assert capsys.readouterr().err == "error: wrong\n"
        assert handlers == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]


WAIT = "ready()\ntime.sleep(20)"
UNWIND = "front_door.unwind_from_here()\n"
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


class TestSignals:
    @pytest.mark.parametrize("number", SIGNALS)
    @pytest.mark.parametrize("unwinds", [False, True])
    def test_the_first_one_ends_with_one_sentence(self, number, unwinds, tmp_path):
        cleaned = "" if not unwinds else "cleaned\n"
        body = f"{UNWIND if unwinds else ''}try:\n    ready()\n    time.sleep(20)\n"
        body += "finally:\n    print('cleaned')"
        assert stopped(body, [number], tmp_path) == (INTERRUPTED, cleaned, TOLD)

    def test_an_import_is_interrupted_without_a_traceback(self, tmp_path):
        (tmp_path / "slow.py").write_text("import time\nprint('ready', flush=True)\ntime.sleep(20)")
        body = "sys.path.insert(0, '.')\nimport slow"
        assert stopped(body, [signal.SIGINT], tmp_path) == (INTERRUPTED, "", TOLD)

    @pytest.mark.parametrize("error", ["RuntimeError('CpuCallback')", "UserError('damaged')"])
    def test_compiled_code_may_turn_it_into_anything(self, error, tmp_path):
        body = f"{UNWIND}try:\n    ready()\n    time.sleep(20)\n"
        body += f"except KeyboardInterrupt:\n    raise {error} from None"
        assert stopped(body, [signal.SIGINT], tmp_path) == (INTERRUPTED, "", TOLD)

    @pytest.mark.parametrize(
        ("numbers", "cleaned"),
        [
            ([signal.SIGINT, signal.SIGINT], ""),  # at once
            ([signal.SIGTERM, signal.SIGTERM], "cleaned\n"),  # schedulers repeat it
            ([signal.SIGHUP, signal.SIGTERM], "cleaned\n"),
        ],
    )
    def test_a_second_one_on_the_way_out(self, numbers, cleaned, tmp_path):
        body = f"{UNWIND}try:\n    ready()\n    time.sleep(20)\n"
        body += "finally:\n    ready()\n    time.sleep(0.3)\n    print('cleaned')"
        assert stopped(body, numbers, tmp_path) == (INTERRUPTED, cleaned, TOLD)

    @pytest.mark.parametrize("count", [1, 2])
    def test_ctrl_c_asks_and_a_second_one_stops_at_once(self, count, tmp_path):
        body = (
            f"{UNWIND}with interruption.Interruption() as asked:\n"
            "    ready()\n"
            "    while not asked.requested: time.sleep(0.01)\n"
            "    print('saving', flush=True); ready()\n"
            f"    time.sleep({0.1 if count == 1 else 20})\n"
            "    print('saved')\n"
            "raise KeyboardInterrupt"
        )
        process = begin(body, tmp_path)
        assert process.stdout is not None
        for line in ("ready\n", "saving\nready\n")[:count]:
            assert process.stdout.read(len(line)) == line
            process.send_signal(signal.SIGINT)
        code, output, errors = ended(process)
        assert code == INTERRUPTED and output.endswith("saved\n") == (count == 1)
        assert errors == f"\nstopping after this step; Ctrl-C: at once\n{TOLD}"

    def test_a_scheduler_that_repeats_itself_does_not_keep_a_run_from_saving(self, tmp_path):
        body = (
            f"{UNWIND}with interruption.Interruption() as asked:\n"
            "    ready()\n"
            "    while not asked.requested: time.sleep(0.01)\n"
            "ready()\n"  # the checkpoints are being closed
            "time.sleep(0.3)\n"
            "print('saved')\n"
            "raise KeyboardInterrupt"
        )
        code, output, _ = stopped(body, [signal.SIGTERM, signal.SIGTERM], tmp_path)
        assert (code, output) == (INTERRUPTED, "saved\n")

    @pytest.mark.parametrize(
        "numbers",
        [[signal.SIGTERM], [signal.SIGHUP], [signal.SIGINT] * 2, [signal.SIGINT] * 3],
    )
    def test_compiled_code_that_does_not_come_back(self, numbers, tmp_path):
        """A second after the second Ctrl-C, the end of all patience here; the third: at once."""
        process = begin(
            f"{UNWIND}ready()\nhashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)", tmp_path
        )
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        began = time.monotonic()
        for number in numbers:
            time.sleep(0.05)  # two at the same moment are one
            process.send_signal(number)
        code, _, errors = ended(process)
        assert code == INTERRUPTED and "run the same command again to continue" in errors
        assert (time.monotonic() - began < 0.9) == (len(numbers) == 3)

    def test_nohup(self, tmp_path):
        process = start(
            "-c",
            f"import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n{IMPORTS}"
            "def program():\n    ready()\n    time.sleep(0.3)\n    print('done')\n"
            "front_door.run_process(program)",
            cwd=tmp_path,
        )
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGHUP)
        assert ended(process) == (0, "done\n", "")


PRINTS = "for i in range(2000): print('x' * 100, flush=i % 2 == 0)\nopen('done', 'w').close()"


class TestOutput:
    @pytest.mark.parametrize("name", ["stdout", "stderr"])
    def test_nobody_reads_it(self, name, tmp_path):
        """As with `| head`: the work goes on to its end, and ends as it would have."""
        body = PRINTS.replace("'x' * 100,", f"'x' * 100, file=sys.{name},")
        with begin(body, tmp_path) as process:
            getattr(process, name).close()
            other = process.stderr if name == "stdout" else process.stdout
            assert other is not None
            assert (other.read(), process.wait(30)) == ("", 0)
        assert (tmp_path / "done").exists()

    def test_rich_does_not_end_the_program_either(self, tmp_path):
        body = PRINTS.replace("print(", "console.print(").replace(", flush=i % 2 == 0", "")
        body = "from rich.console import Console\nconsole = Console()\n" + body
        with begin(body, tmp_path) as process:
            assert process.stdout is not None and process.stderr is not None
            process.stdout.close()
            assert (process.stderr.read(), process.wait(30)) == ("", 0)
        assert (tmp_path / "done").exists()

    def test_the_terminal_is_closed(self, tmp_path):
        """SIGHUP comes, and what is said about it finds no terminal any more."""
        master, slave = os.openpty()
        program = (
            f"{IMPORTS}def program():\n"
            "    with interruption.Interruption() as asked:\n"
            "        while not asked.requested: print('x', flush=True); time.sleep(0.01)\n"
            "    print('saving', flush=True)\n    open('saved', 'w').close()\n"
            "    raise KeyboardInterrupt\n"
            "front_door.run_process(program)"
        )
        terminal = dict.fromkeys(("stdin", "stdout", "stderr"), slave)
        process = subprocess.Popen(
            [sys.executable, "-c", program], **terminal, cwd=tmp_path, env=environment()
        )
        os.close(slave)
        assert os.read(master, 1) == b"x"
        os.close(master)
        process.send_signal(signal.SIGHUP)
        assert process.wait(30) == INTERRUPTED
        assert (tmp_path / "saved").exists()

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
    def test_a_full_disk_is_said(self, tmp_path):
        code, _, errors = shell(f"front_door.run_process(lambda: {PRINT})", ">/dev/full", tmp_path)
        assert code == MISTAKE
        assert errors.startswith("error: cannot write the output: No space left on device")

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
    @pytest.mark.parametrize("end", ["None", "sys.exit('no')", "fail()"])
    def test_a_full_disk_for_messages_changes_nothing(self, end, tmp_path):
        """What cannot be said is dropped: a log on a full disk ends neither a run nor a server."""
        program = (
            "import logging\n"
            "def fail():\n    raise UserError('wrong')\n"
            "def program():\n    print('x', file=sys.stderr, flush=True)\n"
            f"    logging.error('y')\n    print('done', flush=True)\n    {end}\n"
            "front_door.run_process(program)"
        )
        code = {"None": 0, "fail()": MISTAKE}.get(end, FAILED)
        assert shell(program, "2>/dev/full", tmp_path) == (code, "done\n", "")

    def test_the_shell_has_closed_it(self, tmp_path):
        """No file of the program becomes its output."""
        program = f"file = open('file', 'w')\nfront_door.run_process(lambda: {PRINT})"
        assert shell(program, ">&- 2>&-", tmp_path) == (0, "", "")
        assert (tmp_path / "file").read_text() == ""


PRINT = "print('x')"


def shell(program: str, redirected: str, cwd: Path) -> tuple[int, str, str]:
    (cwd / "program.py").write_text(IMPORTS + program)
    command = f"{sys.executable} program.py {redirected}"
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, cwd=cwd, env=environment(), timeout=30
    )
    return done.returncode, done.stdout, done.stderr
