"""GELU and LayerNorm are those of JAX and Flax, whatever shape they are given."""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rearec_jax.models import layers
from tests import tiny


def test_gelu_is_that_of_jax_in_value_and_slope():
    x = jnp.linspace(-9.0, 9.0, 1001)
    exact = functools.partial(jax.nn.gelu, approximate=False)
    np.testing.assert_allclose(layers.gelu(x), exact(x), rtol=1e-6, atol=2e-6)
    slopes, expected = (jax.grad(lambda x, f=f: f(x).sum())(x) for f in (layers.gelu, exact))
    np.testing.assert_allclose(slopes, expected, rtol=1e-5, atol=2e-6)


def test_gelu_of_bfloat16_is_rounded_once():
    x = jnp.linspace(-4.0, 4.0, 201).astype(jnp.bfloat16)
    exact = jax.nn.gelu(x.astype(jnp.float32), approximate=False)
    with jax.numpy_dtype_promotion("standard"):  # strict ones refuse promote_types
        got = layers.gelu(x)
    assert got.dtype == jnp.bfloat16
    np.testing.assert_allclose(got.astype(jnp.float32), exact, rtol=2**-8, atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 4, 8), (3, 1, 4, 8), (1, 1, 1, 8), (1, 8), (3, 2, 1, 8)])
def test_layer_norm_is_that_of_flax(shape):
    norm = layers.layer_norm(tiny.config().model)
    same = nn.LayerNorm(epsilon=norm.epsilon, use_fast_variance=False)
    rng = np.random.default_rng(0)
    x, scale, bias = (jnp.asarray(rng.normal(size=s), "float32") for s in (shape, 8, 8))

    def value_and_slopes(module):
        def of(params, x):
            return module.apply({"params": params}, x)

        value, pull_back = jax.vjp(of, {"scale": scale, "bias": bias}, x)
        return value, pull_back(jnp.cos(value))

    got, want = (jax.tree.leaves(value_and_slopes(module)) for module in (norm, same))
    for one, other in zip(got, want, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
