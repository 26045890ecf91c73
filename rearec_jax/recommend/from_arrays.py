"""Makes the model of an export without its programs: from its arrays and its options."""

from collections.abc import Sequence
import functools
from typing import Any

import jax
from jaxtyping import Array, PyTree

from rearec_jax import config as config_lib
from rearec_jax.errors import UserError
from rearec_jax.models import backbones
from rearec_jax.recommend import trained
from rearec_jax.recommend.from_export import Contents
from rearec_jax.recommend.from_run import Run
from rearec_jax.recommend.manifest import MANIFEST, WEIGHTS
from rearec_jax.recommend.recommender import Recommender


def run_of(contents: Contents) -> Run:
    """Makes the model of an export with the code of training; its programs are not read.

    Raises:
        UserError: the export is so old that it does not record its options, or they are not those
            of its arrays.
    """
    manifest, file = contents.manifest, contents.path / MANIFEST
    facts = manifest.model
    if manifest.options is None or facts.text_scale is None:
        raise UserError(
            f"{file} is older than the options that make a model from its arrays; export its run"
            " again: --mode=export --workdir=RUN --output=DIR"
        )
    text = jax.ShapeDtypeStruct((1, facts.text_width), "float32") if facts.text_width else None
    try:
        config = config_lib.resolve(manifest.options)
        model = backbones.build(config, manifest.items)
        drawn = functools.partial(backbones.initialise, model)
        wanted = jax.eval_shape(drawn, jax.random.key(0), text)
        encoder = trained.encoder_weights(wanted)
        variables = _filled(encoder, manifest.weights, contents.weights)
        if text:
            items = trained.item_encoder_weights(config, wanted)
            found = _filled(items, manifest.row_weights, contents.row_weights)["params"]["items"]
            variables["params"]["items"] = {"text": found} if config.model.item_ids else found
    except UserError as error:
        raise UserError(f"{file}: {error}; export the model again") from error
    table = trained.ItemTable(contents.table, facts.text_width, facts.text_scale)
    engine = trained.engine_of_table(config, variables, table)
    return Run(config, variables, Recommender(engine, contents.items, samples=contents.samples))


def named(tree: PyTree) -> dict[str, Any]:
    """Returns the leaf of each file name, in the order of the tree's leaves."""
    pairs = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {
        f"{WEIGHTS}/{jax.tree_util.keystr(path, simple=True, separator='.')}.npy": leaf
        for path, leaf in pairs
    }


def _filled(tree: PyTree, names: Sequence[str], arrays: list[Array]) -> Any:
    """Returns a tree of shapes with the arrays of these files in their place.

    Raises:
        UserError: the files or the shapes of the arrays are others.
    """
    wanted = {name: leaf.shape for name, leaf in named(tree).items()}
    there = {name: array.shape for name, array in zip(names, arrays, strict=True)}
    for name in sorted(wanted.keys() | there.keys()):
        if wanted.get(name) != there.get(name):
            raise UserError(
                f"{name} has the shape {there.get(name)}, by the options it is {wanted.get(name)}"
            )
    return jax.tree.unflatten(jax.tree.structure(tree), arrays)
