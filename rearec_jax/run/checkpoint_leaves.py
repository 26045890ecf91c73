"""Names, describes and sums the arrays of a state, as a checkpoint holds them."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

PyTree = Any


def by_path(tree: PyTree) -> dict[str, Any]:
    """Returns the leaves of a tree by their path, in the tree's order."""
    pairs = jax.tree_util.tree_flatten_with_path(tree)[0]
    named = {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in pairs}
    if len(named) != len(pairs):
        raise ValueError("two leaves of the state have the same path")
    return named


def describe(leaf: Any) -> str:
    """Returns type and shape, as ``float32[12101,256]``."""
    return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"


def placed(leaf: Any) -> jax.ShapeDtypeStruct:
    """Returns shape, type and sharding of a leaf; without one, on the first local device."""
    sharding = getattr(leaf, "sharding", None)
    if sharding is None:
        sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def checksums(leaves: Mapping[str, Any]) -> dict[str, int]:
    """Returns the sum of the bits of each array: the storage does not notice a changed byte."""
    names = sorted(leaves)
    arrays = [leaves[name] for name in names]
    if all(_is_in_host_memory(array) for array in arrays):
        # Not compiled, which takes longer than a hundred of these sums.
        sums = [bit_sum(np.asarray(array)) for array in arrays]
    else:
        sums = np.asarray(bit_sums(arrays)).tolist()
    return dict(zip(names, sums, strict=True))


def _is_in_host_memory(array: Any) -> bool:
    if not isinstance(array, jax.Array):
        return True
    is_cpu = all(device.platform == "cpu" for device in array.devices())
    return is_cpu and array.is_fully_addressable


def bit_sum(array: np.ndarray) -> int:
    """Returns the sum of the bits of an array in host memory, as words of at most 32 bits."""
    size = min(array.dtype.itemsize, 4)  # wider types become pairs of 32 bits
    bits = np.ascontiguousarray(array).reshape(-1).view(f"uint{8 * size}")
    return int(bits.sum(dtype=np.uint32))


@jax.jit  # on the device, so that it costs no copy; integers, so that the order does not matter
def bit_sums(arrays: list[Any]) -> jax.Array:
    """Returns the same sums of arrays on devices, in one array."""

    def bits(array: Any) -> jax.Array:
        if jnp.issubdtype(array.dtype, jnp.bool_):
            array = array.astype(jnp.uint8)
        size = min(array.dtype.itemsize, 4)  # wider types become pairs of 32 bits
        return jax.lax.bitcast_convert_type(array, jnp.dtype(f"uint{8 * size}"))

    return jnp.stack([jnp.sum(bits(array), dtype=jnp.uint32) for array in arrays])
