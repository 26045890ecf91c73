"""Finds the nearest items of each item: those that users took soon after it, or by Swing.

Only the training part of the data counts. Near items come from a sparse graph of the items, of
which the best few of each are kept: as an array beside the prepared data, like all derived data.
"""

import hashlib
import itertools
import json
import logging
from typing import Any, NamedTuple

from jaxtyping import Int32, Int64
import numpy as np
from scipy import sparse

from rearec_jax.config import Config
from rearec_jax.data.interactions import Interactions
from rearec_jax.data.prepare import cache_directory
from rearec_jax.run.files import load_array, save_array

FORMAT = 1  # raise it whenever the same data and options would give other neighbours
# Swing: the most users of an item that count, those with the fewest items, who weigh most. Without
# a limit the work would grow with the square of the most popular item's users.
MOST_USERS = 300
BLOCK = 2**21  # the items that the pairs of users of a block have in common: what memory holds


class Recipe(NamedTuple):
    """The way neighbours are found.

    graph:  "pairs" or "swing".
    window: pairs: how many items after an item are paired with it.
    count:  the number of neighbours of an item that are kept.
    """

    graph: str
    window: int
    count: int


def neighbours(config: Config, data: Interactions, count: int) -> Int32[np.ndarray, "N n"]:
    """Returns the ``count`` nearest items of each item, or loads what an earlier run has kept.

    The nearest comes first; N, the number of items, fills rows of items that have fewer.
    """
    recipe = Recipe(config.method.graph, config.method.graph_window, count)
    path = cache_directory(config.data) / f"neighbours-{_key(recipe, data)}.npy"
    if path.exists():
        try:
            kept = load_array(path)
            if kept.dtype == np.int32 and kept.shape == (data.num_items, count):
                return kept
            reason = f"it holds {kept.dtype} of shape {kept.shape}"
        except (OSError, ValueError) as error:
            reason = str(error)
        logging.warning("finding the neighbours again: %s is damaged (%s)", path, reason)
    found = find(recipe, data)
    try:
        save_array(path, found)
    except OSError as error:
        logging.warning("neighbours are not kept in %s (data.cache_dir): %s", path, error)
    return found


def find(recipe: Recipe, data: Interactions) -> Int32[np.ndarray, "N n"]:
    """Finds the nearest items of each item."""
    graph = pairs(data, recipe.window) if recipe.graph == "pairs" else swing(data)
    return nearest(graph, recipe.count)


def pairs(data: Interactions, window: int) -> sparse.csr_array:
    """Counts how often item j comes at most ``window`` places after item i, in [i, j]."""
    users, items = _training(data)
    shape = data.num_items, data.num_items
    counts = sparse.csr_array(shape, dtype=np.int64)
    for distance in range(1, min(window, data.lengths.max(initial=1) - 1) + 1):
        same = users[:-distance] == users[distance:]
        first, second = items[:-distance][same], items[distance:][same]
        counts += _matrix(np.ones(len(first), np.int64), first, second, shape)
    return counts


def swing(
    data: Interactions, alpha_user: float = 5.0, alpha: float = 1.0, beta: float = 0.3
) -> sparse.csr_array:
    """Computes the Swing similarity of items i and j (Yang et al. 2020, arXiv 2010.05525).

    sum over pairs of users u != v who both took i and j of w_u w_v / (alpha + |I_u & I_v|), with
    w_u = (|I_u| + alpha_user)^-beta, divided by sqrt(|U_j|). So a pair of items needs two users.
    """
    taken = _taken(data)
    items_of_user, users_of_item = taken.sum(axis=1), np.maximum(taken.sum(axis=0), 1)
    weight = (items_of_user + alpha_user) ** -beta
    taken = _of_fewest_items(taken, items_of_user)
    similarity = sparse.csr_array((data.num_items, data.num_items), dtype=np.float64)
    # The entries of taken @ taken.T, before equal ones are summed, of the users up to each.
    entries = np.cumsum(taken @ taken.sum(axis=0))
    number = -(-int(entries[-1]) // BLOCK)
    ends = np.searchsorted(entries, BLOCK * np.arange(1, number)) + 1
    for start, end in itertools.pairwise([0, *ends, len(entries)]):
        common = sparse.coo_array(taken[start:end] @ taken.T)
        u, v = common.coords[0] + start, common.coords[1]
        chosen = (common.data > 1) & (u < v)
        u, v, both = u[chosen], v[chosen], common.data[chosen]
        shared = sparse.csr_array(taken[u]).multiply(sparse.csr_array(taken[v]))
        of_pair = 2 * weight[u] * weight[v] / (alpha + both)
        similarity += shared.T @ sparse.diags_array(of_pair) @ shared
    return sparse.csr_array(similarity @ sparse.diags_array(users_of_item**-0.5))


def nearest(graph: sparse.csr_array, count: int) -> Int32[np.ndarray, "N n"]:
    """Returns the items of the ``count`` largest values of each row, of equal ones the lower id.

    An item is no neighbour of itself. N fills what is left.
    """
    edges = sparse.coo_array(graph)
    items = len(graph.indptr) - 1
    i, j = edges.coords
    real = (i != j) & (edges.data > 0)
    i, j, value = i[real], j[real], edges.data[real]
    order = np.lexsort((j, -value, i))
    i, j = i[order], j[order]
    ranks = np.arange(len(i)) - np.searchsorted(i, i)
    found = np.full((items, count), items, np.int32)
    kept = ranks < count
    found[i[kept], ranks[kept]] = j[kept]
    return found


def _training(data: Interactions) -> tuple[Int64[np.ndarray, "n"], Int32[np.ndarray, "n"]]:
    """Returns users and items of the training part, users one after another, in time order."""
    training = data.in_training
    return np.repeat(np.arange(data.num_users), data.lengths)[training], data.items[training]


def _taken(data: Interactions) -> sparse.csr_array:
    """Returns which items [users, N] each user took in training, as ones."""
    users, items = _training(data)
    ones = np.ones(len(items), np.int64)
    taken = _matrix(ones, users, items, (data.num_users, data.num_items))
    taken.data[:] = 1
    return taken


def _of_fewest_items(
    taken: sparse.csr_array, items_of_user: Int64[np.ndarray, "users"]
) -> sparse.csr_array:
    """Keeps of each item the `MOST_USERS` users who have the fewest items."""
    users, items = sparse.coo_array(taken).coords
    order = np.lexsort((users, items_of_user[users], items))
    users, items = users[order], items[order]
    kept = np.arange(len(items)) - np.searchsorted(items, items) < MOST_USERS
    ones = np.ones(np.count_nonzero(kept), np.int64)
    shape = len(items_of_user), taken.sum(axis=0).size
    return _matrix(ones, users[kept], items[kept], shape)


def _matrix(values: Any, rows: Any, columns: Any, shape: tuple[int, ...]) -> sparse.csr_array:
    """Returns the sparse matrix with these values, of which those at the same place are summed."""
    return sparse.csr_array((values, (rows, columns)), shape=shape)


def _key(recipe: Recipe, data: Interactions) -> str:
    """Returns a key that changes with the training part and the way neighbours are found."""
    total = hashlib.sha256(json.dumps([FORMAT, data.num_items, *recipe]).encode())
    mask = data.in_training
    for array in (data.items[mask], data.offsets, mask):
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()[:32]
