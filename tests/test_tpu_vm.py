"""launch/tpu_vm.sh and tpu_worker.sh with a fake gcloud: two workers that are directories."""

from pathlib import Path
import shutil
import subprocess
import time

import pytest

from tests.processes import ROOT

RUN = ["--config=configs/demo.py", "--workdir=gs://bucket/a run"]

# A Python that is recent, makes environments of itself, and trains two updates: each is saved to
# the bucket; the second comes only where the first was found there.
PYTHON = """#!{bash}
case "$*" in
  *"print("*) echo 3.13.1 ;;
  "-m venv"*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip install"*) echo "pip $*" >>{top}/calls ;;
  "-m rearec_jax.main"*)
    line=$(printf '%s|' "$@"); echo "$line" >>{top}/runs  # one write: two workers run at a time
    [[ ! -f {top}/exit ]] || {{ echo "the reason"; exit "$(<{top}/exit)"; }}
    [[ ! -f {top}/long ]] || exec sleep 60
    if [[ -f {top}/bucket ]]; then echo "update 2" >>{top}/bucket; exit 0; fi
    echo "update 1" >{top}/bucket
    exec sleep 60 ;;
esac
"""

# Requests become ACTIVE in three looks. The slice is preempted at a probe once `preempt` exists.
GCLOUD = """#!{bash}
echo "$*" >>{top}/calls
[[ "$1 $2 $3" == compute\\ tpus\\ @(queued-resources|tpu-vm) ]] || exit 64
machines() {{ ls -d {top}/worker* 2>/dev/null || {{ echo "ssh: no route" >&2; exit 255; }}; }}
away() {{
  for child in {top}/worker*/rearec_jax_run/child; do kill "$(<"$child")" 2>/dev/null; done
  rm -rf {top}/worker0 {top}/worker1
}}
case $4 in
  create)
    printf '%s\\n' WAITING_FOR_RESOURCES PROVISIONING ACTIVE >{top}/queue ;;
  describe)
    [[ -f {top}/queue ]] || {{ echo "ERROR: NOT_FOUND: no such resource" >&2; exit 1; }}
    head -n 1 {top}/queue
    [[ $(head -n 1 {top}/queue) != ACTIVE ]] || mkdir -p {top}/worker0 {top}/worker1
    [[ $(wc -l <{top}/queue) == 1 ]] || sed -i 1d {top}/queue ;;
  delete) away; rm {top}/queue ;;
  scp)
    to=${{6#*:}}
    for home in $(machines); do cp "$5" "$home/$to"; done ;;
  ssh)
    for word; do case $word in
      --command=*) command=${{word#*=}} ;;
      --worker=*) worker=${{word#*=}} ;;
    esac; done
    if [[ $command == *probe* && -f {top}/preempt && -f {top}/bucket ]]; then
      rm {top}/preempt; echo SUSPENDED >{top}/queue; away
    fi
    for home in $(machines); do
      [[ $worker == all || $home == *worker$worker ]] || continue
      (cd "$home" && HOME=$home bash -c "$command") || exit
    done ;;
esac
"""


class Cloud:
    """A repository, and a PATH with a fake gcloud and a fake Python."""

    def __init__(self, directory: Path):
        self.top = directory
        self.root = directory / "repository"
        self.bin = directory / "bin"
        self.bin.mkdir()
        shutil.copytree(ROOT / "launch", self.root / "launch")
        for name in ("requirements.txt", "pyproject.toml"):
            shutil.copy(ROOT / name, self.root)
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"]):
            identity = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
            hooks = ["-c", "core.hooksPath=/dev/null"]
            subprocess.run(["git", *identity, *hooks, *command], cwd=self.root, check=True)
        for name, text in (("python3.13", PYTHON), ("gcloud", GCLOUD)):
            path = self.bin / name
            path.write_text(text.format(bash=shutil.which("bash"), top=directory))
            path.chmod(0o755)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        done = subprocess.run(
            ["bash", str(self.root / "launch/tpu_vm.sh"), *arguments],
            env={"PATH": f"{self.bin}:/usr/bin:/bin", "TMPDIR": str(self.top)},
            cwd=self.bin,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout, done.stderr

    def lines(self, name: str) -> list[str]:
        path = self.top / name
        return path.read_text().splitlines() if path.exists() else []

    def verbs(self) -> list[str]:
        """The calls of gcloud so far, such as 'create'; looks and probes left out."""
        calls = [line.split() for line in self.lines("calls") if line.startswith("compute")]
        return [
            call[3]
            for call in calls
            if call[3] != "describe" and not any("probe" in word for word in call)
        ]


@pytest.fixture
def cloud(tmp_path):
    if not shutil.which("git") or not shutil.which("setsid"):
        pytest.skip("needs git and setsid")
    made = Cloud(tmp_path)
    yield made
    for child in tmp_path.glob("worker*/rearec_jax_run/child"):  # what a test has left running
        subprocess.run(["kill", child.read_text().strip()], capture_output=True)


def test_a_dry_run_prints_the_commands_and_runs_none(cloud):
    flags = ["--dry_run", "--poll=0", "--spot", "--zone=europe-west4-b", "--project=p"]
    code, out, err = cloud.run("create", *flags, "--name=x", "--type=v6e-16")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "gcloud compute tpus queued-resources create x --node-id=x --accelerator-type=v6e-16"
        " --runtime-version=v2-alpha-tpuv6e --spot --zone=europe-west4-b --project=p --quiet",
        "gcloud compute tpus queued-resources describe x --format=value\\(state.state\\)"
        " --zone=europe-west4-b --project=p --quiet",
    ]
    for action in ("setup", "run", "status", "logs", "resume", "stop", "delete"):
        code, out, err = cloud.run(action, *flags, "--", *RUN)
        assert code == 0, err
        assert all(line.startswith(("gcloud ", "git ", "rm ", "#")) for line in out.splitlines())
    assert not cloud.lines("calls")


