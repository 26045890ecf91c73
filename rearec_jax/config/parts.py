"""The options that a compiled program depends on: runs that agree in them may share the program."""

import dataclasses

from rearec_jax.config.options import Config, TrainConfig

# Options of training that no update reads: how long it lasts, and what is kept of it.
_OF_THE_RUN = (
    "epochs",
    "max_steps",
    "patience",
    "stop_metric",
    "checkpoint_minutes",
    "log_every_steps",
    "start_from",
    "callbacks",
)


def of_updates(train: TrainConfig) -> TrainConfig:
    """Returns the options of training that updates depend on; the others have their defaults."""
    defaults = TrainConfig()
    return dataclasses.replace(train, **{name: getattr(defaults, name) for name in _OF_THE_RUN})


def of_update(config: Config) -> Config:
    """Returns the options that an update depends on; the others have their defaults."""
    train = of_updates(config.train)
    return Config(model=config.model, method=config.method, train=train, seed=config.seed)


def of_evaluation(config: Config) -> Config:
    """Returns the options that ranks depend on beside the model; the others have their defaults."""
    return Config(model=config.model, method=config.method, eval=config.eval)
