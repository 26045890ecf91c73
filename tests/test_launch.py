"""The scripts in launch/: with fake Pythons, without network, on copies of the scripts."""

from pathlib import Path
import shutil
import signal
import subprocess
import time

import pytest

from tests.processes import ROOT

# All that the scripts may call, besides Python and uv.
TOOLS = ["basename", "bash", "cat", "cksum", "cp", "dirname", "flock", "grep", "mkdir", "mv", "rm"]
TOOLS += ["sed", "sleep", "tr"]

# A Python that makes environments of itself, notes every call, and obeys $FAKE_* variables.
FAKE = """#!{bash}
echo "$(basename "$0") $*" >>"{calls}"
[[ "${{FAKE_BROKEN:-}}" != "$(basename "$0")" ]] || exit 127
case "$*" in
  *"import ensurepip"*) [[ -z "${{FAKE_NO_VENV:-}}" ]] ;;
  *"print("*) echo "{version}" ;;
  *"sys.version_info <"*) [[ "{version}" != 3.9* ]] ;;
  "-m venv"*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip install"*)
    sleep "${{FAKE_PIP_SECONDS:-0}}"
    if [[ -n "${{FAKE_PIP_ERROR:-}}" ]]; then echo "$FAKE_PIP_ERROR"; exit 1; fi ;;
  "-m rearec_jax.main"* | "-m rearec_jax.studies.grid"* | "-m pytest"*) echo "ran: $*" ;;
esac
"""


