"""The linear layers, LayerNorm, GELU and dropout of which the encoders are made."""

import math
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rearec_jax.config import ModelConfig
from rearec_jax.ops import random_arrays
from rearec_jax.ops.matmul import linear


def dense(config: ModelConfig, features: int, name: str | None = None) -> nn.Dense:
    """Builds a linear layer that computes in ``config.dtype``.

    Its weights are drawn from N(0, init_stddev^2), and its bias starts at 0.
    """
    return nn.Dense(
        features,
        dtype=jnp.dtype(config.dtype),
        param_dtype=parameter_dtype(config),
        kernel_init=nn.initializers.normal(config.init_stddev),
        dot_general=_linear,
        name=name,
    )


def _linear(x: Array, kernel: Array, dimensions: Any, precision: Any = None) -> Array:
    """Multiplies the last axis of x with the first of the kernel, for `nn.Dense`."""
    return linear(x, kernel)


class Projections(nn.Module):
    """``count`` linear layers like `dense`, all of the input's width, computed in one product."""

    config: ModelConfig
    count: int

    def setup(self) -> None:
        width, dtype = self.config.width, parameter_dtype(self.config)
        init = nn.initializers.normal(self.config.init_stddev)
        self.kernel = self.param("kernel", init, (width, self.count * width), dtype)
        self.bias = self.param("bias", nn.initializers.zeros, (self.count * width,), dtype)

    def __call__(
        self, x: Float[Array, "*tokens D"], first: int = 0, end: int | None = None
    ) -> Float[Array, "*tokens n D"]:
        """Computes the outputs of the layers ``first`` to ``end - 1``; None is the last one."""
        width, end = self.config.width, self.count if end is None else end
        columns = slice(first * width, end * width)
        dtype = jnp.dtype(self.config.dtype)
        kernel, bias = self.kernel[:, columns].astype(dtype), self.bias[columns].astype(dtype)
        out = linear(x.astype(dtype), kernel) + bias.reshape(*[1] * (x.ndim - 1), -1)
        return out.reshape(*x.shape[:-1], end - first, width)


class LayerNorm(nn.LayerNorm):
    """A LayerNorm of the last axis that drops axes of length 1 while it computes.

    XLA's sums for CPUs take three times as long where such an axis, as that of a single view,
    stands between others.
    """

    def __call__(self, x: Float[Array, "*tokens D"]) -> Float[Array, "*tokens D"]:
        longer = [length for length in x.shape[:-1] if length != 1]
        return super().__call__(x.reshape(*longer, x.shape[-1])).reshape(x.shape)


def layer_norm(config: ModelConfig, name: str | None = None) -> LayerNorm:
    """Builds a LayerNorm whose statistics are of float32 or better for every ``config.dtype``."""
    return LayerNorm(
        epsilon=config.layer_norm_epsilon,
        dtype=jnp.dtype(config.dtype),
        param_dtype=parameter_dtype(config),
        use_fast_variance=False,
        name=name,
    )


def parameter_dtype(config: ModelConfig) -> jnp.dtype:
    """Returns the type of the parameters, which is float32 also where bfloat16 is computed in."""
    return jnp.dtype("float64" if config.dtype == "float64" else "float32")


def gelu(x: Float[Array, "*tokens F"]) -> Float[Array, "*tokens F"]:
    """Computes x P(z < x) for a standard normal z, by erf as PyTorch does.

    `jax.nn.gelu`, by erfc, takes twice as long on CPUs.
    """
    exact = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    root = jnp.asarray(math.sqrt(0.5), exact.dtype)
    return (exact * (1 + jax.lax.erf(exact * root)) / 2).astype(x.dtype)


class Dropout(nn.Module):
    """A layer that zeroes elements with probability ``rate`` and scales up the rest in training."""

    rate: float

    @nn.compact
    def __call__(self, x: Float[Array, "..."], train: bool) -> Float[Array, "..."]:
        if not train or self.rate == 0.0:
            return x
        kept = random_arrays.keep_mask(self.make_rng("dropout"), x.shape, self.rate)
        scaled = x * jnp.asarray(1.0 / (1.0 - self.rate), x.dtype)
        return jnp.where(kept, scaled, jnp.zeros((), x.dtype))
