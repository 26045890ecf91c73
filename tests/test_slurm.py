"""launch/slurm.sbatch with a fake srun and scontrol; launch/Dockerfile as text."""

from pathlib import Path
import re
import shutil
import subprocess

import pytest

from tests.processes import ROOT

SETUP = """
set_up() {{ echo "set_up $*"; }}
python={python}
"""
SRUN = """#!{bash}
echo "srun $*"
echo "devices $JAX_LOCAL_DEVICE_IDS"
exit {code}
"""


def submit(directory: Path, code: int, **variables: str) -> tuple[int, str, str]:
    """As SLURM does: a copy of the script, elsewhere, in the directory of the submission."""
    here, there, programs = directory / "a project", directory / "spool", directory / "bin"
    (here / "launch").mkdir(parents=True)
    there.mkdir()
    programs.mkdir()
    (here / "launch/setup.sh").write_text(SETUP.format(python="the-python"))
    script = shutil.copy(ROOT / "launch/slurm.sbatch", there / "slurm_script")
    scontrol = '#!{bash}\necho "scontrol $*"\n'
    for name, text in (("srun", SRUN), ("scontrol", scontrol)):
        (programs / name).write_text(text.format(bash=shutil.which("bash"), code=code))
        (programs / name).chmod(0o755)
    done = subprocess.run(
        ["bash", str(script), "--config=x y.py"],
        env={
            "PATH": f"{programs}:/usr/bin:/bin",
            "SLURM_SUBMIT_DIR": str(here),
            "SLURM_JOB_ID": "7",
            **variables,
        },
        cwd="/",
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.returncode, done.stdout, done.stderr


def test_one_process_has_all_gpus_of_its_node(tmp_path):
    code, out, err = submit(tmp_path, 0, SLURM_GPUS_ON_NODE="4")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "set_up cuda",
        "srun --kill-on-bad-exit=1 the-python -m rearec_jax.main --config=x y.py",
        "devices 0,1,2,3",
    ]


@pytest.mark.parametrize(("code", "again"), [(0, False), (2, False), (130, True), (143, True)])
def test_only_an_interrupted_job_is_put_back(tmp_path, code, again):
    ended, out, _ = submit(tmp_path, code)
    assert ended == code
    assert ("scontrol requeue 7" in out) == again


def test_submitted_elsewhere(tmp_path):
    code, _, err = submit(tmp_path, 0, SLURM_SUBMIT_DIR=str(tmp_path))
    assert code == 2
    assert "submit it in the repository" in err


def test_the_image_copies_what_is_there_and_sends_nothing_else():
    text = (ROOT / "launch/Dockerfile").read_text()
    sources = [
        word for line in re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE) for word in line.split()
    ]
    allowed = (ROOT / "launch/Dockerfile.dockerignore").read_text().splitlines()
    assert {"rearec_jax", "configs", "requirements.txt"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists()
        assert f"!{source.split('/')[0]}" in allowed
