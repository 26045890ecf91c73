"""--mode=compare: compares finished runs, and tests whether they differ by more than chance."""

from absl import flags

from rearec_jax.commands.given import Given
from rearec_jax.studies.analysis.compare_runs import compare_runs

HELP = "finished runs (--runs) side by side, with tests of significance"

_HOLM = flags.DEFINE_bool("holm", False, "--mode=compare: stars after Holm's correction.")


def run(given: Given) -> None:
    """Compares the runs of --runs, as the `analysis` options of --config say."""
    compare_runs(given.runs, given.workdir, given.analysis, _HOLM.value)
