"""From packed histories to the best items: pure functions, compiled once a shape.

What encodes is an argument, a traceable function, so that a trained model and an exported one run
the same program; nothing here knows of Flax.
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

USERS_AT_ONCE = {"cpu": 128}  # few fit the caches; other devices take OTHERWISE
OTHERWISE = 4096
SCORE_BYTES = 2**30  # of the scores of a batch: fewer users at once where there are many items
FEWEST_LISTED = 16  # the program lists at least so many, so that most k share one


# What a model is here (see `trained` and `exported`): (weights, table [N, D], rows, steps) ->
# [B, Q, S, D], each query's representation at depth 0 .. steps. Its products with `ranked` rank.
Encode = Callable[[Any, Array, Rows, int], Array]
# The same, and [B, Q, S, T]: what each depth's token attends to in its row (`types.Reasoning`).
Attend = Callable[[Any, Array, Rows, int], tuple[Array, Array | None]]


@dataclasses.dataclass(frozen=True, eq=False)
class Engine:
    """A model ready to run.

    name:       backbone and method, for people.
    max_length: tokens of a user that it sees.
    steps:      reasoning steps that it was trained with, K.
    cloze:      does the token N ask for the next item?
    table:      item vectors as `encode` looks them up.
    ranked:     the same as they are scored (scaled to length 1 where scores are cosines).
    item_rows:  rows of `table` and `ranked` of text vectors; None where items have no text.
    text_width: F of those; 0 = none.
    text_scale: what the item encoder's input is of them (`data.vectors.unit_scale`).
    attend:     as `encode`, with the attention; None where an export has no such program.
    temperature: of the softmax over scores in training; None where an export does not say.
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

    @property
    def seen(self) -> int:
        """Items of a history that it sees."""
        return self.max_length - self.cloze

    @property
    def attending(self) -> Attend:
        """`attend`, or `encode` without attention."""
        return self.attend or Unattending(self.encode)

    @property
    def parameters(self) -> "Parameters":
        """The arrays that the programs read."""
        temperature = np.float32(np.nan if self.temperature is None else self.temperature)
        return Parameters(self.weights, self.table, temperature)

    @property
    def at_once(self) -> int:
        """Users of a batch, about."""
        most = USERS_AT_ONCE.get(jax.default_backend(), OTHERWISE)
        return max(1, min(most, SCORE_BYTES // (4 * self.table.shape[0])))


@dataclasses.dataclass(frozen=True)
class Unattending:
    """`Attend` of a model that does not tell its attention."""

    encode: Encode

    def __call__(
        self, weights: Any, table: Float[Array, "N D"], rows: Rows, steps: int
    ) -> tuple[Float[Array, "B Q S D"], None]:
        return self.encode(weights, table, rows, steps), None


class Best(NamedTuple):
    """Places in the ranked table, best first; of equal scores the lower first; -inf = no more."""

    places: Int[Array, "B Q k"]
    scores: Float[Array, "B Q k"]


class Paths(NamedTuple):
    """The best at every depth, and where each of them stands at every other.

    ranks: [.., s, j, d] is the rank at depth d of the item that stands at place j at depth s.
    shares: softmax of score / temperature over all that may be listed.
    effective: exp(entropy) of that softmax: between how many items the model hesitates.
    attention: of the token of each depth to the tokens of its row.
    """

    places: Int[Array, "B Q S k"]
    scores: Float[Array, "B Q S k"]
    ranks: Int[Array, "B Q S k S"]
    shares: Float[Array, "B Q S k"]
    effective: Float[Array, "B Q S"]
    attention: Float[Array, "B Q S T"] | None


class Parameters(NamedTuple):
    """The arrays of a model.

    weights:     the parameters that `Encode` and `Attend` read.
    table:       the item vectors as they look them up.
    temperature: the temperature of the softmax over scores, NaN where it is unknown. Only `paths`
                 reads it.
    """

    weights: Any
    table: Float[Array, "N D"]
    temperature: Float[ArrayLike, ""]


class Candidates(NamedTuple):
    """The items to choose from.

    vectors: their vectors, as scores compare them; rows from ``count`` on are padding.
    count:   the number of items.
    """

    vectors: Float[Array, "C D"]
    count: Int[ArrayLike, ""]


class Queries(NamedTuple):
    """The users of a batch.

    rows:     their packed histories.
    excluded: the rows of `Candidates.vectors` that are not listed for each; C where there is none.
    depths:   the number of reasoning steps of each, at most that of the call; None: that of the
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
    """Returns the k best candidates of each query after ``steps`` steps.

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
    values, places = jax.lax.top_k(found, k)
    shape = (*queries.rows.queries.shape, k)
    return Best(places.reshape(shape), values.reshape(shape))


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
        values, places = jax.lax.top_k(found, k)
        ranks = jax.lax.map(functools.partial(_rank, found), places.reshape(-1))
        ranks = ranks.reshape(*places.shape, -1)
        shares, effective = _hesitation(found / jnp.asarray(parameters.temperature, found.dtype))
        listed = jnp.take_along_axis(shares, places, axis=-1)
        return places, values, ranks, listed, effective

    found = jax.lax.map(one, (_flat(vectors), _flat(queries.excluded)))
    places, values, ranks, shares, effective = (
        part.reshape(*queries.rows.queries.shape, *part.shape[1:]) for part in found
    )
    return Paths(places, values, ranks, shares, effective, attention)


def _hesitation(logits: Float[Array, "S C"]) -> tuple[Float[Array, "S C"], Float[Array, " S"]]:
    """The softmax and exp(entropy) of it; -inf = not there."""
    shares = jax.nn.softmax(logits, axis=-1)
    logarithms = jnp.where(shares > 0, jax.nn.log_softmax(logits, axis=-1), 0)
    return shares, jnp.exp(-jnp.sum(shares * logarithms, axis=-1))


def _flat(x: ArrayLike) -> Array:
    """[B, Q, ...] -> [M, ...]."""
    x = jnp.asarray(x)
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])


def _allowed(
    found: Float[Array, "M C"], count: Int[ArrayLike, ""], excluded: Int[Array, "M L"]
) -> Float[Array, "M C"]:
    """-inf for padding and for what is excluded."""
    is_item = jnp.arange(found.shape[1], dtype=jnp.int32) < count
    found = jnp.where(is_item[None], found, -jnp.inf)
    hide = jax.vmap(lambda row, out: row.at[out].set(-jnp.inf, mode="drop"))
    return hide(found, excluded) if excluded.shape[1] else found


def _rank(found: Float[Array, "S C"], item: Int[Array, ""]) -> Int[Array, " S"]:
    """Rank of one item at each depth in the order of `jax.lax.top_k`."""
    own = found[:, item][:, None]
    earlier = jnp.arange(found.shape[1], dtype=item.dtype) < item
    before = (found > own) | ((found == own) & earlier[None])
    return 1 + before.sum(axis=1, dtype=jnp.int32)
