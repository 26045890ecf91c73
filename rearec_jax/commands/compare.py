"""--mode=compare: compares finished runs, and tests whether they differ by more than chance."""

from collections.abc import Mapping, Sequence
import pathlib
import time
import types
from typing import Any

from absl import flags

from rearec_jax.commands.given import Given, named_after, say
from rearec_jax.config import AnalysisConfig, Config, fingerprint
from rearec_jax.run.interruption import interruptible
from rearec_jax.run.workdir import Workdir, make_directory, write_whole
from rearec_jax.studies.analysis import comparable_runs, comparison_table
from rearec_jax.studies.analysis.paired_tests import Comparison, compare

HELP = "finished runs (--runs) side by side, with tests of significance"

_HOLM = flags.DEFINE_bool("holm", False, "--mode=compare: stars after Holm's correction.")
_EQUAL = flags.DEFINE_enum(
    "equal",
    None,
    ["seconds", "flops"],
    "--mode=compare: also trains each method for as many epochs as cost what the baseline's"
    " training does, in measured seconds or counted FLOPs of updates.",
)


def run(given: Given) -> None:
    """Compares the runs of --runs, as the `analysis` options of --config say."""
    if _EQUAL.value:
        compare_at_equal_cost(given.runs, given.workdir, given.analysis, _EQUAL.value, _HOLM.value)
    else:
        compare_runs(given.runs, given.workdir, given.analysis, _HOLM.value)


def compare_runs(
    names: Sequence[str], directory: str | None, options: AnalysisConfig, with_holm: bool = False
) -> Comparison:
    """Prints the comparison and writes comparison.json and comparison.md to ``directory``.

    The first run is the baseline; runs that differ only in the seed count as one.

    Args:
        names: the work directories of the runs.
        directory: the directory; None for runs/comparison-<hash of the names>.
        options: the options of the tests.
        with_holm: whether stars are those of the p that Holm's correction gives.

    Raises:
        UserError: runs are not finished or cannot be compared, or nothing can be written.
    """
    compared = compare(comparable_runs.group(comparable_runs.read(names)), options)
    place = pathlib.Path(directory or named_after("comparison", names))
    make_directory(place)
    comparison_table.print_comparison(compared, with_holm)
    _write(place, compared, options, comparison_table.markdown(compared, with_holm))
    return compared


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
    # Here, because a plain comparison need not wait for the training.
    from rearec_jax.studies.equal import equal_table, plan

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
    _write(place, compared, options, text, {"equal": equal_table.as_json(found, pairs)})
    return compared


def _train(config: Config, root: pathlib.Path) -> str:
    """Trains in a directory below ``root``, unless that is done; returns the directory."""
    from rearec_jax.commands.train import train_run

    kind = f"{config.model.backbone}-{config.method.name}-seed{config.seed}"
    path = root / f"{kind}-{fingerprint(config)}"
    if not Workdir(path).summary.exists():
        train_run(str(path), config, name="--equal", started=time.perf_counter())
    return str(path)


def _write(
    place: pathlib.Path,
    compared: Comparison,
    options: AnalysisConfig,
    text: str,
    more: Mapping[str, Any] = types.MappingProxyType({}),
) -> None:
    """Writes comparison.json, with ``more`` in it, and comparison.md with the text."""
    report = comparison_table.as_json(compared) | {
        "resamples": options.resamples,
        "bootstrap_seed": options.seed,
    }
    Workdir(place).write_summary({**report, **more}, place / "comparison.json")
    write_whole(place / "comparison.md", text)
    for name in ("comparison.json", "comparison.md"):
        say(f"written: {place / name}")
