"""Loads an export without its programs: its arrays and its options make the same model again."""

import pathlib
from typing import Any

from jaxtyping import Array

from rearec_jax import config as config_lib
from rearec_jax.errors import UserError
from rearec_jax.recommend import from_export, trained
from rearec_jax.recommend.from_run import Run
from rearec_jax.recommend.recommender import Recommender


def load_run(path: pathlib.Path) -> Run:
    """Makes the model of an export with the code of training; its programs are not read.

    Raises:
        UserError: the export is damaged, or so old that it does not record its options.
    """
    contents = from_export.read_contents(path)
    manifest = contents.manifest
    facts = manifest["model"]
    if "options" not in manifest or "text_scale" not in facts:
        raise UserError(
            f"{path / from_export.MANIFEST} is older than the options that make a model from its"
            " arrays; export its run again: --mode=export --workdir=RUN --output=DIR"
        )
    config = config_lib.resolve(manifest["options"])
    parameters = {"encoder": _tree(manifest["weights"], contents.weights)["encoder"]}
    if facts["text_width"]:
        text = _tree(manifest["row_weights"], contents.row_weights)["items"]
        parameters["items"] = {"text": text} if config.model.item_ids else text
    variables = {"params": parameters}
    table = trained.ItemTable(contents.table, facts["text_width"], facts["text_scale"])
    engine = trained.engine_of_table(config, variables, table)
    return Run(config, variables, Recommender(engine, contents.items, samples=contents.samples))


def _tree(names: list[str], arrays: list[Array]) -> dict[str, Any]:
    """Returns the parameters as a tree; the array weights/params.a.b.npy is ``tree[a][b]``."""
    tree: dict[str, Any] = {}
    for name, array in zip(names, arrays, strict=True):
        *parents, leaf = name.removesuffix(".npy").split(".")[1:]
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = array
    return tree
