"""Prepares the interactions of a configuration, and keeps them on disk for the next run."""

import dataclasses
import hashlib
import json
import logging
from pathlib import Path
from typing import NamedTuple

from jaxtyping import Bool, Int32, Int64
import numpy as np
import polars as pl

from rearec_jax.config import DataConfig
from rearec_jax.data import demo, raw_ids, ties
from rearec_jax.data.interactions import Interactions, parts, positions
from rearec_jax.data.own_files import filters, paths, readers, splits
from rearec_jax.data.own_files.gathering import GrowingArrays, Rows, gather
from rearec_jax.data.own_files.text import read_item_text
from rearec_jax.errors import UserError
from rearec_jax.run.files import directory_to_make, scratch, user_cache

FORMAT = 4  # raise it whenever the same files and options would give other arrays
_NOT_IN_RECIPE = ("name", "path", "times_path", "hint", "cache_dir", "item_text", "ties")
_NOT_IN_RECIPE += ("validation_path", "test_path", "item_features", "feature_columns")
_NOT_IN_RECIPE += ("feature_numbers",)


def prepare(config: DataConfig) -> Interactions:
    """Returns the data of ``config``: `prepared`, with tied targets as ``data.ties`` says.

    Raises:
        UserError: something is wrong with the files or options.
    """
    return ties.decided(prepared(config), config)


def prepared(config: DataConfig) -> Interactions:
    """Reads, filters and splits the data of ``config``, or loads the result of an earlier run.

    Prepared arrays are kept in ``cache_dir`` under a key of the files' content and the options;
    a kept result is memory-mapped (its arrays are read-only). A cache that is damaged or cannot be
    written costs a warning and time, no more. The demo is generated anew each time.

    Raises:
        UserError: something is wrong with the files or options.
    """
    if config.source == "demo":
        return _demo(config)
    if config.source == "tfds":
        return _tfds(config)
    directory = cache_directory(config) / _key(config)
    if directory.exists():
        try:
            return dataclasses.replace(Interactions.load(directory), name=config.name)
        except UserError as error:
            logging.warning("preparing the data again: %s", error)
    try:
        built = build(config)
    except OSError as error:
        raise UserError(
            f"data cannot be prepared in {scratch(config.cache_dir)}: {error.strerror or error};"
            " make room there, or name a directory of another disk in data.cache_dir"
        ) from error
    try:
        built.save(directory)
    except OSError as error:
        logging.warning("prepared data are not kept in %s (data.cache_dir): %s", directory, error)
        return built
    return dataclasses.replace(Interactions.load(directory), name=config.name)


def build(config: DataConfig) -> Interactions:
    """Reads, filters and splits a user's files: ``prepare`` without the cache."""
    room = scratch(config.cache_dir)
    rows = gather(filters.filter_ratings(readers.read_parts(config), config), room)
    chosen = _chosen(rows, *filters.kept(rows, config), room)
    del rows  # its files, which have no names, give their room back
    split = splits.assign(config, chosen.items, chosen.offsets, chosen.given)
    return Interactions(
        items=chosen.items,
        offsets=chosen.offsets,
        split=split.codes,
        timestamps=chosen.given.timestamps,
        user_ids=chosen.user_ids,
        item_ids=chosen.item_ids,
        item_text=read_item_text(config, chosen.item_ids) if config.item_text else None,
        name=config.name,
        training_lengths=split.training_lengths,
    )


class _Chosen(NamedTuple):
    """The interactions that are kept, in dense ids; the fields are those of `Interactions`."""

    items: Int32[np.ndarray, "total"]
    offsets: Int64[np.ndarray, "users_plus_1"]
    given: splits.Given
    user_ids: pl.Series
    item_ids: pl.Series


