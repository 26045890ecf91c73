"""Attention to the tokens of packed rows as weights of each user's own items."""

from jaxtyping import Float, Float32
import numpy as np

from rearec_jax.recommend.rows import Rows


def item_weights(
    attention: Float[np.ndarray, "B Q S T"], rows: Rows, mask: int | None
) -> Float32[np.ndarray, "B Q S T"]:
    """Weights of the items of each query's segment, the oldest first, zeros behind them.

    They sum to 1: what a token gives to the mask and to reasoning tokens is left out.

    Args:
        attention: of each query's tokens, in the order of the row.
        rows: the packed histories.
        mask: id of the token that asks for the next item; None = there is none.
    """
    own = np.take_along_axis(rows.segments, rows.queries, axis=1)[..., None]
    is_item = own == rows.segments[:, None]  # [B, Q, T]
    if mask is not None:
        is_item &= (rows.tokens != mask)[:, None]
    count, start = is_item.sum(axis=-1), is_item.argmax(axis=-1)
    place = np.arange(rows.segments.shape[1])
    source = np.minimum(start[..., None] + place, len(place) - 1)
    weights = np.take_along_axis(attention, source[:, :, None], axis=-1).astype(np.float32)
    weights = np.where((place < count[..., None])[:, :, None], weights, 0)
    total = weights.sum(axis=-1, keepdims=True)
    return weights / np.maximum(total, np.finfo(np.float32).tiny)
