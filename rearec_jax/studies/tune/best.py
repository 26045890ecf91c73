"""Writes best.py: the best candidate as a configuration file like any other."""

from collections.abc import Iterator, Mapping
import pathlib
from typing import Any

from rearec_jax import config as config_lib
from rearec_jax.run.workdir import write_whole
from rearec_jax.studies.tune.space import Candidate

_TEMPLATE = '''"""{title}

{text}
"""

from ml_collections import config_dict

from rearec_jax import config


def get_config() -> config_dict.ConfigDict:
    options = config.default()
{lines}
    return options
'''


def write_best(path: pathlib.Path, candidate: Candidate, text: str) -> None:
    """Writes a configuration file that sets every option that is not at its default.

    Args:
        path: the path of the file, which is written whole or not at all.
        candidate: the candidate.
        text: the file's docstring after its first line.
    """
    lines = [f"    options.{name} = {value!r}" for name, value in _changes(candidate.options)]
    title = f"The best of a search: {candidate.label}."
    filled = _TEMPLATE.format(title=_quoted(title), text=_quoted(text), lines="\n".join(lines))
    write_whole(path, filled)


def _changes(options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yields name and value of every option not at its default, such as ("train.epochs", 3)."""
    yield from _different(options, config_lib.default().to_dict(), "")


def _different(
    options: Mapping[str, Any], default: Mapping[str, Any], prefix: str
) -> Iterator[tuple[str, Any]]:
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _different(value, default[name], f"{prefix}{name}.")
        elif value != default[name]:
            yield prefix + name, value


def _quoted(text: str) -> str:
    """Returns the text escaped so that it may stand in a docstring."""
    return text.replace("\\", "\\\\").replace('"""', "'''")