def _chosen(
    rows: Rows, keep: Bool[np.ndarray, "rows"], may_be_targets: Bool[np.ndarray, "users"], room: str
) -> _Chosen:
    """Puts users into the order of their raw ids, and leaves out what is not kept."""
    (of_user, _), (left, left_items) = rows.count(), rows.count(keep)
    users, user_ids = _ordered(rows.user_ids, left > 0)
    items, item_ids = _ordered(rows.item_ids, left_items > 0)
    dense = np.zeros(len(rows.item_ids), np.int32)
    dense[items] = np.arange(len(items))
    starts = (np.cumsum(of_user) - of_user)[users]
    others = {"timestamps": rows.timestamps, "split": rows.split}
    ends = np.append(0, np.cumsum(of_user[users]))
    with GrowingArrays(room) as arrays:
        for part, _ in parts(ends):
            local = ends[part.start : part.stop + 1] - ends[part.start]
            place = np.repeat(starts[part], np.diff(local)) + positions(local)
            place = place[keep[place]]
            arrays.append("items", dense[rows.items[place]])
            target_ok = rows.target_ok[place] & may_be_targets[rows.users[place]]
            arrays.append("target_ok", target_ok)
            for name, column in others.items():
                if column is not None:
                    arrays.append(name, column[place])
        done = arrays.finish()
    given = splits.Given(done.get("timestamps"), done.get("split"), done["target_ok"], user_ids)
    return _Chosen(done["items"], np.append(0, np.cumsum(left[users])), given, user_ids, item_ids)


def _ordered(
    raw: pl.Series, keep: Bool[np.ndarray, "n"]
) -> tuple[Int64[np.ndarray, "kept"], pl.Series]:
    """Returns which ids are kept, in the order of dense ids, and these raw ids."""
    places = np.flatnonzero(keep)
    places = places[raw_ids.order(raw.gather(places))]
    return places, raw.gather(places).cast(pl.String).alias("id")


def _demo(config: DataConfig) -> Interactions:
    if config.core or config.rating_above is not None or config.text_template:
        raise UserError(
            "data.core, data.rating_above and data.text_template have no meaning for"
            " data.source=demo; leave them at their defaults"
        )
    return demo.generate(config)


def _tfds(config: DataConfig) -> Interactions:
    """Loads a published data set; an option that would change its recipe is an error."""
    used = ("name", "source", "hint", "builder", "tfds_dir", "cache_dir", "malformed_share")
    used += ("ties", "item_features", "feature_columns", "feature_numbers")
    if config.builder == "yelp":
        used += ("path",)
    else:
        used += ("mirror", "download_dir")
    plain = dataclasses.asdict(DataConfig())
    given = dataclasses.asdict(config)
    changed = [f"data.{name}" for name in plain if name not in used and given[name] != plain[name]]
    if changed:
        raise UserError(
            f"{', '.join(changed)} {'has' if len(changed) == 1 else 'have'} no meaning for"
            f" data.builder={config.builder}, whose recipe and files are fixed"
            " (docs/data_sets.md); leave out what is set there"
        )
    from rearec_jax.data.published import builders  # 0.4 seconds that no other source needs

    return builders.load(config)


def cache_directory(config: DataConfig) -> Path:
    """Returns the directory of prepared arrays, whether or not it exists."""
    if not config.cache_dir:
        return user_cache()
    return directory_to_make(config.cache_dir, "data.cache_dir")


def _key(config: DataConfig) -> str:
    """Returns a key that changes with the files' content and with options that shape the result."""
    files = readers.files_of(config)
    recipe = dataclasses.asdict(config)
    for name in _NOT_IN_RECIPE:
        del recipe[name]
    recipe["format"] = FORMAT
    recipe["source_files"] = {name: list(map(_digest, group)) for name, group in files.items()}
    if config.item_text:
        recipe["text_file"] = _digest(paths.existing_file(config.item_text, "data.item_text"))
    text = json.dumps(recipe, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _digest(path: Path) -> tuple[str, ...]:
    """Returns a digest of the content, and the parts of the path that say how to read it."""
    with paths.on_disk(path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    member = path.name if paths.archive(path) else ""
    folders = json.dumps(paths.partition(path))
    return digest, paths.suffix(path), paths.packing(path), member, folders
