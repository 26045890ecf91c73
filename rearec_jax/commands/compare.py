"""--mode=compare: compares finished runs, and tests whether they differ by more than chance."""

from collections.abc import Sequence
import pathlib

from absl import flags

from rearec_jax.commands.given import Given, named_after, say
from rearec_jax.config import AnalysisConfig
from rearec_jax.run.workdir import Workdir, make_directory, write_whole
from rearec_jax.studies.analysis import comparable_runs, comparison_table
from rearec_jax.studies.analysis.paired_tests import Comparison, compare

HELP = "finished runs (--runs) side by side, with tests of significance"

_HOLM = flags.DEFINE_bool("holm", False, "--mode=compare: stars after Holm's correction.")


def run(given: Given) -> None:
    """Compares the runs of --runs, as the `analysis` options of --config say."""
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
    report = comparison_table.as_json(compared)
    report |= {"resamples": options.resamples, "bootstrap_seed": options.seed}
    Workdir(place).write_summary(report, place / "comparison.json")
    write_whole(place / "comparison.md", comparison_table.markdown(compared, with_holm))
    comparison_table.print_comparison(compared, with_holm)
    for name in ("comparison.json", "comparison.md"):
        say(f"written: {place / name}")
    return compared
