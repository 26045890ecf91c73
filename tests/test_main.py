"""The command line: mistakes are one sentence; a run survives being killed."""

import json
import logging
from pathlib import Path
import signal
import subprocess
import sys
import time
import tomllib

from absl import app
from absl.flags import FLAGS
from absl.testing import flagsaver
import pytest

from rearec_jax import main
from rearec_jax.commands import start as _  # noqa: F401 - defines the flags
from rearec_jax.config import command_line
from rearec_jax.errors import UserError
from rearec_jax.run.events import read_events
from rearec_jax.run.front_door import MISTAKE, exit_code
from rearec_jax.run.workdir import Workdir
from rearec_jax.studies.capacity import __main__ as capacity_program
from rearec_jax.studies.grid import __main__ as grid_program
from rearec_jax.training import loop
from tests import processes
from tests.processes import ROOT

DEMO = f"--config={ROOT / 'configs/demo.py'}"
TINY = [
    "--config.data.demo_users=60",
    "--config.data.demo_items=60",
    "--config.model.width=8",
    "--config.model.hidden=8",
    "--config.model.layers=1",
    "--config.model.max_length=10",
    "--config.method.name=rpe",
    "--config.method.steps=1",
    "--config.train.batch_size=100",
    "--config.train.epochs=3",
    "--config.train.log_every_steps=1",
    "--config.train.checkpoint_minutes=1e-9",
]


@pytest.fixture(autouse=True)
def as_before():
    """Takes back what a program leaves in this process: flags, and the levels of logging."""
    was_parsed, handlers = FLAGS.is_parsed(), list(logging.root.handlers)
    loggers = [logging.getLogger(name) for name in (None, "absl", "rearec_jax")]
    levels = [logger.level for logger in loggers]
    app.define_help_flags()  # absl does so once in a process
    with flagsaver.flagsaver():
        yield
    (FLAGS.mark_as_parsed if was_parsed else FLAGS.unparse_flags)()
    logging.root.handlers[:] = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return processes.start("-m", "rearec_jax.main", *arguments, cwd=cwd)


def said(monkeypatch, capsys, *arguments: str) -> str:
    """What the program says of a mistake, in this process; the flags are fresh each time."""
    monkeypatch.setattr(sys, "argv", ["rearec_jax", *arguments])
    monkeypatch.setattr(loop, "trained", None)  # no mistake gets that far
    monkeypatch.delitem(sys.modules, "config_config", raising=False)  # a config file's module
    FLAGS.unparse_flags()
    for name in [name for name in FLAGS if name.startswith("config.")]:
        delattr(FLAGS, name)
    for name in ("config", "mode", "workdir", "runs", "holm"):
        FLAGS[name].unparse()
    with pytest.raises(SystemExit) as caught:
        main.run(0.0)
    output = capsys.readouterr()
    assert caught.value.code == MISTAKE, output
    assert output.err.startswith("error: ") and "Traceback" not in output.err
    return output.err


