"""--mode=train: trains a run, or continues it, then evaluates its best epoch."""

import contextlib

from rearec_jax.commands.given import Given, say
from rearec_jax.config import Config
from rearec_jax.data.interactions import Interactions
from rearec_jax.data.read import read_data
from rearec_jax.devices import hosts
from rearec_jax.recommend.from_run import FILES, keep_items
from rearec_jax.run import files
from rearec_jax.run.interruption import interruptible
from rearec_jax.run.workdir import Workdir, opened
from rearec_jax.training import loop
from rearec_jax.training.summary import Summary, finish, summarise

HELP = "train (or resume), then evaluate"


def run(given: Given) -> None:
    """Trains as --config says, or goes on with it, and evaluates."""
    train_run(given.run_directory, given.config, name=given.config_name, started=given.started)


def train_run(path: str, config: Config, name: str, started: float) -> Summary:
    """Trains or resumes, evaluates the best epoch on validation and test, writes summary.json.

    Args:
        path: the work directory.
        config: the options.
        name: the config file, for the summary.
        started: the `time.perf_counter()` when the process began.

    Raises:
        UserError: options, data or work directory are wrong.
        KeyboardInterrupt: a signal came; everything that could be saved is saved.
    """
    with contextlib.ExitStack() as stack:
        opening = opened(path, config, FILES) if hosts.is_first() else _found(path)
        workdir = hosts.first_then_others(lambda: stack.enter_context(opening))
        data = hosts.first_then_others(lambda: read_data(config))
        hosts.first_then_others(lambda: workdir.check_data(data.digests()))
        hosts.first_then_others(lambda: keep_items(workdir, data))
        _announce(config, data, workdir)
        with interruptible(), loop.trained(config, data, workdir, started) as outcome:
            summary, ranks = summarise(name, outcome.validate, outcome.variables, outcome.history)
        finish(workdir, workdir.summary, summary, outcome.validate, ranks)
    return summary


def _found(path: str) -> contextlib.AbstractContextManager[Workdir]:
    """Returns a work directory that another process holds open."""
    return contextlib.nullcontext(Workdir(files.place(path)))


def _announce(config: Config, data: Interactions, workdir: Workdir) -> None:
    say(
        f"{config.method.name} on {config.model.backbone}, {data.name}: {data.num_users:,} users,"
        f" {data.num_items:,} items, {data.num_interactions:,} interactions;"
        f" work directory {workdir.path}"
    )
