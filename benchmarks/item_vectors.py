"""What item vectors know of the next item, before any training. JSON to stdout.

    python -m benchmarks.item_vectors SEQUENCES TEXT [COLUMN ...] [--vectors FILE] [--users 4000]

SEQUENCES has one user a line, ``user item item ...``; TEXT is a table with item_id and the text's
columns (title by default). For random users, all items with a vector are ranked by cosine with the
user's last item before the validation target. ``random`` is the same with random vectors.
"""

import argparse
import json
import tempfile
import time

import numpy as np

from rearec_jax.config import Config, DataConfig, TextConfig
from rearec_jax.data.interactions import VALIDATION, Interactions
from rearec_jax.data.item_vectors.vectors import item_vectors
from rearec_jax.data.prepare import build


def next_item_ranks(data: Interactions, vectors: np.ndarray, users: int) -> np.ndarray:
    """Rank of each target, from 1; ties count against us, the last item itself is left out.

    So are targets that repeat the last item, and those where either has no vector.
    """
    norm = np.linalg.norm(vectors, axis=1)
    has_vector = norm > 0
    unit = vectors / np.where(has_vector, norm, 1)[:, None]
    targets = np.flatnonzero(data.split == VALIDATION)
    pairs = np.stack([data.items[targets - 1], data.items[targets]])
    pairs = pairs[:, has_vector[pairs].all(axis=0) & (pairs[0] != pairs[1])]
    last, target = pairs[:, np.random.default_rng(0).permutation(pairs.shape[1])[:users]]
    scores = unit[last] @ unit.T
    row = np.arange(len(last))
    own = scores[row, target]
    scores[:, ~has_vector] = scores[row, last] = -np.inf
    return (scores >= own[:, None]).sum(axis=1)


def worth(data: Interactions, vectors: np.ndarray, users: int) -> dict[str, float]:
    ranks = next_item_ranks(data, vectors, users)
    items = np.count_nonzero(vectors.any(axis=1))
    return {"mean_rank_share": float(ranks.mean() / items), "in_20": float((ranks <= 20).mean())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sequences")
    parser.add_argument("text")
    parser.add_argument("columns", nargs="*", default=["title"])
    parser.add_argument("--vectors", default="")
    parser.add_argument("--users", type=int, default=4000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        options = DataConfig(
            source="sequences",
            path=arguments.sequences,
            item_text=arguments.text,
            text_columns=tuple(arguments.columns),
            cache_dir=cache,
        )
        data = build(options)
        begin = time.perf_counter()
        found = item_vectors(Config(data=options, text=TextConfig(arguments.vectors)), data)
        seconds = time.perf_counter() - begin
        chance = np.random.default_rng(0).normal(size=(data.num_items, 8))
        chance[~found.has_text] = 0
        result = {
            "items": data.num_items,
            "without_vector": int(np.count_nonzero(~found.has_text)),
            "width": found.vectors.shape[1],
            "seconds": seconds,
            "vectors": worth(data, np.asarray(found.vectors), arguments.users),
            "random": worth(data, chance, arguments.users),
        }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
