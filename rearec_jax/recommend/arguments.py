"""Checks what callers of Python give: lists of ids of any kind, whole numbers, True or False."""

from collections.abc import Container, Iterable, Iterator, Mapping, Set
import math
import operator
from typing import Any

import numpy as np
import polars as pl

from rearec_jax.data.own_files import cells
from rearec_jax.errors import UserError, shown

# The type of an argument that is checked here. No type is written in its place, because whatever
# is given, a mistake is a sentence and not the exception of a type checker.
Given = Any


def elements(given: Given, name: str, wanted: str, in_order: bool = False) -> Iterator[Any]:
    """Returns an iterator over a list, a tuple, a generator, an array, or a column of a table.

    Args:
        given: the argument.
        name: its name in errors.
        wanted: the words for what it must be.
        in_order: whether it must have an order, which a set lacks.

    Raises:
        UserError: it is one value, a mapping or a whole table, of which the names of columns would
            be read.
    """
    kind = type(given)
    if kind is list:  # as nearly always; the checks of all else take longer than a short list
        return iter(given)
    is_table = hasattr(kind, "columns") or hasattr(kind, "column_names")
    is_one = isinstance(given, str | bytes | bytearray | Mapping) or (
        in_order and isinstance(given, Set)
    )
    if isinstance(given, pl.Series) and given.dtype == pl.Float32:
        given = given.to_numpy()  # so that what 32 bits may have rounded is known
    if not is_table and not is_one and isinstance(given, Iterable):
        try:
            return iter(given)
        except TypeError:  # an array without dimensions
            pass
    is_plain = given is None or isinstance(given, str | bytes | int | float | np.generic)
    what = shown(given) if is_plain else f"a {kind.__name__}"
    raise UserError(f"{name} is {what}; {wanted}")


def ids(given: Given, name: str, in_order: bool = False) -> list[str]:
    """Returns the raw ids of a list; raises UserError as ``elements``, and where one is none."""
    return _texts(elements(given, name, "it is a list of item ids", in_order), name)


def history_ids(given: Given, user: int, known: Container[str]) -> list[str]:
    """Returns the raw ids of a history; raises UserError as ``ids``.

    Args:
        given: the argument.
        user: its number among the histories.
        known: the ids of items, which need no other look: histories are many and long.
    """
    name = f"history {user}"
    wanted = "a history is a list of item ids, the oldest first; of one user give [history]"
    return _texts(elements(given, name, wanted, in_order=True), name, known)


def _texts(given: Iterator[Any], name: str, known: Container[str] = ()) -> list[str]:
    try:
        return [item if type(item) is str and item in known else id_text(item) for item in given]
    except ValueError as error:
        raise UserError(f"{name}: {error}") from error


def id_text(value: Given) -> str:
    """Returns an id as text: by the rule of users' files, and scalars of numpy, JAX and Arrow too.

    Raises:
        ValueError: it is missing (None, NaN or blank text), neither text nor an exact number, or no
            UTF-8.
    """
    try:
        text = str.__str__(cells.id_text(_python(value)))  # of an Enum its value
        text.encode()  # half of a surrogate pair is no text
    except UnicodeError as error:
        raise ValueError("an item id is not UTF-8 text") from error
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ValueError(
            f"the item id {shown(value)} is neither text nor an exact number"
        ) from error
    if not text.strip():
        raise ValueError(f"{shown(value)} is no item id")
    return text


def _python(value: Given) -> Any:
    """Returns the value of a scalar, of floats as NumPy's, and any other value as it is.

    Raises:
        TypeError: it holds a time or the like.
    """
    if value is np.ma.masked:
        return None
    if hasattr(value, "as_py"):  # of Arrow
        found = value.as_py()
        return np.float32(found) if str(value.type) == "float" and found is not None else found
    dtype = getattr(value, "dtype", None)
    if not isinstance(dtype, np.dtype) or value.shape != ():
        return value
    if dtype.kind not in "iufUSO":
        raise TypeError
    return np.asarray(value)[()] if dtype.kind == "f" else value.item()


def titles(given: Given) -> list[str | None]:
    """Returns the titles of items, None for missing ones; raises UserError where one is no text."""
    found: list[str | None] = []
    for number, title in enumerate(elements(given, "texts", "it is a list of titles", True)):
        if isinstance(title, float) and math.isnan(title):
            title = None
        if title is not None and not isinstance(title, str):
            raise UserError(f"texts[{number}] is {shown(title)}; a title is text or None")
        found.append(title)
    return found


def array(given: Given, name: str) -> np.ndarray:
    """Returns an array of 32-bit numbers; raises UserError where it holds anything else."""
    try:
        return np.asarray(given, np.float32)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name} is no array of numbers: {error}") from error


def whole_number(given: Given, name: str) -> int:
    """Returns a whole number of any type, such as numpy's, as an int.

    Raises:
        UserError: it is none: True, 2.0 or "2", for example.
    """
    try:
        if not isinstance(given, bool | np.bool_):
            return operator.index(given)
    except TypeError:
        pass
    raise UserError(f"{name}={shown(given)} must be a whole number, such as 2")


def yes_or_no(given: Given, name: str) -> bool:
    """Returns True or False; raises UserError for anything else, such as "false"."""
    if not isinstance(given, bool | np.bool_):
        raise UserError(f"{name}={shown(given)} must be True or False")
    return bool(given)