def test_a_dry_run_of_resume_shows_what_follows_a_preemption(cloud):
    code, out, _ = cloud.run("resume", "--dry_run", "--spot", "--", *RUN)
    words = [line.split() for line in out.splitlines() if line.startswith("gcloud")]
    verbs = [line[4] for line in words]
    expected = ["describe", "delete", "create", "describe", "scp", "ssh", "ssh", "ssh", "ssh"]
    assert (code, verbs) == (0, expected)


def test_step_by_step(cloud):
    (cloud.top / "long").touch()
    assert cloud.run("create", "--poll=0")[0] == 0
    assert cloud.run("setup", f"--copy={ROOT / 'LICENSE'}")[0] == 0
    assert "pip -m pip install" in "\n".join(cloud.lines("calls"))
    assert (cloud.top / "worker1/rearec_jax/LICENSE").exists()
    code, out, err = cloud.run("run", "--", *RUN)
    assert (code, out.count("started on")) == (0, 2), err
    code, out, err = cloud.run("status")
    assert (code, out) == (0, "rearec_jax: running\n" * 2), err
    code, _, err = cloud.run("run", "--", *RUN)
    assert (code, "a run is going on" in err) == (2, True)
    assert cloud.run("stop")[0] == 0
    _wait_for(lambda: "ended 143" in cloud.run("status")[1])
    assert "exit code 143" in cloud.run("logs", "--worker=1")[1]
    assert cloud.run("delete")[0] == 0
    assert cloud.verbs()[-1] == "delete"
    # Arguments with a space arrive whole.
    arguments = "|".join([*RUN, "--coordinator=auto"])
    assert cloud.lines("runs") == [f"-m|rearec_jax.main|{arguments}|"] * 2


def test_a_preempted_slice_is_made_anew_and_the_run_continues(cloud):
    (cloud.top / "preempt").touch()
    code, _, err = cloud.run("resume", "--poll=0", "--spot", "--", *RUN)
    assert code == 0, err
    once = ["create", "scp", "ssh", "ssh", "ssh"]  # code, unpacked, installed, started
    assert cloud.verbs() == [*once, "delete", *once]
    assert len(set(cloud.lines("runs"))) == 1  # the same command
    assert cloud.lines("bucket")[0] == "update 1"
    assert "update 2" in cloud.lines("bucket")
    assert "SUSPENDED" in err
    assert "the run is done" in err


def test_resume_leaves_a_finished_run_alone(cloud):
    (cloud.top / "bucket").write_text("update 1\n")
    assert cloud.run("resume", "--poll=0", "--", *RUN)[0] == 0
    before = cloud.verbs()
    code, _, err = cloud.run("resume", "--poll=0", "--", *RUN)
    assert (code, cloud.verbs()) == (0, before)
    assert "the run is done" in err
    assert cloud.run("resume", "--poll=0", "--", *RUN, "--config.seed=1")[0] == 0
    assert len(cloud.verbs()) == len(before) + 1  # another command is another run


@pytest.mark.parametrize(
    ("exit_code", "starts", "said"), [(2, 1, "mistake"), (1, 3, "more than 2 failures")]
)
def test_a_run_that_fails_is_started_again_only_so_often(cloud, exit_code, starts, said):
    (cloud.top / "exit").write_text(str(exit_code))
    code, _, err = cloud.run("resume", "--poll=0", "--retries=2", "--", *RUN)
    assert code == 2
    assert said in err
    assert len(cloud.lines("runs")) == 2 * starts  # two workers
    if exit_code == 2:
        assert "the reason" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "it is one of create"),
        (["create", "--spott"], "unknown option --spott"),
        (["create", "--zone="], "--zone= has no value"),
        (["create", "--poll=soon"], 'not "soon"'),
        (["create", "--type=v9-8"], "--runtime=VERSION"),
        (["setup", "--copy=/nowhere"], "--copy=/nowhere names no file"),
        (["run"], "come after --"),
        (["resume", "--", "--workdir=runs/x"], "gs://"),
    ],
)
def test_a_mistake_is_one_sentence(cloud, arguments, said):
    code, out, err = cloud.run(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert err.rstrip().endswith(".")


def test_help_names_every_option_with_its_default(cloud):
    code, out, _ = cloud.run("--help")
    assert code == 0
    for option in ("--name=rearec", "--zone=us-central1-a", "--type=v5litepod-8", "--dry_run"):
        assert option in out


def _wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
