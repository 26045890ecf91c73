"""The options of a run: defaults, checks, differences, and how a command line sets them."""

from rearec_jax.config.compare import difference
from rearec_jax.config.options import (
    BACKBONES,
    BUILDERS,
    AnalysisConfig,
    Config,
    DataConfig,
    EvalConfig,
    MeshConfig,
    ModelConfig,
    TextConfig,
    TrainConfig,
)
from rearec_jax.config.resolve import default, fingerprint, resolve, to_dict, to_options
from rearec_jax.methods.options import MethodConfig

__all__ = [
    "BACKBONES",
    "BUILDERS",
    "AnalysisConfig",
    "Config",
    "DataConfig",
    "EvalConfig",
    "MeshConfig",
    "MethodConfig",
    "ModelConfig",
    "TextConfig",
    "TrainConfig",
    "default",
    "difference",
    "fingerprint",
    "resolve",
    "to_dict",
    "to_options",
]
