"""--mode=analyse: analyses the steps of a trained run, writes ``analysis/`` and shows it."""

import pathlib
from typing import Any

from rearec_jax.commands.given import Given, say
from rearec_jax.config import Config
from rearec_jax.data.interactions import Interactions
from rearec_jax.errors import UserError
from rearec_jax.evaluation import rank_file
from rearec_jax.evaluation.rank_file import UserRanks
from rearec_jax.run.interruption import interruptible
from rearec_jax.studies.analysis import analysis_table, from_model, from_ranks, output, stories
from rearec_jax.studies.analysis.model_pass import Observations, observe
from rearec_jax.training.restored import restore
from rearec_jax.training.setup import item_inputs

HELP = "by step and group, states, lists, stories, to --workdir/analysis"


def run(given: Given) -> None:
    """Analyses the run in --workdir, perhaps with other `eval` or `analysis` options."""
    analyse_run(given.finished_run, given.config_of_run)


def analyse_run(path: str, given: Config | None) -> pathlib.Path:
    """Analyses the best epoch of a run on its test split; returns the directory written.

    The directory is analysis/. With other ``eval`` options than the run's it is
    analysis.<option=value>/, from the ranks that ``--mode=evaluate`` wrote with the same options.

    Args:
        path: the run's work directory.
        given: the run's options with other ``eval`` or ``analysis`` options; None for the run's.

    Raises:
        UserError: there is no finished run, its ranks are missing or of other examples, or
            `restore` refuses it.
    """
    run = restore(path, given)
    directory = run.workdir.path / ".".join(["analysis", *run.changes])
    ranks_file = run.workdir.path / ".".join(["ranks", *run.changes, "parquet"])
    ranks = rank_file.read(ranks_file)
    chosen = stories.choose(ranks, run.config.analysis)  # a wrong name is found before the work
    with interruptible():
        text = item_inputs(run.data)
        observed = observe(run.model, run.variables, run.config, run.data, text)
        _check_same(ranks_file, ranks, run.data, observed)
        found = from_ranks.tables(ranks) | from_model.tables(observed, run.data)
        tables: dict[str, Any] = {name: frame.to_dicts() for name, frame in found.items()}
        states, explained = from_model.projected_states(observed, ranks)
        tables["projection_variance"] = explained
        longest = run.config.model.max_length
        told = [stories.tell(each, observed, run.data, ranks, longest) for each in chosen]
        frames = {
            "lists": from_model.listed_items(observed, run.data, ranks),
            "projection": states,
        }
    about = {
        "method": run.config.method.name,
        "backbone": run.config.model.backbone,
        "data": run.data.name,
        "examples": len(ranks.final),
        "list_length": observed.lists.shape[-1],
    }
    output.write(directory, {"about": about} | tables, told, frames)
    analysis_table.print_analysis(about, tables, told)
    say(f"written: {directory}/")
    return directory


def _check_same(
    path: pathlib.Path, ranks: UserRanks, data: Interactions, observed: Observations
) -> None:
    """Checks that the rows of the file are the examples that were observed, in their order.

    Raises:
        UserError: they are not.
    """
    targets = data.item_ids.gather(data.items[observed.examples])
    if len(targets) != len(ranks.targets) or not targets.equals(ranks.targets):
        raise UserError(
            f"{path} holds ranks of other examples than the data now have; write it anew with"
            f" --mode=evaluate --workdir={path.parent}"
        )
