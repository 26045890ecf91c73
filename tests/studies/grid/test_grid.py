"""The grid: what runs, what is skipped, what is said of failures and Ctrl-C, and the table."""

import fcntl
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

import pytest

from rearec_jax.run import front_door
from rearec_jax.studies import terminal
from rearec_jax.studies.grid import __main__ as grid
from rearec_jax.studies.grid import cells, means, options, paper_table
from rearec_jax.studies.grid.summaries import Result, read, read_commands
from tests import markdown
from tests.processes import ROOT, environment

DEMO = str(ROOT / "configs/demo.py")

# ml_collections loads config files in a way that Python 3.15 will not know.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module")

# In place of rearec_jax.main: as quick as can be, but with the same files and exit codes. FAKE_FAIL
# and FAKE_WAIT name methods that fail, or wait for a signal at the first start, then save and end;
# FAKE_FINISHES: they were at their end anyway.
FAKE = """
import json, os, pathlib, signal, sys, time
from rearec_jax import config
from rearec_jax.config import command_line
from rearec_jax.run import workdir
given = config.resolve(command_line.load(sys.argv[2:]))
path = sys.argv[1].removeprefix("--workdir=")
method = given.method.name
print("fake", method, given.seed, flush=True)
if method in os.environ.get("FAKE_FAIL", "").split():
    sys.exit(2)
files = workdir.open_workdir(path, given)
saved = files.path / "saved"
if method == os.environ.get("FAKE_WAIT") and not saved.exists():
    def stop(*_):
        saved.touch()
        if "FAKE_FINISHES" not in os.environ:
            os._exit(130)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    (files.path / "waiting").touch()
    while not saved.exists():
        time.sleep(0.01)
value = {"base": 0.1, "erl": 0.12, "prl": 0.11}[method] + 0.01 * given.seed
test = {name: value for name in ("ndcg@10", "ndcg@20", "recall@10", "recall@20")}
files.write_summary({"test": test, "best_epoch": 3, "train": {"seconds": 90.0}})
"""


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A root whose cells are made by the fake; commands are those of a user in another place."""
    program = tmp_path / "fake.py"
    program.write_text(FAKE)
    monkeypatch.setattr(cells, "PROGRAM", (sys.executable, str(program)))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def arguments(root: Path, *more: str) -> list[str]:
    return [f"--configs={DEMO}", "--backbones=sasrec", f"--root={root}", *more]


def said(capfd, root: Path, *more: str) -> tuple[int, str]:
    code = grid.main(arguments(root, *more))
    return code, capfd.readouterr().out


def mistake(monkeypatch, capfd, *given: str) -> str:
    monkeypatch.setattr(sys, "argv", ["grid", *given])
    with pytest.raises(SystemExit) as caught:
        grid.run()
    assert caught.value.code == front_door.MISTAKE
    error = capfd.readouterr().err
    assert error.startswith("error: ") and "Traceback" not in error
    return error


class TestRunning:
    def test_all_cells_then_the_table(self, root, capfd):
        code, out = said(capfd, root, "--seeds=0,1", "--markdown=table.md")
        assert code == 0
        # A whole table of one seed comes first; methods to be compared come together.
        ran = [line for line in out.splitlines() if line.startswith("fake")]
        assert ran == [f"fake {m} {s}" for s in (0, 1) for m in ("base", "erl", "prl")]
        assert "cell 1 of 6: " in out and "sasrec-prl-seed1" in out
        assert out.index("cell 2 of 6") < out.index("fake erl 0") < out.index("cell 3 of 6")
        assert ".1250 ±.0071" in out and "+19.0%" in out and "6 cells: 6 done" in out
        text = Path("table.md").read_text()
        (erl,) = (row for row in markdown.rows(text) if row["Method"] == "+ERL")
        assert (erl["Data set"], erl["NDCG@10"]) == ("demo", ".1250 ±.0071")
        assert "python -m rearec_jax.studies.grid --configs=" in text

    def test_without_configs_it_is_the_papers(self, root):
        configs = options.parse([f"--root={root}"]).configs
        assert tuple(configs) == options.PAPER
        assert all(Path(path).samefile(ROOT / f"configs/{n}.py") for n, path in configs.items())

    def test_what_is_done_is_skipped(self, root, capfd):
        said(capfd, root, "--methods=base,erl")
        code, out = said(capfd, root)
        assert code == 0
        assert "3 cells: 2 done, 1 to do" in out
        assert [line for line in out.splitlines() if line.startswith("fake")] == ["fake prl 0"]

    def test_failures_do_not_stop_the_others(self, root, capfd, monkeypatch):
        monkeypatch.setenv("FAKE_FAIL", "base prl")
        code, out = said(capfd, root)
        assert code == grid.FAILED
        assert "3 cells: 1 done, 2 failed" in out
        commands = [line for line in out.splitlines() if line.startswith("failed (exit code 2): ")]
        assert "method.name=base" in commands[0] and "method.name=prl" in commands[1]
        monkeypatch.delenv("FAKE_FAIL")
        code, out = said(capfd, root)
        assert code == 0
        ran = [line for line in out.splitlines() if line.startswith("fake")]
        assert ran == ["fake base 0", "fake prl 0"]

    def test_a_program_that_leaves_no_summary_has_failed(self, root, capfd, monkeypatch):
        monkeypatch.setattr(cells, "PROGRAM", (sys.executable, "-c", "pass"))
        code, out = said(capfd, root, "--methods=base")
        assert code == grid.FAILED
        assert "wrote no summary.json" in out

    def test_killed_by_a_signal(self, root, capfd, monkeypatch):
        kill = "import os; os.kill(os.getpid(), 9)"
        monkeypatch.setattr(cells, "PROGRAM", (sys.executable, "-c", kill))
        code, out = said(capfd, root, "--methods=base")
        assert code == grid.FAILED
        assert "killed by SIGKILL" in out

    def test_a_cell_of_another_grid_is_left_to_it(self, root, capfd):
        (root / "demo").mkdir(parents=True)
        with (root / "demo" / ".sasrec-erl-seed0.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            code, out = said(capfd, root)
        assert code == 0
        assert "demo/sasrec-erl-seed0 is in the hands of another grid" in out
        assert "fake erl" not in out and "fake prl" in out
        assert said(capfd, root)[1].count("fake erl") == 1

    def test_dry_run_prints_what_is_missing_and_leaves_nothing(self, root, capfd):
        code, out = said(capfd, root, "--dry_run", "--config.model.width=32")
        lines = out.splitlines()
        assert (code, len(lines)) == (0, 3)
        assert all("--config.model.width=32" in line for line in lines)
        assert not root.exists()
        said(capfd, root, "--methods=base", "--config.model.width=32")
        _, out = said(capfd, root, "--dry_run", "--config.model.width=32")
        assert len(out.splitlines()) == 2

    def test_files_go_to_their_data_set(self, root, capfd, tmp_path):
        for name in ("beauty.txt", "text.tsv"):
            (tmp_path / name).touch()
        beauty = f"--configs={DEMO},{ROOT}/configs/beauty.py"
        files = ["--data=beauty=beauty.txt", "--text=beauty=text.tsv"]
        _, out = said(capfd, root, beauty, *files, "--methods=base", "--dry_run")
        demo_command, beauty_command = out.splitlines()
        assert "data.path" not in demo_command and "item_text" not in demo_command
        assert "--config.data.path=beauty.txt" in beauty_command
        assert "--config.data.item_text=text.tsv" in beauty_command


class TestInterruption:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_the_cell_saves_and_the_same_command_continues(self, root, number, tmp_path):
        process = start(root, tmp_path, FAKE_WAIT="erl")
        cell = root / "demo" / "sasrec-erl-seed0"
        wait_for(cell / "waiting", process)
        if number == signal.SIGINT:  # as a terminal does
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        out, err = process.communicate(timeout=30)
        assert process.returncode == grid.INTERRUPTED, err
        assert "Traceback" not in err and "run the same command again" in err
        assert ".1000" in out and "3 cells: 1 done, 2 to do" in out and "fake prl" not in out
        assert (cell / "saved").exists()
        again = start(root, tmp_path, FAKE_WAIT="erl")
        out, _ = again.communicate(timeout=30)
        assert again.returncode == 0
        assert ".1200" in out and "fake base" not in out and "fake erl" in out

    def test_nothing_is_left_to_continue(self, root, tmp_path):
        process = start(root, tmp_path, FAKE_WAIT="prl", FAKE_FINISHES="1")
        wait_for(root / "demo" / "sasrec-prl-seed0" / "waiting", process)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (0, "")
        assert "3 cells: 3 done" in out

    def test_a_cell_outlives_its_grid_locked(self, root, tmp_path, capfd):
        process = start(root, tmp_path, FAKE_WAIT="base")
        wait_for(root / "demo" / "sasrec-base-seed0" / "waiting", process)
        process.kill()
        process.wait()
        try:
            _, out = said(capfd, root, "--methods=base")
            assert "in the hands of another grid" in out
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.communicate(timeout=30)


def start(root: Path, tmp_path: Path, **variables: str) -> subprocess.Popen[str]:
    """A grid of the fake in a process group of its own."""
    program = (
        "from rearec_jax.studies.grid import __main__, cells\n"
        f"cells.PROGRAM = ({sys.executable!r}, {str(tmp_path / 'fake.py')!r})\n"
        "__main__.run()"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments(root)],
        env=os.environ | variables,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


class TestMistakes:
    @pytest.mark.parametrize(
        ("given", "words"),
        [
            (["--configs=no/such.py"], ["no/such.py does not exist", "--configs"]),
            (["--configs=,"], ["--configs names nothing"]),
            ([f"--configs={DEMO},other/demo.py"], ["other/demo.py does not exist"]),
            ([f"--configs={DEMO},{ROOT}/rearec_jax/data/demo.py"], ["the same name"]),
            (["--methods=erll"], ["method.name='erll'", "did you mean erl?"]),
            (["--backbones=sasrek"], ["model.backbone='sasrek'", "did you mean sasrec?"]),
            (["--seeds=0,x"], ["--seeds=0,x", "'x'"]),
            (["--config.model.widht=8"], ["config.model.widht", "config.model.width?"]),
            (["--config.model.width=wide"], ["config.model.width must be int"]),
            (["--config.seed=3"], ["--config.seed=3", "--seeds"]),
            (["--config.data.path=x"], ["--data=NAME=FILE"]),
            (["--config.model.width", "8"], ["unexpected argument", "--config.NAME=VALUE"]),
            (["--wrokdir=3"], ["unexpected argument '--wrokdir=3'"]),
            (["--data=demo"], ["--data=NAME=FILE"]),
            (["--data=yelp=fake.py"], ["yelp is none of the grid's demo"]),
            (["--text=demo=no.tsv"], ["--text=demo=no.tsv: no.tsv does not exist"]),
            (["--markdown=no/table.md"], ["--markdown=no/table.md", "directory"]),
            (["--root=fake.py"], ["fake.py", "--root"]),
            (["--root"], ["--root", "--help"]),
        ],
    )
    def test_one_sentence_and_nothing_started(self, given, words, root, monkeypatch, capfd):
        base = [f"--configs={DEMO}", f"--root={root}"]
        text = mistake(monkeypatch, capfd, *base, *given)
        assert all(word in text for word in words), text
        assert text.count("\n") == 1
        assert not root.exists()

    def test_the_papers_data_sets_are_the_default(self, root, monkeypatch, capfd):
        monkeypatch.setattr("rearec_jax.studies.grid.options._CONFIGS", root)
        text = mistake(monkeypatch, capfd, f"--root={root}")
        assert "runs/yelp.py does not exist" in text

    def test_a_root_with_other_options_is_refused(self, root, monkeypatch, capfd):
        said(capfd, root)
        changed = arguments(root, "--seeds=0,1", "--config.train.epochs=5")
        text = mistake(monkeypatch, capfd, *changed)
        assert "demo/sasrec-base-seed0 holds a run with other options" in text
        assert "train.epochs: 12 -> 5" in text and "2 more cells" in text
        assert not (root / "demo" / "sasrec-base-seed1").exists()

    def test_an_unfinished_cell_with_other_options_too(self, root, monkeypatch, capfd):
        said(capfd, root, "--methods=base")
        (root / "demo" / "sasrec-base-seed0" / "summary.json").unlink()
        text = mistake(monkeypatch, capfd, *arguments(root, "--config.train.epochs=5"))
        assert "train.epochs: 12 -> 5" in text

    def test_options_that_change_no_result_may_differ(self, root, capfd):
        said(capfd, root)
        assert said(capfd, root, "--config.train.log_every_steps=7")[0] == 0

    def test_no_table_of_nothing(self, root, monkeypatch, capfd):
        text = mistake(monkeypatch, capfd, "--table", f"--root={root}")
        assert "holds no finished cell" in text and "--root" in text


def result(method: str, value: float | None, seed: int = 0, **more) -> Result:
    """All metrics the same."""
    place = {"dataset": "beauty", "backbone": "sasrec", "options": {}} | {
        key: more.pop(key) for key in ("dataset", "backbone", "options") if key in more
    }
    summary = {
        "test": dict.fromkeys(means.METRICS, value),
        "train": {"seconds": 60.0 * (seed + 1)},
        "best_epoch": 10 + seed,
        **more,
    }
    return Result(method=method, seed=seed, summary=summary, **place)


def rows(results: list[Result], asked=()) -> list[list[str]]:
    """Of the Markdown, without its heading."""
    text = paper_table.markdown(means.compare(results, asked))
    lines = [line for line in text.splitlines() if line.startswith("| ")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


class TestTable:
    def test_the_papers_rows(self):
        found = rows([result("prl", 0.05), result("base", 0.04), result("erl", 0.042)])
        assert [row[2] for row in found] == ["base", "+ERL", "+PRL", "improvement"]
        assert found[0][3:] == [".0400"] * 4 + ["1", "10", "1.0"]
        assert found[2][3:7] == ["**.0500**"] * 4
        assert found[3][3:] == ["+25.0%"] * 4 + ["", "", ""]

    def test_mean_and_sample_deviation_over_seeds(self):
        values = (0.04, 0.05, 0.06)
        found = rows([result("base", value, seed) for seed, value in enumerate(values)])
        assert found[0][3:] == ["**.0500 ±.0100**"] * 4 + ["3", "11", "2.0"]

    def test_what_is_missing_is_a_dash(self):
        found = rows([result("erl", 0.05)], asked=[("beauty", "sasrec"), ("toys", "morec")])
        assert found[0][2:] == ["base", *["-"] * 7]
        assert found[3][3:7] == ["-"] * 4  # nothing to improve upon
        assert [row[0] for row in found[4:]] == ["toys"] * 4
        assert {cell for row in found[4:] for cell in row[3:7]} == {"-"}

    def test_an_improvement_may_be_negative_and_needs_one_of_the_two(self):
        assert rows([result("base", 0.04), result("erl", 0.03)])[-1][3] == "-25.0%"
        assert rows([result("base", 0.0), result("erl", 0.03)])[-1][3] == "-"

    def test_an_improvement_is_that_of_the_seeds_that_both_have(self):
        base = [result("base", value, seed) for seed, value in enumerate((0.04, 0.08))]
        assert rows([*base, result("erl", 0.05)])[-1][3] == "+25.0%"
        assert rows([base[1], result("erl", 0.05)])[-1][3] == "-"
        assert rows([*base, result("erl", 0.05), result("prl", 0.12, 1)])[-1][3] == "+50.0%"

    def test_a_metric_that_one_seed_lacks_is_missing(self):
        found = rows([result("base", 0.04), result("base", None, 1)])
        assert found[0][3:8] == ["-"] * 4 + ["2"]

    def test_other_methods_and_popularity_have_rows(self):
        popular = dict.fromkeys(means.METRICS, 0.09)
        found = rows([result("rpe", 0.06), result("base", 0.04, popularity=popular)])
        assert [row[2] for row in found[:3]] == ["popularity", "base", "+RPE"]
        assert found[0][3:] == [".0900"] * 4 + ["", "", ""]
        assert found[2][3] == "**.0600**"  # best of the methods; the improvement is of the paper's
        assert found[-1][3] == "-"

    def test_what_looks_equal_is_equally_bold(self):
        found = rows([result("base", 0.040001), result("erl", 0.039999), result("prl", 0.03)])
        assert [row[3] for row in found[:3]] == ["**.0400**", "**.0400**", ".0300"]
        assert rows([result("base", 1.0), result("erl", 0.9)])[0][3] == "**1.0000**"

    def test_order(self):
        found = rows(
            [result("base", 0.1, backbone=b, dataset=d) for d in "ab" for b in ("morec", "sasrec")],
            asked=[("b", "bert4rec")],
        )
        order = [tuple(row[:2]) for row in found if row[2] == "base"]
        names = ["sasrec", "bert4rec", "morec"]
        assert order == [*(("b", name) for name in names), ("a", "sasrec"), ("a", "morec")]

    def test_remarks(self):
        options = {"train": {"epochs": 3}, "seed": 0, "data": {"path": "x"}}
        other = {"train": {"epochs": 5}, "seed": 1, "data": {"path": "y"}}
        results = [
            result("base", 0.1, options=options, notes=["a sample of 10 users"]),
            result("erl", 0.1, options=other, notes=["a sample of 10 users"]),
        ]
        assert means.remarks(results) == [
            "beauty: a sample of 10 users.",
            "beauty: the cells differ in train.epochs as well.",
        ]
        assert means.remarks(results[:1]) == ["beauty: a sample of 10 users."]

    def test_a_terminal_as_narrow_as_usual_shows_all_numbers(self, monkeypatch, capsys):
        monkeypatch.setattr(terminal, "PIPE_COLUMNS", 80)
        results = [result("base", 0.04), result("base", 0.05, 1), result("erl", 0.05)]
        paper_table.print_table(means.compare(results, []), ["[bold]as it is[/bold]"])
        out = capsys.readouterr().out
        assert ".0450" in out and "±.0071" in out and "…" not in out
        assert "beauty" in out and "improvement" in out and "Recall@20" in out
        assert "[bold]as it is[/bold]" in out
        assert max(map(len, out.splitlines())) <= 80

    def test_failed_cells_are_named_even_if_no_table_can_be_written(self, root, monkeypatch, capfd):
        monkeypatch.setenv("FAKE_FAIL", "base")
        monkeypatch.setattr(paper_table, "print_table", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            grid.main(arguments(root, "--methods=base"))
        assert "failed (exit code 2): " in capfd.readouterr().out

    def test_table_alone_reads_what_there_is(self, root, capfd):
        said(capfd, root, "--methods=base,erl")
        (root / "demo" / "sasrec-base-seed0" / "summary.json").write_text("{")
        (root / "demo" / "notes").mkdir()
        (root / "demo" / "notes" / "summary.json").write_text("{}")
        assert grid.main([f"--root={root}", "--table"]) == 0
        out = capfd.readouterr().out
        assert ".1200" in out and "fake" not in out
        assert "sasrec-base-seed0/summary.json cannot be read" in out

    def test_a_table_that_cannot_be_written_leaves_the_old_one(self, root, monkeypatch, capfd):
        said(capfd, root, "--methods=base")
        Path("table.md").write_text("old")

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        more = ["--table", "--markdown=table.md", f"--root={root}"]
        text = mistake(monkeypatch, capfd, *more)
        assert "table.md" in text and "--markdown" in text
        assert Path("table.md").read_text() == "old"
        assert sorted(path.name for path in Path().iterdir()) == ["fake.py", "runs", "table.md"]

    def test_commands_are_noted_once(self, root, capfd):
        markdown = ["--markdown", "table.md"]
        for more in (["--methods=base"], [*markdown, "--methods=base"], ["--methods=erl"]):
            said(capfd, root, *more)
        assert [line.split()[-1] for line in read_commands(root)] == [
            "--methods=base",
            "--methods=erl",
        ]


def test_a_real_cell(tmp_path):
    """One, in the smallest size, as a user starts it; then it is skipped."""
    tiny = [f"--config.data.{name}=60" for name in ("demo_users", "demo_items")]
    tiny += [f"--config.model.{name}=8" for name in ("width", "hidden", "max_length")]
    tiny += ["--config.model.layers=1", "--config.train.epochs=1", "--config.train.batch_size=350"]
    command = [sys.executable, "-m", "rearec_jax.studies.grid", f"--configs={DEMO}", "--root=runs"]
    command += ["--backbones=sasrec", "--methods=base", *tiny]
    for ran in (True, False):
        done = subprocess.run(
            command, cwd=tmp_path, env=environment(), text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert ("cell 1 of 1" in done.stdout) == ran
        assert "1 cell: 1 done" in done.stdout and "popularity" in done.stdout
    ((found,), notes) = read(tmp_path / "runs")
    assert (found.dataset, found.backbone, found.method, found.seed) == (
        "demo",
        "sasrec",
        "base",
        0,
    )
    assert notes == []
    summary = json.loads((tmp_path / "runs/demo/sasrec-base-seed0/summary.json").read_text())
    assert f"{summary['test']['ndcg@10']:.4f}".removeprefix("0") in done.stdout