# ml_collections loads config files in a way that Python 3.15 will not know.
@pytest.mark.filterwarnings("ignore:the load_module")
class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ([], ["--config=FILE is missing"]),
            (["--config=no/such.py"], ["--config=no/such.py does not exist"]),
            ([DEMO, "--config.method.stepz=3"], ["config.method.stepz", "config.method.steps?"]),
            ([DEMO, "--config.model.width=abc"], ["config.model.width must be int", "'abc'"]),
            ([DEMO, "--config.model=3"], ["config.model is a group of options"]),
            (["--config.model.width=8"], ["--config=FILE is missing"]),
            ([DEMO, "--config.train.learning_rate=-1"], ["train.learning_rate=-1"]),
            ([DEMO, "--config.eval.steps=9"], ["eval.steps=9", "method.steps"]),
            ([DEMO, "--mode=predict"], ["--mode=predict", "train|evaluate"]),
            ([DEMO, "--wrokdir=x"], ["wrokdir", "workdir ?"]),
            ([DEMO, "demo"], ["unexpected argument 'demo'"]),
            ([DEMO, "--mode=evaluate"], ["needs --workdir"]),
            ([DEMO, "--mode=evaluate", "--workdir=no"], ["--workdir=no does not exist"]),
            (["--mode=analyse"], ["--mode=analyse needs --workdir"]),
            (["--mode=analyse", "--workdir=no"], ["--workdir=no does not exist"]),
            (
                ["--mode=evaluate", "--workdir=no", "--config.eval.stps=1"],
                ["unknown option", "steps?"],
            ),
            (
                ["--mode=compare", "--config.eval.steps=1"],
                ["only --config.analysis.NAME", "eval.steps=1"],
            ),
            (
                ["--mode=export", "--config.model.width=8"],
                ["reads no --config.NAME", "model.width=8"],
            ),
            (["--mode=compare"], ["--mode=compare needs --runs=DIR,DIR"]),
            (["--mode=tune"], ["--mode=tune needs --config=FILE"]),
            ([DEMO, "--mode=tune"], ["--mode=tune needs --workdir=DIR"]),
            (
                [DEMO, "--mode=tune", "--workdir=no", "--space=method.kl_weigth=0,1"],
                ["--space=method.kl_weigth", "did you mean config.method.kl_weight?"],
            ),
            (["--mode=report"], ["--mode=report needs --runs=DIR,DIR"]),
            (["--mode=compare", "--runs=no,none"], ["no does not exist"]),
            (
                [
                    DEMO,
                    "--config.data.source=sequences",
                    "--config.data.path=no.txt",
                    "--config.data.hint=it is at example.org",
                ],
                ["no.txt", "it is at example.org"],
            ),
            (
                [DEMO, "--config.data.source=sequences", "--config.data.path=empty"],
                ["directory empty (option data.path) holds no files"],
            ),
            (["--mode=serve", "--workdir=x", "--port=99999"], ["--port=99999", "[0, 65535]"]),
            ([DEMO, "--workdir=/dev/null/run"], ["cannot write /dev/null/run", "--workdir"]),
        ],
    )
    def test_one_sentence_and_nothing_left(self, arguments, words, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "empty").mkdir()
        text = said(monkeypatch, capsys, *arguments)
        assert all(word in text for word in words), text
        assert not list(tmp_path.rglob("*.json"))

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            ("def get_config(:", ["bad.py line 1", "SyntaxError"]),
            ("import nowhere_at_all", ["bad.py line 1", "nowhere_at_all"]),
            ("x = 1", ["bad.py", "get_config()"]),
            ("def get_config():\n    pass", ["bad.py", "get_config()"]),
            ("def get_config():\n    return {'train': {'epochs': 1}}", ["bad.py", "get_config()"]),
            ("def get_config():\n    open('absent.txt')", ["bad.py line 2", "FileNotFoundError"]),
            (
                "from rearec_jax import config\n\n\ndef get_config():\n"
                "    options = config.default()\n    options.model.widht = 3",
                ["bad.py line 6", "unknown option widht", "width?"],
            ),
            (
                "from rearec_jax import config\n\n\ndef get_config():\n"
                "    options = config.default()\n    options.model.width = 'wide'",
                ["bad.py line 6", "width"],
            ),
        ],
    )
    def test_config_file_is_named_with_its_line(self, body, words, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "bad.py").write_text(body + "\n")
        text = said(monkeypatch, capsys, "--config=bad.py", "--config.data.demo_users=50")
        assert all(word in text for word in words), text
        assert text.count("\n") == 1

    def test_malformed_line_of_the_data(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "data.csv").write_text("user_id,item_id,timestamp\na,b,1\na,c,soon\n")
        options = ["--config.data.source=table", "--config.data.path=data.csv", "--workdir=run"]
        cache = f"--config.data.cache_dir={tmp_path / 'cache'}"
        text = said(monkeypatch, capsys, DEMO, *options, cache)
        assert "data.csv" in text and "3" in text
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize(
        ("argv", "path"),
        [
            (["x", "--config=a.py", "--config.b=c.py"], "a.py"),
            (["x", "-config", "a.py:large"], "a.py"),
            (["x", "--mode=train"], None),
        ],
    )
    def test_the_config_file_is_found(self, argv, path):
        assert command_line.config_path(argv) == path

    def test_options_without_a_config_file_are_left_to_a_run(self):
        assert command_line.parse(["x", "--config.seed=1", "y"]) == ["x", "y"]
        with pytest.raises(UserError, match="unknown option"):
            command_line.parse(["x", "--config.sed=1"])


