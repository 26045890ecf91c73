"""Given splits without validation: a training of all its epochs, whose last one counts."""

import json

from rearec_jax.run.events import read_events
from rearec_jax.run.workdir import Workdir
from tests.faults.tiny_run import run, tiny


def test_data_without_validation_train_to_the_last_epoch(tmp_path, caplog):
    rows = [
        f"u{user},i{(3 * user + n) % 11},{n},{'test' if n == 5 else 'train'}\n"
        for user in range(20)
        for n in range(6)
    ]
    (tmp_path / "a.csv").write_text("user_id,item_id,timestamp,split\n" + "".join(rows))
    options = {"source": "table", "path": str(tmp_path / "a.csv"), "split": "given"}
    options |= {"cache_dir": str(tmp_path / "kept")}
    config = tiny(
        **{f"data__{name}": value for name, value in options.items()},
        train__epochs=3,
        train__patience=1,
    )
    summary = run(tmp_path / "run", config)
    assert (summary["train"]["epochs"], summary["best_epoch"]) == (3, 3)
    assert "valid" not in summary and summary["test"]["ndcg@10"] > 0
    assert "no validation: the last epoch's parameters" in summary["notes"]
    assert "no validation target" in caplog.text
    events = read_events(Workdir(tmp_path / "run"))
    assert [event["epoch"] for event in events if event["kind"] == "validation"] == [1, 2, 3]
    again = run(tmp_path / "run", config)
    assert json.dumps(again["test"]) == json.dumps(summary["test"])
