"""Ranks the items for packed histories: pure functions, compiled once for each shape.

The function that encodes is an argument, so that a trained model and an exported one run the same
program. Nothing here depends on Flax.
"""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int
import numpy as np

from rearec_jax.ops.scores import scores
from rearec_jax.recommend.rows import Rows

CPU_USERS = 128  # in a batch: more do not fit a CPU's caches
DEVICE_USERS = 4096  # in a batch on any other device
SCORE_BYTES = 2**30  # limit of the scores of a batch: it has fewer users where there are many items
FEWEST_LISTED = 16  # a program lists at least so many items, so that most values of k share one


# The program of a model: (weights, table [N, D], rows, steps) -> [B, Q, S, D], the representation
# of each query at depth 0 .. steps. Its products with `Engine.ranked` are the scores.
Encode = Callable[[Any, Array, Rows, int], Array]
# The same, with the attention of each depth's token to the tokens of its row: [B, Q, S, T].
Attend = Callable[[Any, Array, Rows, int], tuple[Array, Array | None]]


@dataclasses.dataclass(frozen=True, eq=False)
class Engine:
    """A model that is ready to run.

    name:        The backbone and the method, for people.
    max_length:  The number of tokens that it sees of a user.
    steps:       K, the number of reasoning steps that it was trained with.
    cloze:       Whether the token N, a mask, asks for the next item.
    encode:      The program that encodes histories.
    weights:     The parameters that `encode` reads.
    table:       The item vectors as `encode` looks them up.
    ranked:      The item vectors as they are scored: of length 1 where scores are cosines.
    item_rows:   The function from text vectors to rows of `table` and of `ranked`; None where the
                 model reads no text.
    text_width:  F, the width of the text vectors; 0 where the model reads none.
    text_scale:  The factor from text vectors to the item encoder's input
                 (`data.item_vectors.vectors.unit_scale`).
    attend:      The program that also returns the attention; None where an export lacks it.
    temperature: The temperature of the softmax over scores in training; None where an export does
                 not record it.
    file:        The file of the programs, for errors; "" where they are code of this package.
    """

    name: str
    max_length: int
    steps: int
    cloze: bool
    encode: Encode
    weights: Any
    table: Float[Array, "N D"]
    ranked: Float[Array, "N D"]
    item_rows: Callable[[np.ndarray], tuple[Array, Array]] | None = None
    text_width: int = 0
    text_scale: float = 1.0
    attend: Attend | None = None
    temperature: float | None = None
    file: str = ""

    @property
    def seen(self) -> int:
        """The number of items that the model sees of a history."""
        return self.max_length - self.cloze

    @property
    def attending(self) -> Attend:
        """The program `attend`; where there is none, `encode` without attention."""
        return self.attend or WithoutAttention(self.encode)

    @property
    def parameters(self) -> "Parameters":
        """The arrays that the programs read."""
        temperature = np.float32(np.nan if self.temperature is None else self.temperature)
        return Parameters(self.weights, self.table, temperature)

    @property
    def at_once(self) -> int:
        """The number of users that a batch has, about."""
        most = CPU_USERS if jax.default_backend() == "cpu" else DEVICE_USERS
        return max(1, min(most, SCORE_BYTES // (4 * self.table.shape[0])))


@dataclasses.dataclass(frozen=True)
class WithoutAttention:
    """The `Attend` of a model that does not return its attention."""

    encode: Encode

    def __call__(
        self, weights: Any, table: Float[Array, "N D"], rows: Rows, steps: int
    ) -> tuple[Float[Array, "B Q S D"], None]:
        return self.encode(weights, table, rows, steps), None


class Best(NamedTuple):
    """The best candidates of each query, best first; of equal scores the lower index first.

    indices: The rows of the candidates' vectors.
    scores:  Their scores; -inf where the list has ended.
    """

    indices: Int[Array, "B Q k"]
    scores: Float[Array, "B Q k"]


class Paths(NamedTuple):
    """The best candidates at every depth, and the rank of each of them at every other depth.

    indices:   The rows of the candidates' vectors, best first.
    scores:    Their scores; -inf where the list has ended.
    ranks:     [.., s, j, d] is the rank at depth d of the item that is number j at depth s.
    shares:    The softmax of score / temperature over all items that may be listed.
    effective: exp(entropy) of that softmax: the number of items between which the model hesitates.
    attention: The attention of each depth's token to the tokens of its row.
    """

    indices: Int[Array, "B Q S k"]
    scores: Float[Array, "B Q S k"]
    ranks: Int[Array, "B Q S k S"]
    shares: Float[Array, "B Q S k"]
    effective: Float[Array, "B Q S"]
    attention: Float[Array, "B Q S T"] | None


class Parameters(NamedTuple):
    """The arrays of a model.

    weights:     The parameters that `Encode` and `Attend` read.
    table:       The item vectors as they look them up.
    temperature: The temperature of the softmax over scores; NaN where it is unknown. Only `paths`
                 reads it.
    """

    weights: Any
    table: Float[Array, "N D"]
    temperature: Float[ArrayLike, ""]


class Candidates(NamedTuple):
    """The items to choose from.

    vectors: Their vectors, as they are scored; rows from ``count`` on are padding.
    count:   The number of items.
    """

    vectors: Float[Array, "C D"]
    count: Int[ArrayLike, ""]


class Queries(NamedTuple):
    """The users of a batch.

    rows:     Their packed histories.
    excluded: The rows of `Candidates.vectors` that each may not be listed; C fills the rest.
    depths:   The number of reasoning steps of each, at most that of the call; None: that of the
              call for all. Only `best` reads it.
    """

    rows: Rows
    excluded: Int[ArrayLike, "B Q L"]
    depths: Int[ArrayLike, "B Q"] | None = None


@functools.partial(jax.jit, static_argnames=("encode", "steps", "k"))
def best(
    encode: Encode,
    parameters: Parameters,
    candidates: Candidates,
    queries: Queries,
    steps: int,
    k: int,
) -> Best:
    """Returns the k best candidates of each query after its reasoning steps.

    Args:
        encode: the model's program.
        parameters: its arrays.
        candidates: the items to choose from.
        queries: the users.
        steps: the number of reasoning steps.
        k: the number of items to list, at most C.
    """
    vectors = encode(parameters.weights, parameters.table, queries.rows, steps)
    if queries.depths is None:
        vectors = vectors[..., -1, :]
    else:
        depths = jnp.asarray(queries.depths)[..., None, None]
        vectors = jnp.take_along_axis(vectors, depths, axis=-2)[..., 0, :]
    found = scores(_flat(vectors), candidates.vectors)
    found = _allowed(found, candidates.count, _flat(queries.excluded))
    values, indices = jax.lax.top_k(found, k)
    shape = (*queries.rows.queries.shape, k)
    return Best(indices.reshape(shape), values.reshape(shape))


@functools.partial(jax.jit, static_argnames=("attend", "steps", "k"))
def paths(
    attend: Attend,
    parameters: Parameters,
    candidates: Candidates,
    queries: Queries,
    steps: int,
    k: int,
) -> Paths:
    """Returns the k best candidates at every depth 0 .. ``steps``, and their ranks at all depths.

    The arguments are those of ``best``.
    """
    vectors, attention = attend(parameters.weights, parameters.table, queries.rows, steps)

    def one(query: tuple[Array, Array]) -> tuple[Array, ...]:
        vectors, excluded = query
        hidden = jnp.broadcast_to(excluded[None], (vectors.shape[0], *excluded.shape))
        found = _allowed(scores(vectors, candidates.vectors), candidates.count, hidden)
        values, indices = jax.lax.top_k(found, k)
        ranks = jax.lax.map(functools.partial(_rank, found), indices.reshape(-1))
        ranks = ranks.reshape(*indices.shape, -1)
        shares, effective = _hesitation(found / jnp.asarray(parameters.temperature, found.dtype))
        listed = jnp.take_along_axis(shares, indices, axis=-1)
        return indices, values, ranks, listed, effective

    found = jax.lax.map(one, (_flat(vectors), _flat(queries.excluded)))
    indices, values, ranks, shares, effective = (
        part.reshape(*queries.rows.queries.shape, *part.shape[1:]) for part in found
    )
    return Paths(indices, values, ranks, shares, effective, attention)


def _hesitation(logits: Float[Array, "S C"]) -> tuple[Float[Array, "S C"], Float[Array, " S"]]:
    """Returns the softmax and exp(its entropy); a logit of -inf has no share."""
    shares = jax.nn.softmax(logits, axis=-1)
    logarithms = jnp.where(shares > 0, jax.nn.log_softmax(logits, axis=-1), 0)
    return shares, jnp.exp(-jnp.sum(shares * logarithms, axis=-1))


def _flat(x: ArrayLike) -> Array:
    """Returns the array with the first two axes as one: [B, Q, ...] -> [M, ...]."""
    x = jnp.asarray(x)
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])


def _allowed(
    found: Float[Array, "M C"], count: Int[ArrayLike, ""], excluded: Int[Array, "M L"]
) -> Float[Array, "M C"]:
    """Returns the scores with -inf for padding and for excluded items, and 0 in place of -0.

    `jax.lax.top_k` takes -0 for less than 0, but equal scores are in the order of the items.
    """
    is_item = jnp.arange(found.shape[1], dtype=jnp.int32) < count
    found = jnp.where(is_item[None], jnp.where(found == 0, 0, found), -jnp.inf)
    hide = jax.vmap(lambda row, out: row.at[out].set(-jnp.inf, mode="drop"))
    return hide(found, excluded) if excluded.shape[1] else found


def _rank(found: Float[Array, "S C"], item: Int[Array, ""]) -> Int[Array, " S"]:
    """Returns the rank of one item at each depth, in the order of `jax.lax.top_k`."""
    score = found[:, item][:, None]
    earlier = jnp.arange(found.shape[1], dtype=item.dtype) < item
    before = (found > score) | ((found == score) & earlier[None])
    return 1 + before.sum(axis=1, dtype=jnp.int32)
