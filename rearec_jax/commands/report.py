"""--mode=report: draws runs and studies, and writes the directory ``report/``."""

from absl import flags

from rearec_jax.commands.given import Given
from rearec_jax.studies.report.write import report_runs

HELP = "runs (--runs, or --workdir) and studies as one HTML page with figures"

_LOCAL = flags.DEFINE_bool("local", False, "--mode=report: show paths and raw ids of users too.")


def run(given: Given) -> None:
    """Writes a page about the runs of --runs, or about the one of --workdir."""
    report_runs(given.runs, given.workdir, given.analysis, _LOCAL.value)
