"""The shared flags as every mode gets them."""

import os
from types import SimpleNamespace

from absl import flags
from absl.testing import flagsaver

from rearec_jax.commands.given import given
from rearec_jax.config import default
from rearec_jax.run.files import expanded


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
