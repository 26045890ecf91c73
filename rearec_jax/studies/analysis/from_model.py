"""All tables that need the model and the data: lists, states, sharpness, stories."""

from typing import Any

import numpy as np
import polars as pl

from rearec_jax.data.interactions import Interactions
from rearec_jax.evaluation.rank_file import UserRanks, step_name
from rearec_jax.studies.analysis import lists, stories
from rearec_jax.studies.analysis.model_pass import Seen
from rearec_jax.studies.analysis.projection import project


def tables(seen: Seen, data: Interactions) -> dict[str, pl.DataFrame]:
    """Name to table."""
    steps = [step_name(step) for step in range(seen.cosines.shape[0])]
    return {
        "state_cosines": _matrix(seen.cosines, steps),
        "list_overlap": _matrix(lists.overlap(seen.lists, data.num_items), seen.names),
        "list_statistics": lists.statistics(seen.lists, data.training_counts(), seen.names),
        "sharpness": sharpness(seen),
    }


def sharpness(seen: Seen) -> pl.DataFrame:
    """Entropy of the scores' softmax in bits, its mean and quartiles.

    ``items`` is 2^mean: as sharp as a fair choice among so many.
    """
    rows = []
    for number, name in enumerate(seen.names):
        own = seen.entropy[:, number].astype(np.float64)
        quarter, half, three = np.quantile(own, [0.25, 0.5, 0.75])
        found = {"mean": float(own.mean()), "q25": quarter, "q50": half, "q75": three}
        rows.append({"representation": name, **found, "items": float(2 ** own.mean())})
    return pl.DataFrame(rows)


def listed_items(seen: Seen, data: Interactions, ranks: UserRanks) -> pl.DataFrame:
    """A row an example and representation: user, target, and the list as raw ids, best first."""
    count, kinds, _ = seen.lists.shape
    ids = data.item_ids.to_list()
    named = [
        [ids[item] for item in listed if item < len(ids)]
        for listed in seen.lists.reshape(count * kinds, -1).tolist()
    ]
    repeated = np.repeat(np.arange(count), kinds)
    return pl.DataFrame(
        {
            "user": ranks.users.gather(repeated),
            "target": ranks.targets.gather(repeated),
            "representation": seen.names * count,
            "items": pl.Series(named, dtype=pl.List(pl.String)),
        }
    )


def projected_states(seen: Seen, ranks: UserRanks) -> tuple[pl.DataFrame, list[float]]:
    """A row a sampled example and step: user, step, x, y; and each axis's share of the variance."""
    found = project(seen.states)
    count, steps = found.points.shape[:2]
    rows = np.repeat(seen.sampled, steps)
    frame = pl.DataFrame(
        {
            "user": ranks.users.gather(rows),
            "step": np.tile(np.arange(steps), count),
            "x": found.points[..., 0].ravel(),
            "y": found.points[..., 1].ravel(),
        }
    )
    return frame, found.explained.tolist()


def told_stories(
    seen: Seen,
    data: Interactions,
    ranks: UserRanks,
    chosen: list[tuple[int, str]],
    longest: int,
) -> list[dict[str, Any]]:
    """Of the rows that ``stories.choose`` chose."""
    return [
        stories.tell(
            row,
            why,
            data,
            int(seen.examples[row]),
            ranks,
            seen.names,
            seen.lists[row],
            longest,
        )
        for row, why in chosen
    ]


def _matrix(values: np.ndarray, names: list[str]) -> pl.DataFrame:
    """A row and a column a representation."""
    columns = {name: values[:, number] for number, name in enumerate(names)}
    return pl.DataFrame({"representation": names, **columns})
