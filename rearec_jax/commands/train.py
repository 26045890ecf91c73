"""--mode=train: trains a run, or continues it, then evaluates its best epoch."""

from rearec_jax.commands.given import Given
from rearec_jax.fitting.train import train_run

HELP = "train (or resume), then evaluate"


def run(given: Given) -> None:
    """Trains as --config says, or goes on with it, and evaluates."""
    train_run(given.run_directory, given.config, name=given.config_name, started=given.started)
