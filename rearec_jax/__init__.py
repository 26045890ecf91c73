"""ReaRec in JAX: a sequential recommender that thinks before it recommends (arXiv 2503.22675)."""

import importlib
from typing import TYPE_CHECKING, Any

from rearec_jax.version import __version__

if TYPE_CHECKING:
    from rearec_jax.errors import UserError
    from rearec_jax.fitting.fit import compare, fit, tune
    from rearec_jax.fitting.model import Model
    from rearec_jax.recommend.batch import batch_recommender
    from rearec_jax.recommend.model_directory import load
    from rearec_jax.run.callbacks import Callback

# The modules of the names, which are imported at their first use: JAX and Polars take seconds.
_MODULES = {
    "Callback": "rearec_jax.run.callbacks",
    "Model": "rearec_jax.fitting.model",
    "UserError": "rearec_jax.errors",
    "batch_recommender": "rearec_jax.recommend.batch",
    "compare": "rearec_jax.fitting.fit",
    "fit": "rearec_jax.fitting.fit",
    "load": "rearec_jax.recommend.model_directory",
    "tune": "rearec_jax.fitting.fit",
}

__all__ = ["Callback", "Model", "UserError", "__version__", "batch_recommender", "compare", "fit"]
__all__ += ["load", "tune"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
