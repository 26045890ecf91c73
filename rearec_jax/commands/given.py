"""Defines the flags that several modes share, and gives every mode their values."""

from collections.abc import Sequence
import os
import sys
from typing import NamedTuple

from absl import flags
from ml_collections import config_dict, config_flags

from rearec_jax.config import AnalysisConfig, Config, command_line, resolve
from rearec_jax.errors import UserError
from rearec_jax.run.files import expanded
from rearec_jax.run.progress import say as say  # for all modes
from rearec_jax.run.workdir import default_path, load_config

_CONFIG = config_flags.DEFINE_config_file("config", None, "Python file that defines get_config().")
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Directory of the run; runs/<data>-<backbone>-<method>-<hash> by default."
)
_RUNS = flags.DEFINE_list(
    "runs",
    [],
    "--mode=compare and report: work directories; the first is what the others are tested against."
    " --mode=serve: work directories or exports; the first is the default.",
)
_START_FROM = flags.DEFINE_string(
    "start_from",
    None,
    "train: the work directory of a run whose weights this one starts with, item by item; the same"
    " as --config.train.start_from.",
)
OUTPUT = flags.DEFINE_string(
    "output", None, "recommend: Parquet or CSV file to write; export: directory to write."
)


class Given(NamedTuple):
    """The values of the shared flags.

    started:   The `time.perf_counter()` at which the program began.
    mode:      The mode, as --mode names it.
    options:   The options of --config and its overrides; None where there is no --config.
    workdir:   The directory of --workdir, or None.
    runs:      The directories of --runs.
    arguments: The command line, without the program.
    """

    started: float
    mode: str
    options: config_dict.ConfigDict | None
    workdir: str | None
    runs: list[str]
    arguments: Sequence[str]

    @property
    def config(self) -> Config:
        """The options of --config=FILE, resolved. Raises UserError where it is missing or wrong."""
        if self.options is None:
            raise UserError("--config=FILE is missing; try --config=configs/demo.py")
        return resolve(self.options)

    @property
    def config_of_run(self) -> Config:
        """The options of the run in --workdir, changed by those of the command line.

        The options of --config=FILE, where there is one, take the place of the run's.
        """
        if self.options is not None:
            return resolve(self.options)
        return command_line.changed(load_config(self.finished_run), self.arguments)

    @property
    def analysis(self) -> AnalysisConfig:
        """The `analysis` options of the command line. Raises UserError where it has others."""
        if self.options is not None:
            return resolve(self.options).analysis
        self.check_options("analysis.")
        return command_line.changed(Config(), self.arguments).analysis

    def check_options(self, read: str = "") -> None:
        """Checks that the command line changes only options that this mode reads.

        Args:
            read: what the names of these options begin with; "" where the mode reads none.

        Raises:
            UserError: it changes another one.
        """
        for change in command_line.changes(self.arguments):
            if not read or not change.lstrip("-").startswith(f"config.{read}"):
                allowed = f"only --config.{read}NAME" if read else "no --config.NAME"
                raise UserError(
                    f"--mode={self.mode} reads {allowed}: a trained model keeps its options; leave"
                    f" {change} out"
                )

    @property
    def config_name(self) -> str:
        """The file of --config, relative to the current directory."""
        return os.path.relpath(config_flags.get_config_filename(flags.FLAGS["config"]))

    @property
    def run_directory(self) -> str:
        """The value of --workdir, or runs/<data>-<backbone>-<method>-<hash of all options>."""
        return self.workdir or default_path(self.config)

    @property
    def finished_run(self) -> str:
        """The value of --workdir. Raises UserError where it is missing."""
        if self.workdir is None:
            raise UserError(
                f"--mode={self.mode} needs --workdir=DIR, the directory of a finished run"
            )
        return self.workdir


def given(mode: str, started: float) -> Given:
    """Reads the shared flags, once the command line is parsed."""
    runs = [expanded(run) for run in command_line.rejoined(_RUNS.value)]
    workdir = _WORKDIR.value and expanded(_WORKDIR.value)
    options = _CONFIG.value
    if options is not None and _START_FROM.value:
        options.train.start_from = expanded(_START_FROM.value)
    return Given(started, mode, options, workdir, runs, sys.argv[1:])


def required(value: str | None, flag: str, description: str) -> str:
    """Returns the value of a flag. Where it is missing, raises UserError with its description."""
    if not value:
        raise UserError(f"--{flag}={description}, is missing")
    return value
