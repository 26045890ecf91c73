"""Compares runs as they are and with as many epochs as cost what the baseline's training does."""

from collections.abc import Sequence
import pathlib
import time

from rearec_jax.config import AnalysisConfig, Config, fingerprint
from rearec_jax.fitting.train import train_run
from rearec_jax.run.interruption import interruptible
from rearec_jax.run.progress import say
from rearec_jax.run.workdir import Workdir, make_directory, named_after
from rearec_jax.studies.analysis import comparable_runs, compare_runs, comparison_table
from rearec_jax.studies.analysis.paired_tests import Comparison, compare
from rearec_jax.studies.equal import equal_table, plan


def compare_at_equal_cost(
    names: Sequence[str],
    directory: str | None,
    options: AnalysisConfig,
    unit: str,
    with_holm: bool = False,
) -> Comparison:
    """Trains methods at the cost of the baseline, and compares them as they are and so.

    The trainings lie in ``directory``/equal-<unit>/; the same command continues them.

    Args:
        names: the work directories of the runs, whose first is the baseline.
        directory: the directory; None for runs/equal-<hash of the names>.
        options: the options of the tests.
        unit: what is equal, one of `costs.UNITS`.
        with_holm: whether stars are those of the p that Holm's correction gives.

    Raises:
        UserError: as `compare_runs`, there is one method only, or a training goes wrong.
        KeyboardInterrupt: a signal came; everything that could be saved is saved.
    """
    groups = comparable_runs.group(comparable_runs.read(names))
    place = pathlib.Path(directory or named_after("equal", names))
    make_directory(place)
    say(f"costs of {len(groups)} trainings, in {unit}")
    with interruptible():
        found = plan.make_plan(groups, unit, place / f"costs-{unit}.json")
    trained = {fingerprint(run.config): str(run.path) for group in groups for run in group.runs}
    twins: dict[str, str] = {}  # the run at equal cost of each run
    for group, share in zip(groups[1:], found.shares[1:], strict=True):
        say(f"{group.label}: {share.epochs} epochs cost what the baseline's training does")
        for run in group.runs:
            config = plan.with_epochs(run.config, share.epochs)
            key = fingerprint(config)
            if key not in trained:
                trained[key] = _train(config, place / f"equal-{unit}")
            twins[str(run.path)] = trained[key]
    every = comparable_runs.group(comparable_runs.read(list(trained.values())))
    label = {str(run.path): group.label for group in every for run in group.runs}
    firsts = [str(group.runs[0].path) for group in groups]
    pairs = {label[path]: label[twins.get(path, path)] for path in firsts}
    compared = compare(every, options)
    shown, lines = equal_table.tables(found, compared, pairs), equal_table.remarks(found)
    equal_table.print_equal(shown, lines)
    text = f"{equal_table.markdown(shown, lines)}\n{comparison_table.markdown(compared, with_holm)}"
    more = {"equal": equal_table.as_json(found, pairs)}
    compare_runs.write(place, compared, options, text, more)
    return compared


def _train(config: Config, root: pathlib.Path) -> str:
    """Trains in a directory below ``root``, unless that is done; returns the directory."""
    kind = f"{config.model.backbone}-{config.method.name}-seed{config.seed}"
    path = root / f"{kind}-{fingerprint(config)}"
    if not Workdir(path).summary.exists():
        train_run(str(path), config, name="--equal", started=time.perf_counter())
    return str(path)
