"""--mode=compare: compares finished runs, and tests whether they differ by more than chance."""

from absl import flags

from rearec_jax.commands.given import Given
from rearec_jax.studies.analysis.compare_runs import compare_runs

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
    """Compares the runs of --runs, as the `analysis` options say."""
    if _EQUAL.value:
        # Here, because a plain comparison need not wait for the training.
        from rearec_jax.fitting.equal import compare_at_equal_cost

        compare_at_equal_cost(given.runs, given.workdir, given.analysis, _EQUAL.value, _HOLM.value)
    else:
        compare_runs(given.runs, given.workdir, given.analysis, _HOLM.value)