@pytest.mark.parametrize(
    ("pieces", "names"),
    [
        ([], []),
        (["a", "b"], ["a", "b"]),  # each is a directory, though a,b is one as well
        (["x=1", "y=2/cell", "a"], ["x=1,y=2/cell", "a"]),
        (["a", "p=1", "q=2", "r=3"], ["a", "p=1,q=2,r=3"]),
        (["no", "a", "such"], ["no", "a", "such"]),
        (["x=1", "b", "y=2"], ["x=1", "b", "y=2"]),
    ],
)
def test_directories_with_commas_in_a_list(pieces, names, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "a,b", "x=1,y=2/cell", "p=1,q=2,r=3", "x=1,b"):
        (tmp_path / name).mkdir(parents=True)
    assert command_line.rejoined(pieces) == names


def test_the_console_script_is_the_same_program(tmp_path):
    script = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    assert script == {"rearec": "rearec_jax.main:command"}
    file = tmp_path / "rearec"  # as pip writes it
    file.write_text("import sys\nfrom rearec_jax.main import command\nsys.exit(command())\n")
    done = finish(processes.start(str(file), "--mode=compare", cwd=tmp_path))
    assert done.returncode == MISTAKE and "needs --runs=DIR,DIR" in done.stderr


def test_help_lists_the_flags_of_every_mode(tmp_path):
    done = finish(start("--help", cwd=tmp_path))
    assert done.returncode == 0
    assert all(f"--{flag}" in done.stdout for flag in ("mode", "workdir", "input", "port"))


@pytest.mark.parametrize("flag", ["--help", "-?", "--helpshort", "--helpfull", "--helpxml"])
def test_help_is_no_failure(monkeypatch, capsys, flag):
    monkeypatch.setattr(sys, "argv", ["rearec_jax", flag])
    with pytest.raises(SystemExit) as ended:
        main.run(0.0)
    assert ended.value.code == 0 and "help" in capsys.readouterr().out


def test_help_of_the_grid_and_the_plan(capsys):
    for program in (grid_program, capacity_program):
        assert exit_code(lambda program=program: program.main(["--help"])) == 0
        assert "--config" in capsys.readouterr().out


def test_killed_and_interrupted_runs_resume(tmp_path):
    """SIGKILL and Ctrl-C in the middle of epochs change nothing in what comes out."""
    arguments = [DEMO, *TINY, "--workdir=run"]
    for directory in ("whole", "stopped"):
        (tmp_path / directory).mkdir()
    whole = finish(start(*arguments, cwd=tmp_path / "whole"))
    assert whole.returncode == 0
    for number, code, events in ((signal.SIGKILL, -9, 4), (signal.SIGINT, 130, 8)):
        process = start(*arguments, cwd=tmp_path / "stopped")
        stop_at(process, number, tmp_path / "stopped/run", events)
        errors = finish(process).stderr
        assert process.returncode == code, errors
        assert "Traceback" not in errors
        assert code != 130 or "run the same command again to continue" in errors
    assert finish(start(*arguments, cwd=tmp_path / "stopped")).returncode == 0
    one, other = tmp_path / "whole/run", tmp_path / "stopped/run"
    assert timeless(one) == timeless(other)
    summaries = [json.loads((path / "summary.json").read_text()) for path in (one, other)]
    for key in ("valid", "test", "test_by_step", "best_epoch"):
        assert summaries[0][key] == summaries[1][key]


def finish(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    output, errors = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def stop_at(process: subprocess.Popen[str], number: int, run: Path, events: int) -> None:
    """Sends the signal when so many events are written."""
    path = run / "metrics.jsonl"
    while not path.exists() or path.read_bytes().count(b"\n") < events:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(number)


def timeless(run: Path) -> list[dict]:
    timed = ("seconds", "targets_per_second")
    return [
        {key: event[key] for key in event if key not in timed}
        for event in read_events(Workdir(run))
    ]
