"""A teacher that prefers the target, and after it the items near the last one (ManCAR).

It is q(rank) = softmax(-rank / width) over the target, of rank 0, and the nearest other items, of
ranks 1 .. n. With the target y and the cross-entropy CE of `losses.cross_entropy`

    KL(q || p) = CE(h, y) + sum_j q_j h . (e_y - e_j) / tau - H(q),

so that only the few items of the teacher are scored apart from the cross-entropy.

The training example itself has made its target a neighbour of its last item. What it added cannot
be seen: the target is taken out of the neighbours, and those after it move up.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rearec_jax.devices.mesh import ONE, Devices
from rearec_jax.types import Scalar


class Teacher(NamedTuple):
    """The items that the teacher of each query names, the target first, and its preferences.

    items: Their ids; where a query has fewer, the target again.
    ranks: Their ranks; infinite where a query has fewer.
    """

    items: Int[Array, "M n"]
    ranks: Float[Array, "M n"]

    def probabilities(self, width: Scalar) -> Float[Array, "M n"]:
        """Computes q of every item; the smaller the width, the more of it has the target."""
        weights = jnp.exp(-self.ranks / width)
        return weights / weights.sum(axis=1, keepdims=True)


def teacher(targets: Int[Array, " M"], near: Int[Array, "M n"], num_items: int) -> Teacher:
    """Makes the teacher of each query from the n nearest items of its last one, N as a filling.

    It names the target and the n - 1 nearest others: as many whether the target is near or not.
    """
    other = (near != targets[:, None]) & (near < num_items)
    ranks = jnp.cumsum(other, axis=1)
    named = other & (ranks < near.shape[1])
    items = jnp.where(named, near, targets[:, None])
    ranks = jnp.where(named, ranks.astype(jnp.float32), jnp.inf)
    first = jnp.zeros((targets.shape[0], 1), jnp.float32)
    return Teacher(
        jnp.concatenate([targets[:, None], items], axis=1),
        jnp.concatenate([first, ranks], axis=1),
    )


def beyond_cross_entropy(
    states: Float[Array, "M S D"],
    table: Float[Array, "N D"],
    named: Teacher,
    temperature: Scalar,
    widths: tuple[float, ...],
    devices: Devices = ONE,
) -> Float[Array, "M S"]:
    """Computes KL(q_k || p_k) - CE(h_k, y), by the formula above, of each step k.

    Args:
        widths: The width of q for each of the S steps.
    """
    scaled = states / jnp.asarray(temperature, states.dtype)
    dtype = jnp.promote_types(states.dtype, jnp.float32)
    rows = devices.look_up(table, named.items).astype(states.dtype)
    scores = jnp.einsum("msd,mnd->msn", scaled, rows, preferred_element_type=dtype)
    q = jnp.stack([named.probabilities(width) for width in widths], axis=1).astype(dtype)
    log_q = jnp.log(jnp.where(q > 0, q, 1))
    return jnp.sum(q * (scores[:, :, :1] - scores + log_q), axis=-1)
