"""--mode=profile: the operations of an update, from a trace of it."""

import json

from rearec_jax.commands import profile, train
from tests.training.test_backbones import tiny


def test_profile_of_an_update(tmp_path, capsys):
    config = tiny(tmp_path, method__name="rpe")
    profile.profile_run(str(tmp_path / "run"), config)
    directory = tmp_path / "run" / "profile"
    assert list(directory.rglob("*.xplane.pb"))
    summary = json.loads((directory / "operations.json").read_text())
    assert summary["seconds_per_update"] > 0
    assert summary["cost_analysis"]["flops"] > 1e5
    operations = summary["operations"]
    times = [operation["milliseconds"] for operation in operations]
    assert len(operations) > 10 and times == sorted(times, reverse=True) and times[0] > 0
    assert abs(sum(operation["share"] for operation in operations) - 1) < 1e-9
    assert any("dot_general" in operation["source"] for operation in operations)
    assert "seconds an update" in capsys.readouterr().out
    # The directory is still free for a run.
    summary = train.train_run(str(tmp_path / "run"), config, "configs/tiny.py", 0.0)
    assert summary["test"]["mrr"] > 0
