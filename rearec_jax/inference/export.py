"""--mode=export: a model as a directory that needs neither Flax nor the training code.

See `exported` for what lies in it. The directory appears whole or not at all.
"""

from collections.abc import Callable
import hashlib
import json
import os
import pathlib
import platform
import shutil
import tempfile
from typing import Any, cast

import jax
from jax import export as jax_export
from jaxtyping import Array
import numpy as np

import rearec_jax
from rearec_jax.config import Config
from rearec_jax.errors import UserError
from rearec_jax.inference import catalogue, onnx, runs, samples, trained
from rearec_jax.inference.batches import Rows
from rearec_jax.inference.exported import ATTEND, ENCODE, FORMAT, MANIFEST, ROWS, TABLE, WEIGHTS
from rearec_jax.inference.program import Attend, Encode, Engine
from rearec_jax.inference.recommender import Recommender
from rearec_jax.models.backbones import Variables

PLATFORMS = ("cpu", "cuda", "tpu")


def export_run(workdir: str, output: str, with_onnx: bool = False) -> pathlib.Path:
    """Exports the best epoch of a run to the directory ``output``.

    Args:
        workdir: of the run.
        output: a directory that is not there yet, or empty.
        with_onnx: also write `encode.onnx`.

    Raises:
        UserError: no such run, ``output`` holds something or cannot be written, or the extra
            `onnx` is missing.
    """
    target = pathlib.Path(output)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"--output={target} exists already; choose another directory")
    run = runs.open_run(workdir)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = pathlib.Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            new = scratch / "new"
            write(new, run.config, run.variables, run.recommender, with_onnx)
            os.replace(new, target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"cannot write {target}: {error.strerror or error}; choose another --output"
        ) from error
    return target


def write(
    path: pathlib.Path,
    config: Config,
    variables: Variables,
    recommender: Recommender,
    with_onnx: bool = False,
) -> None:
    """Writes the files of an export into a new directory; see ``export_run``.

    Raises:
        OSError: they cannot be written.
    """
    engine = recommender.engine
    (path / WEIGHTS).mkdir(parents=True)
    weights = _named(engine.weights)
    _save(path, weights)
    (path / ENCODE).write_bytes(_encode_program(engine, engine.encode))
    (path / ATTEND).write_bytes(_encode_program(engine, engine.attending))
    if with_onnx:
        onnx.write(engine, path / onnx.FILE)
    np.save(path / TABLE, np.asarray(engine.table), allow_pickle=False)
    row_weights: dict[str, Array] = {}
    if engine.text_width:
        items = trained.item_weights(config, variables)
        row_weights = _named(items)
        _save(path, row_weights)
        (path / ROWS).write_bytes(_rows_program(config, items, engine))
    catalogue.save(recommender.items, path / catalogue.FILE)
    if recommender.samples:
        samples.save(recommender.samples, path / samples.FILE)
    manifest = {
        "format": FORMAT,
        "versions": {
            "rearec_jax": rearec_jax.__version__,
            "jax": jax.__version__,
            "python": platform.python_version(),
        },
        "platforms": PLATFORMS,
        "model": {
            "name": engine.name,
            "max_length": engine.max_length,
            "steps": engine.steps,
            "cloze": engine.cloze,
            "similarity": config.model.similarity,
            "text_width": engine.text_width,
            "temperature": engine.temperature,
        },
        "items": len(recommender.items),
        "weights": list(weights),
        "row_weights": list(row_weights),
        "shapes": {
            name: [*array.shape, str(array.dtype)]
            for name, array in (weights | row_weights | {TABLE: engine.table}).items()
        },
        "files": _digests(path),
    }
    (path / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def _encode_program(engine: Engine, encode: Encode | Attend) -> bytes:
    """StableHLO of all steps; free are the rows, their tokens and queries, and the items."""
    leaves, structure = jax.tree.flatten(engine.weights)

    def run(weights: list[Array], table: Array, *rows: Array) -> Any:
        variables = jax.tree.unflatten(structure, weights)
        packed = Rows(*cast(Any, rows), users=cast(Any, None))
        return encode(variables, table, packed, engine.steps)

    b, t, q, n = jax_export.symbolic_shape("b, t, q, n")
    tokens, queries = jax.ShapeDtypeStruct((b, t), "int32"), jax.ShapeDtypeStruct((b, q), "int32")
    table = jax.ShapeDtypeStruct((n, engine.table.shape[1]), engine.table.dtype)
    return _serialized(run, leaves, table, tokens, tokens, tokens, queries)


def _rows_program(config: Config, weights: Variables, engine: Engine) -> bytes:
    """StableHLO from text vectors to rows of the table; free is how many."""
    leaves, structure = jax.tree.flatten(weights)

    def rows(weights: list[Array], text: Array) -> Array:
        scaled = text * engine.text_scale
        return trained.rows_of_text(config, jax.tree.unflatten(structure, weights), scaled)

    (n,) = jax_export.symbolic_shape("n")
    return _serialized(rows, leaves, jax.ShapeDtypeStruct((n, engine.text_width), "float32"))


def _serialized(function: Callable[..., Any], leaves: list[Array], *arguments: Any) -> bytes:
    shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
    program = jax_export.export(jax.jit(function), platforms=PLATFORMS)(shapes, *arguments)
    return bytes(program.serialize())


def _named(tree: Any) -> dict[str, Array]:
    """File name -> array, in the order of the tree's leaves."""
    pairs = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {
        f"{WEIGHTS}/{jax.tree_util.keystr(path, simple=True, separator='.')}.npy": leaf
        for path, leaf in pairs
    }


def _save(path: pathlib.Path, arrays: dict[str, Array]) -> None:
    for name, array in arrays.items():
        np.save(path / name, np.asarray(array), allow_pickle=False)


def _digests(path: pathlib.Path) -> dict[str, str]:
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return {
        file.relative_to(path).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }
