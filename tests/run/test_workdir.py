"""A work directory belongs to one configuration; its files are whole or forgiven."""

import dataclasses
import errno
import json
import os

import pytest

from rearec_jax import config as config_lib
from rearec_jax.config import Config, resolve
from rearec_jax.errors import UserError
from rearec_jax.run.events import EventLog, TensorBoard
from rearec_jax.run.workdir import load_config, open_workdir, opened

RESOLVED = resolve({})  # what a run always has


def changed(section: str, **options) -> Config:
    config = RESOLVED
    part = dataclasses.replace(getattr(config, section), **options)
    return dataclasses.replace(config, **{section: part})


class TestConfig:
    def test_round_trip(self, tmp_path):
        config = changed("eval", cutoffs=(1, 7))
        open_workdir(tmp_path / "runs" / "a", config)
        assert load_config(tmp_path / "runs" / "a") == config
        assert [path.name for path in (tmp_path / "runs" / "a").iterdir()] == ["config.json"]

    def test_another_configuration_is_refused_and_named(self, tmp_path):
        open_workdir(tmp_path, RESOLVED)
        with pytest.raises(UserError) as caught:
            open_workdir(tmp_path, changed("method", steps=3, kl_weight=0.5))
        assert "method.steps: 2 -> 3" in str(caught.value)
        assert "method.kl_weight: 0.0 -> 0.5" in str(caught.value)
        assert "--workdir" in str(caught.value)
        assert load_config(tmp_path) == RESOLVED

    @pytest.mark.parametrize(
        "config",
        [
            changed("eval", batch_size=10),
            changed("train", log_every_steps=7),
            changed("train", checkpoint_minutes=1.0),
            changed("data", path="elsewhere.csv"),
            changed("data", cache_dir="/tmp"),
        ],
    )
    def test_options_that_leave_the_weights_alone_may_change(self, tmp_path, config):
        open_workdir(tmp_path, RESOLVED)
        open_workdir(tmp_path, config)
        assert load_config(tmp_path) == config

    def test_a_run_of_an_older_version_had_the_defaults_of_newer_options(self, tmp_path):
        open_workdir(tmp_path, RESOLVED)
        old = json.loads((tmp_path / "config.json").read_text())
        del old["train"]["loss"], old["text"]
        (tmp_path / "config.json").write_text(json.dumps(old))
        open_workdir(tmp_path, RESOLVED)
        (tmp_path / "config.json").write_text(json.dumps(old))
        with pytest.raises(UserError, match=r"train\.loss: full -> sampled"):
            open_workdir(tmp_path, changed("train", loss="sampled"))

    def test_a_run_from_before_rows_were_rounded_goes_on_with_its_own_batches(self, tmp_path):
        open_workdir(tmp_path, RESOLVED)
        old = json.loads((tmp_path / "config.json").read_text())
        del old["train"]["rows_multiple"]
        (tmp_path / "config.json").write_text(json.dumps(old))
        assert load_config(tmp_path).train.rows_multiple == 1
        with pytest.raises(UserError, match=r"train\.rows_multiple: 1 -> 0"):
            open_workdir(tmp_path, RESOLVED)
        open_workdir(tmp_path, changed("train", rows_multiple=1))

    def test_more_epochs_take_the_results_of_fewer_away(self, tmp_path):
        open_workdir(tmp_path, changed("train", epochs=12)).write_summary({"results": 1})
        found = open_workdir(tmp_path, changed("train", epochs=14))
        assert load_config(tmp_path).train.epochs == 14
        assert not found.summary.exists()  # it marks a finished run

    def test_fewer_epochs_are_refused_and_leave_the_results(self, tmp_path):
        found = open_workdir(tmp_path, changed("train", epochs=12))
        found.write_summary({"results": 1})
        with pytest.raises(UserError, match=r"train\.epochs: 12 -> 11"):
            open_workdir(tmp_path, changed("train", epochs=11))
        assert found.summary.exists() and load_config(tmp_path).train.epochs == 12

    def test_damaged_epochs_are_no_smaller_number(self, tmp_path):
        open_workdir(tmp_path, RESOLVED)
        for damaged in ({"epochs": "few"}, {"epochs": None}, 3):
            old = json.loads((tmp_path / "config.json").read_text()) | {"train": damaged}
            (tmp_path / "config.json").write_text(json.dumps(old))
            with pytest.raises(UserError, match=r"train"):
                open_workdir(tmp_path, RESOLVED)

    def test_a_schedule_over_all_epochs_was_made_for_their_number(self, tmp_path):
        open_workdir(tmp_path, changed("train", epochs=12, schedule="cosine"))
        with pytest.raises(UserError, match=r"12 -> 14 \(train\.schedule=cosine was made for 12"):
            open_workdir(tmp_path, changed("train", epochs=14, schedule="cosine"))

    def test_training_options_may_not_change(self, tmp_path):
        open_workdir(tmp_path, RESOLVED)
        for config in (
            changed("train", epochs=5),
            changed("eval", max_users=10),  # the best epoch is chosen by what it changes
            dataclasses.replace(RESOLVED, seed=1),
        ):
            with pytest.raises(UserError):
                open_workdir(tmp_path, config)

    def test_new_run_that_fails_leaves_nothing(self, tmp_path):
        for path in (tmp_path / "new", tmp_path):
            with pytest.raises(UserError, match="no data"), opened(path, RESOLVED) as workdir:
                workdir.events.write_text("{}")
                raise UserError("no data")
        assert list(tmp_path.iterdir()) == []

    def test_new_run_that_fails_leaves_what_was_there(self, tmp_path):
        mine = [tmp_path / name for name in ("checkpoints/a.pt", "tensorboard/e", "items.parquet")]
        for path in mine:
            path.parent.mkdir(exist_ok=True)
            path.write_text("mine")
        with pytest.raises(RuntimeError), opened(tmp_path, RESOLVED, ["items.parquet", "more"]):
            (tmp_path / "more").write_text("written by the run")
            raise RuntimeError
        assert not (tmp_path / "more").exists()
        assert all(path.read_text() == "mine" for path in mine)
        assert not (tmp_path / "config.json").exists()

    def test_run_with_a_checkpoint_outlives_a_failure(self, tmp_path):
        with pytest.raises(UserError), opened(tmp_path, RESOLVED) as workdir:
            (workdir.checkpoints / "last" / "3").mkdir(parents=True)
            raise UserError("diverged")
        with pytest.raises(UserError), opened(tmp_path, changed("train", epochs=5)):
            pass
        assert load_config(tmp_path) == RESOLVED

    def test_load_says_what_is_missing(self, tmp_path):
        with pytest.raises(UserError, match="does not exist"):
            load_config(tmp_path / "nowhere")
        with pytest.raises(UserError, match=r"config\.json does not exist"):
            load_config(tmp_path)

    @pytest.mark.parametrize("text", ['{"data": {', "[]", "\xff", '{"train": {"epoch": 1}}'])
    def test_damaged_config_is_named(self, tmp_path, text):
        (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
        with pytest.raises(UserError, match=r"config\.json"):
            load_config(tmp_path)


class TestEvents:
    @pytest.fixture
    def workdir(self, tmp_path):
        return open_workdir(tmp_path, RESOLVED)

    def test_events_are_on_disk_at_once(self, workdir):
        with EventLog(workdir) as log:
            log.append({"step": 1, "loss": 0.1 + 0.2, "valid": {"ndcg@10": 0.5}})
            (line,) = workdir.events.read_text().splitlines()
            assert json.loads(line) == {"step": 1, "loss": 0.1 + 0.2, "valid": {"ndcg@10": 0.5}}
        assert not workdir.tensorboard.exists()

    def test_truncation_drops_later_events_and_goes_on(self, workdir):
        with EventLog(workdir) as log:
            for step in (1, 2, 3, 3):
                log.append({"step": step, "run": 1})
            log.truncate_after(2)
            log.append({"step": 3, "run": 2})
            want = [{"step": 1, "run": 1}, {"step": 2, "run": 1}, {"step": 3, "run": 2}]
            assert log.read() == want

    def test_truncation_also_drops_what_is_refused(self, workdir):
        with EventLog(workdir) as log:
            for step in (1, 2):
                log.append({"step": step, "kind": "validation"})
            log.truncate_after(2, lambda event: event["step"] == 1)
            assert log.read() == [{"step": 1, "kind": "validation"}]

    @pytest.mark.parametrize("half", ['{"st', '{"step": 2, "loss": 3.5}', "\x00\x00"])
    def test_half_written_last_line_is_forgiven(self, workdir, half):
        with EventLog(workdir) as log:
            log.append({"step": 1})
        with workdir.events.open("a") as file:
            file.write(half)
        with EventLog(workdir) as log:
            log.append({"step": 2, "again": True})
            assert log.read() == [{"step": 1}, {"step": 2, "again": True}]

    def test_damaged_line_is_named(self, workdir):
        workdir.events.write_text('{"step": 1}\n{"st\n{"step": 3}\n')
        with EventLog(workdir) as log, pytest.raises(UserError, match="line 2"):
            log.read()

    def test_no_number_is_valid_json(self, workdir):
        with EventLog(workdir) as log:
            log.append({"step": 1, "loss": float("nan"), "parts": {"ce": float("inf")}})
            assert log.read() == [{"step": 1, "loss": None, "parts": {"ce": None}}]

    def test_tensorboard_is_written_where_asked_for(self, workdir):
        log = TensorBoard(workdir)
        log.on_epoch({"step": 1, "note": "hello", "loss": 0.5, "valid": {"ndcg@10": 0.5}})
        log.close()
        (file,) = workdir.tensorboard.iterdir()
        content = file.read_bytes()
        assert b"loss" in content
        assert b"valid/ndcg_at_10" in content
        assert b"note" not in content


class TestDisk:
    def test_summary_is_whole_or_absent(self, tmp_path, monkeypatch):
        workdir = open_workdir(tmp_path, RESOLVED)
        workdir.write_summary({"test": {"mrr": 0.25}})

        def full(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match=r"summary\.json.*No space left"):
            workdir.write_summary({"test": {"mrr": 0.5}})
        assert json.loads(workdir.summary.read_text()) == {"test": {"mrr": 0.25}}
        assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "summary.json"]

    def test_directory_that_cannot_be_made_is_named(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(UserError, match=r"file/run.*--workdir"):
            open_workdir(tmp_path / "file" / "run", RESOLVED)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write to a read-only directory")
    def test_read_only_directory_is_named(self, tmp_path):
        tmp_path.chmod(0o500)
        with pytest.raises(UserError, match="Permission denied"):
            open_workdir(tmp_path, RESOLVED)

    def test_config_on_disk_resolves_to_itself(self, tmp_path):
        open_workdir(tmp_path, RESOLVED)
        options = json.loads((tmp_path / "config.json").read_text())
        assert config_lib.resolve(options) == RESOLVED
