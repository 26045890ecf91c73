"""One run at a time in a directory; processes that die are in tests/faults/test_processes.py."""

import errno
import fcntl
import logging

import pytest

from rearec_jax.errors import UserError
from rearec_jax.run import lock


def test_the_second_is_refused_until_the_first_has_left(tmp_path):
    with lock.alone(tmp_path):
        with pytest.raises(UserError, match="in use by another run"), lock.alone(tmp_path):
            pass
        assert (tmp_path / lock.FILE).exists()
    assert not list(tmp_path.iterdir())
    with lock.alone(tmp_path):
        pass


def test_a_file_system_without_locks_costs_a_warning(tmp_path, monkeypatch, caplog):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with caplog.at_level(logging.WARNING), lock.alone(tmp_path):
        assert "process" in (tmp_path / lock.FILE).read_text()
    assert "this file system has no locks" in caplog.text
    assert not list(tmp_path.iterdir())


def test_other_errors_are_raised(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError), lock.alone(tmp_path / "file"):
        pass
