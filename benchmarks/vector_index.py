"""Lists from an approximate index, hnswlib, beside exact ones: what it finds, and how fast.

    python -m benchmarks.vector_index runs/mine [--ef 20,100,400] [--users 5000]

For users of a run's data, the exact 10 best of all items are those of the products of all vectors
with JAX; of hnswlib, those of its index of inner products. The users' vectors are computed before,
and their speed is a line of its own. The best of three passes counts. JSON lines. hnswlib takes one
thread, and is not among the requirements: pip install hnswlib; `taskset -c 0` holds JAX to one too.
"""

import argparse
from collections.abc import Callable
import functools
import json
import time

import jax
import numpy as np

from benchmarks.arguments import numbers
import rearec_jax

K = 10
BATCH = 256  # users whose exact scores are computed at once


@functools.partial(jax.jit, static_argnames="k")
def best(users: jax.Array, items: jax.Array, k: int) -> jax.Array:
    return jax.lax.top_k(users @ items.T, k)[1]


def exact(users: np.ndarray, items: jax.Array, k: int) -> np.ndarray:
    starts = range(0, len(users), BATCH)
    parts = [best(users[start : start + BATCH], items, k) for start in starts]
    return np.concatenate([np.asarray(part) for part in parts])


def share_found(found: np.ndarray, wanted: np.ndarray) -> float:
    """The mean share of the wanted items of each row that are among those found."""
    return float(np.mean((found[:, :, None] == wanted[:, None, :]).any(axis=1)))


def seconds(function: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return min(times)


def main() -> None:
    import hnswlib  # pyrefly: ignore[missing-import]

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--ef", type=numbers, default=[20, 100, 400], help="candidates of a search")
    parser.add_argument("--links", type=int, default=16, help="M, links of an item in the index")
    parser.add_argument("--users", type=int, default=5000)
    arguments = parser.parse_args()
    model = rearec_jax.Model(arguments.run)
    items, known = model.item_vectors().array, model.data.user_ids.head(arguments.users)
    model.user_vectors(known.head(512))  # compiles
    begin = time.perf_counter()
    users = model.user_vectors(known).array
    about = {"items": len(items), "width": items.shape[1], "users": len(users)}
    rate = round(len(users) / (time.perf_counter() - begin))
    print(json.dumps({"what": "user_vectors", **about, "users_per_second": rate}))

    table = jax.numpy.asarray(items)
    wanted = exact(users, table, K)
    rate = round(len(users) / seconds(lambda: exact(users, table, K)))
    print(json.dumps({"what": "exact", "found": 1.0, "users_per_second": rate}))

    begin = time.perf_counter()
    index = hnswlib.Index(space="ip", dim=items.shape[1])
    index.init_index(max_elements=len(items), M=arguments.links, ef_construction=200)
    index.add_items(items, np.arange(len(items)), num_threads=1)
    built = round(time.perf_counter() - begin, 2)
    for ef in arguments.ef:
        index.set_ef(ef)
        found, _ = index.knn_query(users, k=K, num_threads=1)
        share = round(share_found(found, wanted), 4)
        rate = round(len(users) / seconds(lambda: index.knn_query(users, k=K, num_threads=1)))
        line = {"what": "hnswlib", "ef": ef, "found": share, "users_per_second": rate}
        print(json.dumps(line | {"build_seconds": built}), flush=True)


if __name__ == "__main__":
    main()
