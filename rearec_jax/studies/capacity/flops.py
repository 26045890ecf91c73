"""Counts matrix products and their FLOPs in a traced function, before compilation.

XLA counts the body of a loop once; here a scan counts as often as it runs. Only products are
counted, as all else is bound by memory.
"""

import collections
from collections.abc import Callable
import math
from typing import Any, NamedTuple, cast

import jax
from jax.extend import core


class Product(NamedTuple):
    """A product [batch, rows, inner] x [batch, inner, columns], in whatever order of the axes."""

    batch: int
    rows: int
    inner: int
    columns: int

    @property
    def flops(self) -> float:
        """The FLOPs: two for each multiplication."""
        return 2.0 * math.prod(self)


Products = collections.Counter[Product]


def product_flops(jaxpr: core.ClosedJaxpr | core.Jaxpr) -> float:
    """Returns the FLOPs of all `products`."""
    return _flops(products(jaxpr))


def products(jaxpr: core.ClosedJaxpr | core.Jaxpr) -> Products:
    """Returns all matrix products and how often each is made, on all devices together.

    A `while` loop, whose rounds are unknown, counts once; of a `cond` its dearest branch counts.
    """
    inner = getattr(jaxpr, "jaxpr", jaxpr)
    return _sum(inner.eqns, _of_equation)


def _of_equation(equation: core.JaxprEqn) -> Products:
    name, parameters = equation.primitive.name, equation.params
    if name == "dot_general":
        return Products([_product(equation)])
    if name == "cond":
        return max(map(products, parameters["branches"]), key=_flops)
    times = 1
    if name == "scan":
        times = parameters["length"]
    if name == "shard_map":  # what one device does
        times = math.prod(parameters["mesh"].shape.values())
    once = _sum(_inner(parameters), products)
    return Products({product: times * count for product, count in once.items()})


def _product(equation: core.JaxprEqn) -> Product:
    left, right = (cast(Any, operand.aval).shape for operand in equation.invars)
    (contracted, contracted_right), (batch, batch_right) = equation.params["dimension_numbers"]
    return Product(
        batch=math.prod(left[axis] for axis in batch),
        rows=_without(left, (*contracted, *batch)),
        inner=math.prod(left[axis] for axis in contracted),
        columns=_without(right, (*contracted_right, *batch_right)),
    )


def _without(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    return math.prod(size for axis, size in enumerate(shape) if axis not in axes)


def _flops(made: Products) -> float:
    return sum((count * product.flops for product, count in made.items()), start=0.0)


def _sum(values: list[Any], of: Callable[[Any], Products]) -> Products:
    return sum(map(of, values), start=Products())


def _inner(parameters: dict[str, Any]) -> list[Any]:
    return list(filter(_is_jaxpr, jax.tree.leaves(parameters, is_leaf=_is_jaxpr)))


def _is_jaxpr(value: Any) -> bool:
    return isinstance(value, core.ClosedJaxpr | core.Jaxpr)
