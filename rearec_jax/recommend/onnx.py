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
    a row. B is free. T is ``engine.max_length``; a shorter history is padded with segment 0.

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
    path.write_bytes(model.SerializeToString())
