"""Trains a run, or continues it, then evaluates its best epoch."""

from collections.abc import Sequence
import contextlib
import functools
from typing import Any

from rearec_jax.config import Config
from rearec_jax.data.interactions import Interactions
from rearec_jax.data.read import read_data
from rearec_jax.devices import hosts
from rearec_jax.fitting.table import TABLE, Table
from rearec_jax.fitting.warm_start import warm_start
from rearec_jax.recommend.from_run import FILES, keep_items
from rearec_jax.run import files
from rearec_jax.run.interruption import interruptible
from rearec_jax.run.progress import say
from rearec_jax.run.workdir import Workdir, opened
from rearec_jax.training import loop
from rearec_jax.training.summary import Summary, finish, summarise


def train_run(
    path: str,
    config: Config,
    name: str,
    started: float,
    table: Table | None = None,
    callbacks: Sequence[Any] = (),
) -> Summary:
    """Trains or resumes, evaluates the best epoch on validation and test, writes summary.json.

    Args:
        path: the work directory.
        config: the options.
        name: the config file, for the summary.
        started: the `time.perf_counter()` when the process or the call began.
        table: the interactions, where they are no file yet: they are kept in the work directory.
        callbacks: what is told of it, besides those of train.callbacks (`run.callbacks.callback`).

    Raises:
        UserError: options, data or work directory are wrong.
        KeyboardInterrupt: a signal came; everything that could be saved is saved.
    """
    with contextlib.ExitStack() as stack:
        opening = opened(path, config, (*FILES, TABLE)) if hosts.is_first() else _found(path)
        workdir = hosts.first_then_others(lambda: stack.enter_context(opening))
        if table is not None:
            table.keep(workdir)
        data = hosts.first_then_others(lambda: read_data(config))
        hosts.first_then_others(lambda: workdir.check_data(data.digests()))
        hosts.first_then_others(lambda: keep_items(workdir, data))
        _announce(config, data, workdir)
        start = functools.partial(warm_start, data) if config.train.start_from else loop.anew
        part = loop.Part(callbacks=tuple(callbacks), start=start)
        with interruptible(), loop.trained(config, data, workdir, started, part) as outcome:
            summary, ranks = summarise(name, outcome.validate, outcome.variables, outcome.history)
            outcome.callbacks.on_end(summary)
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
