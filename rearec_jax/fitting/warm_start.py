"""Starts a training with the weights of another run, such as yesterday's."""

from jaxtyping import Float, Int64
import numpy as np
import polars as pl

from rearec_jax.config import Config, to_dict
from rearec_jax.config.compare import difference
from rearec_jax.data import item_features
from rearec_jax.data.interactions import Interactions
from rearec_jax.errors import UserError
from rearec_jax.recommend.from_run import Kept, load_kept
from rearec_jax.run.files import place
from rearec_jax.run.progress import say
from rearec_jax.run.workdir import Workdir
from rearec_jax.training.history import History
from rearec_jax.training.loop import Begun
from rearec_jax.training.setup import Setup
from rearec_jax.training.warm_start import carried, mismatches

# Options of the model that may be others than those of the run that is carried over.
FREE = ("embedding_dropout", "step_dropout", "dropout", "text_dropout", "init_stddev", "dtype")
SAME_TEXT = 0.99  # the least median cosine of an item's text vectors in both runs


def warm_start(data: Interactions, setup: Setup) -> Begun:
    """Returns the state and history of a training that starts as ``train.start_from`` says.

    The weights are those of the other run's best epoch. Items are found by their raw ids: they keep
    their vectors, in whatever order; new ones begin at the mean; those that are gone are left out.

    Raises:
        UserError: there is no such run, or its model or its items are others.
    """
    path = setup.config.train.start_from
    try:
        source = _source(path)
        _check_options(source.config, setup.config)
        state = setup.initial_state()
        if found := mismatches(source.variables, state.variables):
            raise UserError(_others("weights", [*_of_method(source.config, setup.config), *found]))
        rows = np.array([source.items.index.get(raw, -1) for raw in data.item_ids.cast(pl.String)])
        _check_items(source, data, rows)
    except UserError as error:
        raise UserError(f"train.start_from={path}: {error}") from error
    both = int(np.count_nonzero(rows >= 0))
    counts = {
        "items_carried": both,
        "items_new": len(rows) - both,
        "items_gone": len(source.items) - both,
    }
    words = (f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items())
    say(f"starts from {path}: {', '.join(words)}")
    values = None
    if source.features is not None and data.item_features is not None:
        values = item_features.rows_of(data.item_features, source.features)
    return carried(state, source.variables, rows, values), History(
        start_from={"path": path, **counts}
    )


def _source(path: str) -> Kept:
    if not Workdir(place(path)).is_trained:
        raise UserError("no trained run is there; give the work directory of one")
    return load_kept(path)


def _check_options(old: Config, new: Config) -> None:
    lines = difference({"model": to_dict(old)["model"]}, {"model": to_dict(new)["model"]})
    free = tuple(f"model.{name}: " for name in FREE)
    if lines := [line for line in lines if not line.startswith(free)]:
        raise UserError(_others("options", lines))


def _of_method(old: Config, new: Config) -> list[str]:
    groups = ("method", "text")
    one, other = ({name: to_dict(config)[name] for name in groups} for config in (old, new))
    return difference(one, other)


def _others(what: str, lines: list[str]) -> str:
    return (
        f"its model has other {what}; set them as they are there, or train anew, without"
        " start_from:\n  " + "\n  ".join(lines)
    )


def _check_items(source: Kept, data: Interactions, rows: Int64[np.ndarray, " N"]) -> None:
    here = np.flatnonzero(rows >= 0)
    if not len(here):
        raise UserError(
            f"none of the {len(rows):,} items is among its {len(source.items):,}"
            f" (here {data.item_ids[0]}, there {source.items.ids[0]}); are these ids of the same"
            " catalogue?"
        )
    if source.vectors is None or data.item_vectors is None:
        return
    cosine = _cosines(source.vectors[rows[here]], np.asarray(data.item_vectors)[here])
    if np.median(cosine) < SAME_TEXT:
        raise UserError(
            "the items' text vectors are others there, because TF-IDF and PCA depend on the whole"
            " catalogue; give vectors that stay (text.vectors), or train anew, without start_from"
        )


def _cosines(one: Float[np.ndarray, "N F"], other: Float[np.ndarray, "N F"]) -> np.ndarray:
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.einsum("nf,nf->n", one, other)[norms > 0] / norms[norms > 0]
