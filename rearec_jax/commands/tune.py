"""--mode=tune: searches for the best options within a budget of minutes."""

import pathlib
import shlex

from absl import flags
import jax

from rearec_jax.commands.given import Given
from rearec_jax.config import command_line
from rearec_jax.errors import UserError
from rearec_jax.training.journal import SELECTION

HELP = "search for the best options within --minutes, to --workdir/best.py"

_MINUTES = flags.DEFINE_float(
    "minutes", 60.0, "tune: budget of the whole search, also over several starts of the command."
)
_TRIALS = flags.DEFINE_integer(
    "trials", 0, "tune: candidates, at most; 0 = as many as the minutes allow."
)
_SPACE = flags.DEFINE_multi_string(
    "space", [], "tune: OPTION=VALUES to search, such as method.kl_weight=0,0.01; repeat the flag."
)
_PARALLEL = flags.DEFINE_integer(
    "parallel", 0, "tune: candidates that train at once in one program; 0 = 1 on CPUs, 4 elsewhere."
)
_FIRST_EPOCHS = flags.DEFINE_integer(
    "first_epochs", 3, "tune: epochs of every candidate before the first choice among them."
)


def run(given: Given) -> None:
    """Searches from the options of --config for better ones, in --workdir.

    Raises:
        UserError: flags, options, data or directory are wrong, or there are several processes.
        KeyboardInterrupt: a signal came; the same command continues.
    """
    # Here, because a training need not wait for scipy.
    from rearec_jax.studies.tune.tuner import Request, tune

    if given.options is None:
        raise UserError("--mode=tune needs --config=FILE, where the search starts")
    if given.workdir is None:
        raise UserError("--mode=tune needs --workdir=DIR, where trials and best.py will lie")
    if jax.process_count() > 1:
        raise UserError("--mode=tune is for one process; leave out --coordinator")
    if given.config.train.stop_metric != SELECTION:
        raise UserError(f"--mode=tune compares by {SELECTION}; leave out train.stop_metric")
    tune(
        Request(
            root=pathlib.Path(given.workdir),
            options=given.options,
            arguments=tuple(command_line.split(given.arguments)[0]),
            space=tuple(_SPACE.value),
            minutes=_MINUTES.value,
            trials=_TRIALS.value,
            parallel=_PARALLEL.value,
            first_epochs=_FIRST_EPOCHS.value,
            command=shlex.join(["python", "-m", "rearec_jax.main", *given.arguments]),
        )
    )
