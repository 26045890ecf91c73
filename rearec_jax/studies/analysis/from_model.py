"""Makes the tables that need the model and the data: lists, states, entropy."""

import numpy as np
import polars as pl

from rearec_jax.data.interactions import Interactions
from rearec_jax.evaluation.rank_file import UserRanks, step_name
from rearec_jax.studies.analysis import lists
from rearec_jax.studies.analysis.model_pass import Observations
from rearec_jax.studies.analysis.projection import project


def tables(observed: Observations, data: Interactions) -> dict[str, pl.DataFrame]:
    """Returns the tables by name."""
    steps = [step_name(step) for step in range(observed.cosines.shape[0])]
    counts = data.training_counts()
    return {
        "state_cosines": _matrix(observed.cosines, steps),
        "list_overlap": _matrix(lists.overlap(observed.lists, data.num_items), observed.names),
        "list_statistics": lists.statistics(observed.lists, counts, observed.names),
        "sharpness": sharpness(observed),
    }


def sharpness(observed: Observations) -> pl.DataFrame:
    """Returns mean and quartiles of the entropy of the scores' softmax, in bits.

    A row a representation. ``items`` is 2^mean: the number of items among which a fair choice has
    that entropy.
    """
    rows = []
    for number, name in enumerate(observed.names):
        entropy = observed.entropy[:, number].astype(np.float64)
        low, middle, high = np.quantile(entropy, [0.25, 0.5, 0.75])
        found = {"mean": float(entropy.mean()), "q25": low, "q50": middle, "q75": high}
        rows.append({"representation": name, **found, "items": float(2 ** entropy.mean())})
    return pl.DataFrame(rows)


def listed_items(observed: Observations, data: Interactions, ranks: UserRanks) -> pl.DataFrame:
    """Returns a table with a row for each example and representation.

    Its columns are the user, the target, the representation, and the list as raw ids, best first.
    """
    count, kinds, _ = observed.lists.shape
    ids = data.item_ids.to_list()
    named = [
        [ids[item] for item in listed if item < len(ids)]
        for listed in observed.lists.reshape(count * kinds, -1).tolist()
    ]
    repeated = np.repeat(np.arange(count), kinds)
    return pl.DataFrame(
        {
            "user": ranks.users.gather(repeated),
            "target": ranks.targets.gather(repeated),
            "representation": observed.names * count,
            "items": pl.Series(named, dtype=pl.List(pl.String)),
        }
    )


def projected_states(observed: Observations, ranks: UserRanks) -> tuple[pl.DataFrame, list[float]]:
    """Projects the sampled states onto their first two principal components.

    Returns:
        A table with a row for each sampled example and step (user, step, x, y), and the share of
        the variance that each of the two axes holds.
    """
    found = project(observed.states)
    count, steps = found.points.shape[:2]
    rows = np.repeat(observed.sampled, steps)
    frame = pl.DataFrame(
        {
            "user": ranks.users.gather(rows),
            "step": np.tile(np.arange(steps), count),
            "x": found.points[..., 0].ravel(),
            "y": found.points[..., 1].ravel(),
        }
    )
    return frame, found.explained.tolist()


def _matrix(values: np.ndarray, names: list[str]) -> pl.DataFrame:
    """Returns a table with a row and a column for each representation."""
    columns = {name: values[:, number] for number, name in enumerate(names)}
    return pl.DataFrame({"representation": names, **columns})
