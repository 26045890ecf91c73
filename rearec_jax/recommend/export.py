"""Writes a model as a directory that needs neither Flax nor the training code (--mode=export).

The files are described in `from_export`. The directory appears whole or not at all.
"""

from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import datetime
import hashlib
import json
import pathlib
import platform
from typing import Any, cast

import jax
from jax import export as jax_export
from jaxtyping import Array
import numpy as np

from rearec_jax import config as config_lib
from rearec_jax.config import Config
from rearec_jax.errors import UserError
from rearec_jax.models.backbones import Variables
from rearec_jax.recommend import from_arrays, from_export, from_run, onnx, trained
from rearec_jax.recommend.engine import Attend, Encode, Engine
from rearec_jax.recommend.from_run import Run
from rearec_jax.recommend.items import ITEMS_FILE, save_items
from rearec_jax.recommend.manifest import (
    ATTEND,
    ENCODE,
    MANIFEST,
    ROWS,
    TABLE,
    WEIGHTS,
    ArrayType,
    Facts,
    Manifest,
)
from rearec_jax.recommend.recommender import Recommender
from rearec_jax.recommend.rows import Rows
from rearec_jax.recommend.samples import SAMPLES_FILE, save_samples
from rearec_jax.run.workdir import explained, replaced
from rearec_jax.version import __version__

PLATFORMS = ("cpu", "cuda", "tpu")
# The documentation of jax.export promises to read programs that are up to six months older than
# JAX. A JAX that is released later than so long from today may refuse them.
PROMISE = datetime.timedelta(days=180)


def export_run(workdir: str, output: str, with_onnx: bool = False) -> pathlib.Path:
    """Exports the best epoch of a run to the directory ``output``.

    Args:
        workdir: a run's work directory; or an export, whose arrays are then written with programs
            of this JAX.
        output: a directory that does not exist, is empty, or holds an export of the same model,
            which is then replaced.
        with_onnx: whether `encode.onnx` is written too.

    Raises:
        UserError: there is no such run, ``output`` holds something else or cannot be written, or
            the extra `onnx` is missing.
    """
    source, target = pathlib.Path(workdir), pathlib.Path(output)
    is_taken = target.exists() and (not target.is_dir() or any(target.iterdir()))
    if is_taken and not from_export.is_export(target):
        raise UserError(f"--output={target} exists already; choose another directory")
    if from_export.is_export(source):
        run = from_arrays.run_of(from_export.read_contents(source))
    else:
        run = from_run.load_run(workdir)
    if is_taken and not _is_of(run, target):
        raise UserError(
            f"--output={target} holds an export of another model; choose another directory"
        )
    with explained(target, "--output"):
        target.parent.mkdir(parents=True, exist_ok=True)
    with replaced(target, "--output") as new:
        write(new, run.config, run.variables, run.recommender, with_onnx)
    return target


def _is_of(run: Run, target: pathlib.Path) -> bool:
    """Says whether ``target`` holds an export of the run: the same items, options and seed."""
    there = from_export.read_contents(target)
    own, facts = _facts(run.config, run.recommender.engine), there.manifest.model
    later = {
        name: getattr(facts, name) or getattr(own, name) for name in ("text_scale", "temperature")
    }
    same = dataclasses.replace(facts, **later) == own
    same = same and there.manifest.options in (None, _options(run.config))
    return same and there.items.ids.equals(run.recommender.items.ids)


def write(
    path: pathlib.Path,
    config: Config,
    variables: Variables,
    recommender: Recommender,
    with_onnx: bool = False,
) -> None:
    """Writes the files of an export into a new directory; see ``export_run``.

    Raises:
        OSError: a file cannot be written.
    """
    engine = recommender.engine
    (path / WEIGHTS).mkdir(parents=True)
    (path / ENCODE).write_bytes(_encode_program(engine, engine.encode))
    (path / ATTEND).write_bytes(_encode_program(engine, engine.attending))
    if with_onnx:
        onnx.write(engine, path / onnx.FILE)
    weights = from_arrays.named(engine.weights)
    row_weights: dict[str, Array] = {}
    if engine.text_width:
        items = trained.item_encoder_weights(config, variables)
        row_weights = from_arrays.named(items)
        (path / ROWS).write_bytes(_rows_program(config, items, engine))
    arrays = weights | row_weights | {TABLE: engine.table}
    for name, array in arrays.items():
        np.save(path / name, np.asarray(array), allow_pickle=False)
    save_items(recommender.items, path / ITEMS_FILE)
    if recommender.samples:
        save_samples(recommender.samples, path / SAMPLES_FILE)
    python = platform.python_version()
    manifest = Manifest(
        versions={"rearec_jax": __version__, "jax": jax.__version__, "python": python},
        programs_until=datetime.date.today() + PROMISE,
        platforms=PLATFORMS,
        options=_options(config),
        model=_facts(config, engine),
        items=len(recommender.items),
        weights=tuple(weights),
        row_weights=tuple(row_weights),
        shapes={name: ArrayType(array.shape, str(array.dtype)) for name, array in arrays.items()},
        files=_digests(path),
    )
    (path / MANIFEST).write_text(json.dumps(manifest.to_json(), indent=2) + "\n")


def _options(config: Config) -> dict[str, Any]:
    """Returns the options that the model is made of, and the seed; no path of this machine."""
    options = config_lib.to_dict(config)
    objective = {"objective": options["train"]["objective"]}
    return {"seed": config.seed, "train": objective} | {
        name: options[name] for name in ("model", "method")
    }


def _facts(config: Config, engine: Engine) -> Facts:
    """Returns the facts that loading needs besides the arrays."""
    return Facts(
        name=engine.name,
        max_length=engine.max_length,
        steps=engine.steps,
        cloze=engine.cloze,
        similarity=config.model.similarity,
        text_width=engine.text_width,
        text_scale=engine.text_scale,
        temperature=engine.temperature,
    )


def _encode_program(engine: Engine, encode: Encode | Attend) -> bytes:
    """Returns StableHLO of all steps, for any number of rows, tokens, queries and items."""
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
    """Returns StableHLO from any number of text vectors to rows of the table."""
    leaves, structure = jax.tree.flatten(weights)

    def rows(weights: list[Array], text: Array) -> Array:
        scaled = text * engine.text_scale
        return trained.rows_of_text(config, jax.tree.unflatten(structure, weights), scaled)

    (n,) = jax_export.symbolic_shape("n")
    return _serialized(rows, leaves, jax.ShapeDtypeStruct((n, engine.text_width), "float32"))


def _serialized(function: Callable[..., Any], leaves: list[Array], *arguments: Any) -> bytes:
    shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
    with _no_source_lines():
        program = jax_export.export(jax.jit(function), platforms=PLATFORMS)(shapes, *arguments)
        return bytes(program.serialize())


@contextlib.contextmanager
def _no_source_lines() -> Iterator[None]:
    """Keeps the paths of source files out of the programs that are traced meanwhile."""
    option = "jax_traceback_in_locations_limit"
    before = jax.config.values[option]
    jax.config.update(option, 0)
    try:
        yield
    finally:
        jax.config.update(option, before)


def _digests(path: pathlib.Path) -> dict[str, str]:
    """Returns the SHA-256 of each file below ``path``, by its relative name."""
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return {
        file.relative_to(path).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }
