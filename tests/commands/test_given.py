"""The shared flags as every mode gets them."""

import dataclasses
import os
from types import SimpleNamespace

from absl import flags
from absl.testing import flagsaver
import pytest

from rearec_jax.commands.given import Given, given
from rearec_jax.config import AnalysisConfig, default
from rearec_jax.errors import UserError
from rearec_jax.run.files import expanded
from rearec_jax.run.workdir import open_workdir
from tests import tiny


def test_directories_below_a_users_directory(monkeypatch):
    """Shells leave the ~ of `--workdir=~/run` to the program, which made a directory '~'."""
    monkeypatch.setenv("HOME", "/home/ann")
    with flagsaver.flagsaver():
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()
        assert given("train", 0.0).workdir is None
        flags.FLAGS.workdir, flags.FLAGS.runs = "~/run", ["~/a", "b"]
        found = given("train", 0.0)
    assert found.workdir == "/home/ann/run" and found.runs == ["/home/ann/a", "b"]


def test_start_from_is_an_option_of_the_run(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    with flagsaver.flagsaver():
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()
        monkeypatch.setattr("rearec_jax.commands.given._CONFIG", SimpleNamespace(value=default()))
        assert given("train", 0.0).config.train.start_from == ""
        flags.FLAGS.start_from = "~/runs/yesterday"
        assert given("train", 0.0).config.train.start_from == "/home/ann/runs/yesterday"


def test_what_is_no_users_directory_stays():
    for path in ("", "a/~", "gs://a/~/b", "~no-such-user/a", os.sep):
        assert expanded(path) == path


class TestOptionsOfARun:
    @pytest.fixture
    def run(self, tmp_path):
        data = {"data__source": "sequences", "data__path": "items.txt", "data__rating_above": 3.0}
        config = tiny.config("erl", eval__cutoffs=(5, 10), **data)
        open_workdir(tmp_path, config)
        return tmp_path, config

    def asked(self, path, *arguments, options=None):
        return Given(0.0, "evaluate", options, str(path), [], arguments)

    def test_they_are_its_own_but_for_the_changes(self, run):
        path, config = run
        assert self.asked(path, "--mode=evaluate").config_of_run == config
        changes = ("--config.eval.exclude_seen", "--config.data.times_path", "times.txt")
        changed = self.asked(path, *changes, "--config.eval.cutoffs=(20,)").config_of_run
        ranked = dataclasses.replace(config.eval, exclude_seen=True, cutoffs=(20,))
        data = dataclasses.replace(config.data, times_path="times.txt")
        assert changed == dataclasses.replace(config, eval=ranked, data=data)

    def test_a_config_file_takes_their_place(self, run):
        found = self.asked(run[0], options=default()).config_of_run
        assert found.data.rating_above is None

    def test_a_wrong_value_is_one_sentence(self, run):
        with pytest.raises(UserError, match=r"config\.eval\.steps must be int, got 'two'"):
            _ = self.asked(run[0], "--config.eval.steps=two").config_of_run

    def test_options_of_several_runs_are_those_of_the_analysis(self, run):
        found = self.asked(run[0], "--config.analysis.seed=4").analysis
        assert found == AnalysisConfig(seed=4)