class Project:
    """A copy of the scripts in a directory whose name has a space, and a PATH with fakes only."""

    def __init__(self, directory: Path):
        self.root = directory / "a project"
        self.bin = directory / "bin"
        self.calls = directory / "calls"
        self.venv = self.root / ".venv"
        self.bin.mkdir()
        shutil.copytree(ROOT / "launch", self.root / "launch")
        for name in ("requirements.txt", "pyproject.toml"):
            shutil.copy(ROOT / name, self.root)
        for tool in TOOLS:
            if path := shutil.which(tool):
                (self.bin / tool).symlink_to(path)

    def add_python(self, name: str, version: str = "3.12.1") -> Path:
        python = self.bin / name
        text = FAKE.format(bash=shutil.which("bash"), calls=self.calls, version=version)
        python.write_text(text)
        python.chmod(0o755)
        return python

    def start(self, script: str, *arguments: str, **variables: str) -> subprocess.Popen:
        return subprocess.Popen(
            ["bash", str(self.root / "launch" / script), *arguments],
            env={"PATH": str(self.bin), **variables},
            cwd=self.bin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str, *arguments: str, **variables: str) -> tuple[int, str, str]:
        process = self.start(script, *arguments, **variables)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def installs(self) -> list[str]:
        """The extras part of every install so far, such as '.[dev]'."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [line.split()[-1] for line in lines if " -m pip install " in line]


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def assert_one_sentence(err: str, *words: str) -> None:
    sentence = err.splitlines()[-1]
    assert sentence.endswith(".")
    for word in words:
        assert word in sentence


@pytest.mark.parametrize("script", ["local.sh", "grid.sh", "test.sh"])
def test_no_python_is_recent_enough(project, script):
    project.add_python("python3", "3.9.18")
    code, out, err = project.run(script)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert_one_sentence(err, "no Python of version 3.11")
    assert not project.venv.exists()


def test_the_python_named_must_fit(project):
    project.add_python("python3")
    old = project.add_python("old", "3.9.18")
    code, _, err = project.run("local.sh", PYTHON=str(old))
    assert code == 2
    assert_one_sentence(err, f"PYTHON={old}")


def test_no_venv_module(project):
    project.add_python("python3")
    code, _, err = project.run("local.sh", FAKE_NO_VENV="1")
    assert code == 2
    assert_one_sentence(err, "python3 has no venv module", "apt install")


def test_a_shim_that_fails_is_passed_over(project):
    project.add_python("python3.13")
    project.add_python("python3.12")
    code, _, _ = project.run("local.sh", FAKE_BROKEN="python3.13")
    assert code == 0
    assert "python3.12 -m venv" in project.calls.read_text()


@pytest.mark.parametrize(
    ("pip_says", "reason"),
    [
        ("ERROR: No matching distribution found for jax>=0.10", "a package cannot be installed"),
        ("NewConnectionError: Temporary failure in name resolution", "no network"),
    ],
)
def test_an_install_that_fails_names_its_log_and_is_tried_again(project, pip_says, reason):
    project.add_python("python3")
    code, out, err = project.run("local.sh", FAKE_PIP_ERROR=pip_says)
    assert (code, out) == (2, "")
    log = project.venv / "install.log"
    assert_one_sentence(err, reason, str(log))
    assert pip_says in log.read_text()
    assert project.run("local.sh")[0] == 0
    assert project.installs() == [".", "."]


def test_nothing_is_installed_when_current(project):
    project.add_python("python3")
    assert "1-2 minutes" in project.run("local.sh")[2]
    start = time.monotonic()
    code, out, err = project.run("local.sh", "--mode=evaluate")
    seconds = time.monotonic() - start
    assert (code, err) == (0, "")
    assert "--mode=evaluate" in out
    assert len(project.installs()) == 1
    assert seconds < 2  # 0.1 on an idle machine


@pytest.mark.parametrize("file", ["requirements.txt", "pyproject.toml"])
def test_a_changed_requirement_is_installed_once(project, file):
    project.add_python("python3")
    project.run("test.sh")
    with (project.root / file).open("a") as stream:
        stream.write("\n# changed\n")
    project.run("test.sh")
    project.run("test.sh")
    assert project.installs() == [".[dev]", ".[dev]"]


def test_extras_are_added_and_never_lost(project):
    project.add_python("python3")
    project.run("local.sh")
    project.run("test.sh")
    project.run("local.sh")
    project.run("local.sh", REAREC_EXTRAS="cuda")
    project.run("test.sh", REAREC_EXTRAS="cuda")
    assert project.installs() == [".", ".[dev]", ".[cuda,dev]"]


def test_an_unknown_extra(project):
    project.add_python("python3")
    code, _, err = project.run("local.sh", REAREC_EXTRAS="gpu")
    assert code == 2
    assert_one_sentence(err, '"gpu"', "cuda")


def test_another_python_makes_another_environment(project):
    project.add_python("python3", "3.12.1")
    other = project.add_python("other", "3.13.0")
    project.run("local.sh")
    project.run("local.sh", PYTHON=str(other))
    assert "other -m venv" in project.calls.read_text()
    project.run("local.sh", PYTHON=str(other))
    assert len(project.installs()) == 2


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_an_interrupted_install_is_made_anew(project, how):
    project.add_python("python3")
    process = project.start("local.sh", FAKE_PIP_SECONDS="0.5")
    while not project.installs() and process.poll() is None:
        time.sleep(0.01)
    (project.venv / "half-written").touch()
    process.send_signal(how)
    process.communicate()
    assert process.returncode != 0
    code, out, _ = project.run("local.sh")
    assert code == 0
    assert "ran:" in out
    assert len(project.installs()) == 2
    assert not (project.venv / "half-written").exists()


@pytest.mark.parametrize(("uv_exits", "pip_installs"), [(0, []), (1, ["."])])
def test_uv_is_used_where_there_is_one_and_pip_where_it_fails(project, uv_exits, pip_installs):
    project.add_python("python3")
    uv = project.bin / "uv"
    uv.write_text(f"#!{shutil.which('bash')}\necho uv $* >>{project.calls}\nexit {uv_exits}\n")
    uv.chmod(0o755)
    assert project.run("local.sh")[0] == 0
    assert "uv pip install" in project.calls.read_text()
    assert project.installs() == pip_installs


@pytest.mark.skipif(not shutil.which("flock"), reason="needs flock (util-linux)")
def test_two_at_once_install_once(project):
    project.add_python("python3")
    both = [project.start("local.sh", FAKE_PIP_SECONDS="0.3") for _ in range(2)]
    outs = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert len(project.installs()) == 1
    assert any("Waiting" in err for _, err in outs)


def test_the_demo_is_the_default_configuration(project):
    project.add_python("python3")
    demo = f"--config={project.root}/configs/demo.py"
    for arguments, expected in (
        (["--config.seed=1"], [demo, "--config.seed=1"]),
        (["--mode=report", "--config=x y.py"], ["--mode=report", "--config=x y.py"]),
        (["--config", "x.py"], ["--config", "x.py"]),
        (["--mode=evaluate", "--workdir=a"], ["--mode=evaluate", "--workdir=a"]),
        (["--mode", "analyse", "--workdir=a"], ["--mode", "analyse", "--workdir=a"]),
        (["--mode=tune"], [demo, "--mode=tune"]),
    ):
        _, out, _ = project.run("local.sh", *arguments)
        assert out == f"ran: -m rearec_jax.main {' '.join(expected)}\n"


def test_the_grid_gets_the_arguments_as_they_are(project):
    project.add_python("python3")
    _, out, _ = project.run("grid.sh", "--configs=x y.py", "--seeds=0,1", "--table")
    assert out == "ran: -m rearec_jax.studies.grid --configs=x y.py --seeds=0,1 --table\n"


def test_the_results_are_grids_of_the_data_that_are_there(project):
    project.add_python("python3")
    data, out = project.root / "my data", project.root / "runs"
    data.mkdir()
    (data / "Yelp.txt").touch()
    (data / "Yelp.tsv").touch()
    chosen = {"SECTIONS": "beauty longer backbones"}
    code, said, err = project.run("results.sh", str(data), str(out), "--dry_run", **chosen)
    assert code == 0 and "Left out: " in err and f"{data}/Beauty.txt is not there" in err
    lines = said.splitlines()
    assert len(lines) == 2 and all(
        line.startswith("ran: -m rearec_jax.studies.grid") for line in lines
    )
    assert all(f"--data=yelp_s3={data}/Yelp.txt" in line for line in lines)
    (data / "Yelp.tsv").unlink()
    _, said, err = project.run("results.sh", str(data), str(out), "--dry_run", **chosen)
    assert len(said.splitlines()) == 1 and f"{data}/Yelp.tsv is not there" in err
    assert "--methods=erl" in lines[0] and f"--text=yelp_s3={data}/Yelp.tsv" in lines[1]
    assert all(line.endswith("--dry_run") for line in lines)


def test_the_results_compare_and_evaluate_what_they_have_trained(project):
    project.add_python("python3")
    (project.root / "Beauty.txt").touch()
    cell = project.root / "runs/beauty-12/beauty/sasrec-prl-seed1"
    cell.mkdir(parents=True)
    (cell / "summary.json").touch()
    runs = str(project.root / "runs")
    code, said, _ = project.run("results.sh", str(project.root), runs, SECTIONS="beauty")
    assert code == 0
    compared = [line for line in said.splitlines() if "--mode=compare" in line]
    assert [line.partition("--runs=")[2].count(",") + 1 for line in compared] == [3, 2, 2, 2]
    unseen = f"--mode=evaluate --workdir={cell} --config.eval.exclude_seen=True"
    assert f"ran: -m rearec_jax.main {unseen}\n" in said


@pytest.mark.parametrize(("cell", "code", "calls"), [(1, 2, 2), (130, 130, 1), (2, 2, 1)])
def test_failed_cells_do_not_keep_other_grids_but_the_rest_does(project, cell, code, calls):
    python = project.add_python("python3")
    python.write_text(python.read_text().replace('echo "ran: $*"', f'echo "ran: $*"; exit {cell}'))
    for name in ("Yelp.txt", "Yelp.tsv"):
        (project.root / name).touch()
    sections = "longer backbones"
    found, said, err = project.run("results.sh", str(project.root), "runs", SECTIONS=sections)
    assert found == code and said.count("rearec_jax.studies.grid") == calls
    assert ("2 of the commands failed" in err) == (cell == 1)


def test_an_unknown_section_of_the_results(project):
    project.add_python("python3")
    code, _, err = project.run("results.sh", "data", "runs", SECTIONS="beauti")
    assert code == 2 and "'beauti' is none of beauty toys" in err


def test_the_documentation_is_built_and_served_with_warnings_as_errors(project):
    project.add_python("python3")
    assert project.run("docs.sh")[0] == 0
    assert project.run("docs.sh", "serve", "--dev-addr=localhost:8001")[0] == 0
    calls = [line for line in project.calls.read_text().splitlines() if " -m mkdocs " in line]
    assert [line.partition(" -m ")[2] for line in calls] == [
        "mkdocs build --strict",
        "mkdocs serve --strict --dev-addr=localhost:8001",
    ]
    assert project.installs() == [".[docs]"]


def test_the_exit_code_is_that_of_the_program(project):
    python = project.add_python("python3")
    python.write_text(python.read_text().replace('echo "ran: $*"', "exit 7"))
    assert project.run("local.sh")[0] == 7
    assert project.run("grid.sh")[0] == 7
    assert project.run("test.sh", "-k", "x")[0] == 7


def test_a_test_run_that_dies_says_how_to_see_why(project):
    python = project.add_python("python3")
    python.write_text(python.read_text().replace('echo "ran: $*"', "kill -ABRT $$"))
    code, _, err = project.run("test.sh", "-k", "x")
    assert code == 128 + signal.SIGABRT
    assert_one_sentence(err, f"signal {signal.SIGABRT:d}", "--capture=no")


def test_the_newest_python_is_found_on_path_or_with_pyenv(project):
    project.add_python("python3", "3.11.1")
    project.add_python("python3.12", "3.12.1")
    newest = 'source "$0/launch/setup.sh" && newest_python'

    def found() -> str:
        return subprocess.run(
            ["bash", "-c", newest, str(project.root)],
            env={"PATH": str(project.bin), "PYENV_ROOT": str(project.root / "pyenv")},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    assert found() == "python3.12"
    of_pyenv = project.root / "pyenv" / "versions" / "3.13.0" / "bin" / "python3"
    of_pyenv.parent.mkdir(parents=True)
    shutil.copy(project.bin / "python3.12", of_pyenv)
    assert found() == str(of_pyenv)


def test_an_environment_of_another_place(project):
    project.add_python("python3")
    other = project.root / "other venv"
    assert project.run("local.sh", REAREC_VENV=str(other))[0] == 0
    assert (other / "bin" / "python").exists() and not project.venv.exists()
