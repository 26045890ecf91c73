"""--mode=evaluate: evaluates a run again, perhaps with other `eval` options."""

from rearec_jax.commands.given import Given
from rearec_jax.config import Config
from rearec_jax.run.interruption import interruptible
from rearec_jax.training.restored import restore
from rearec_jax.training.summary import Summary, finish, summarise

HELP = "the best epoch of --workdir again"


def run(given: Given) -> None:
    """Evaluates the run in --workdir, perhaps with other `eval` options."""
    evaluate_run(given.finished_run, given.config_of_run)


def evaluate_run(path: str, given: Config | None) -> Summary:
    """Evaluates the best checkpoint of a run again, perhaps with other ``eval`` options.

    With the options of the run it renews summary.json; with others it writes
    summary.<option=value>.json beside it. For a run that is not at its end the name has
    "unfinished" in it, as a file summary.json marks a finished run.

    Args:
        path: the run's work directory.
        given: the run's options with other ``eval`` options; None for the run's.

    Raises:
        UserError: there is no such run or no checkpoint, or options other than ``eval`` differ.
    """
    run = restore(path, given)
    with interruptible():
        summary, ranks = summarise(
            str(run.workdir.config), run.validate, run.variables, run.history
        )
    target = run.workdir.path / ".".join(["summary", *run.changes, "json"])
    finish(run.workdir, target, summary, run.validate, ranks)
    return summary
