"""Compares finished runs: prints the table, and writes comparison.json and comparison.md."""

from collections.abc import Mapping, Sequence
import pathlib
import types
from typing import Any

from rearec_jax.config import AnalysisConfig
from rearec_jax.run.progress import say
from rearec_jax.run.workdir import Workdir, make_directory, named_after, write_whole
from rearec_jax.studies.analysis import comparable_runs, comparison_table
from rearec_jax.studies.analysis.paired_tests import Comparison, compare


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
    write(place, compared, options, comparison_table.markdown(compared, with_holm))
    return compared


def write(
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
