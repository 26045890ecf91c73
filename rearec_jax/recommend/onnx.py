"""Writes an export's program as ONNX as well, by jax2onnx (the extra `onnx`)."""

import pathlib
from typing import Any, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array

from rearec_jax.errors import UserError
from rearec_jax.recommend.engine import Engine
from rearec_jax.recommend.rows import Rows

FILE = "encode.onnx"
INPUTS = ("tokens", "positions", "segments", "queries")


def write(engine: Engine, path: pathlib.Path) -> None:
    """Writes the program that encodes, with its weights and its table, as an ONNX file.

    It is (tokens, positions, segments [B, T], queries [B, 1]) -> [B, 1, K + 1, D], with one user in
    a row. B is any number from 1. T is ``engine.max_length``; a shorter history is padded with
    segment 0.

    Raises:
        UserError: the extra `onnx` is not installed.
        OSError: the file cannot be written.
    """
    try:
        import jax2onnx
    except ImportError as error:
        raise UserError(
            f"--onnx needs jax2onnx ({error}); pip install -e '.[onnx]', or leave --onnx out"
        ) from error

    def encode(*rows: Array) -> Array:
        packed = Rows(*cast(Any, rows), users=cast(Any, None))
        return engine.encode(engine.weights, jnp.asarray(engine.table), packed, engine.steps)

    users = cast(Any, "B")  # a name stands for any size
    row = jax.ShapeDtypeStruct((users, engine.max_length), jnp.int32)
    shapes = [row, row, row, jax.ShapeDtypeStruct((users, 1), jnp.int32)]
    model = jax2onnx.to_onnx(encode, shapes, model_name="rearec", input_names=list(INPUTS))
    _refuse_no_users(model.graph)
    path.write_bytes(model.SerializeToString())


def _refuse_no_users(graph: Any) -> None:
    """Makes B = 0 an error of the program: onnxruntime divides by it, which ends the process.

    ONNX has no assertion. So each input is replaced by its sum with ``zeros[B == 0]``, where
    ``zeros`` has one element: another index is an error.
    """
    from onnx import TensorProto, helper  # of jax2onnx

    checked = {name: f"{name}_of_users" for name in INPUTS}
    for node in graph.node:
        node.input[:] = [checked.get(name, name) for name in node.input]
    make = helper.make_node
    guard = [
        make("Shape", [INPUTS[0]], ["users_shape"], start=0, end=1),
        make("Equal", ["users_shape", "users_none"], ["users_is_none"]),
        make("Cast", ["users_is_none"], ["users_index"], to=TensorProto.INT64),
        make("Gather", ["users_zeros", "users_index"], ["users_zero"]),
        *(make("Add", [name, "users_zero"], [new]) for name, new in checked.items()),
    ]
    for number, node in enumerate(guard):
        graph.node.insert(number, node)
    graph.initializer.extend(
        [
            helper.make_tensor("users_none", TensorProto.INT64, [1], [0]),
            helper.make_tensor("users_zeros", TensorProto.INT32, [1], [0]),
        ]
    )
