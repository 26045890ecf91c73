"""Turns attention to the tokens of packed rows into weights of each user's items."""

from jaxtyping import Float, Float32
import numpy as np

from rearec_jax.recommend.rows import Rows


def attention_to_items(
    attention: Float[np.ndarray, "B Q S T"], rows: Rows, mask: int | None
) -> Float32[np.ndarray, "B Q S T"]:
    """Returns the weights of the items of each query's segment, the oldest first, then zeros.

    They sum to 1: the attention to the mask and to reasoning tokens is left out.

    Args:
        attention: the attention of each query's tokens to the tokens of its row.
        rows: the packed histories.
        mask: the id of the mask, which is no item; None where the model has none.
    """
    segment = np.take_along_axis(rows.segments, rows.queries, axis=1)[..., None]
    is_item = segment == rows.segments[:, None]  # [B, Q, T]
    if mask is not None:
        is_item &= (rows.tokens != mask)[:, None]
    count, start = is_item.sum(axis=-1), is_item.argmax(axis=-1)
    position = np.arange(rows.segments.shape[1])
    source = np.minimum(start[..., None] + position, len(position) - 1)
    weights = np.take_along_axis(attention, source[:, :, None], axis=-1).astype(np.float32)
    weights = np.where((position < count[..., None])[:, :, None], weights, 0)
    total = weights.sum(axis=-1, keepdims=True)
    return weights / np.maximum(total, np.finfo(np.float32).tiny)
