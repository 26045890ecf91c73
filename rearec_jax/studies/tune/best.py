"""Writes best.py: the best candidate as a configuration file like any other."""

from collections.abc import Mapping
import pathlib
from typing import Any

from rearec_jax import config as config_lib
from rearec_jax.config.compare import flattened
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
    """Writes the candidate as a configuration file; ``text`` follows the docstring's first line."""
    write_config(path, candidate.options, f"The best of a search: {candidate.label}.", text)


def write_config(path: pathlib.Path, options: Mapping[str, Any], title: str, text: str) -> None:
    """Writes a configuration file that sets every option that is not at its default.

    It is written whole or not at all; its docstring has the title and the text.
    """
    default = flattened(config_lib.default().to_dict())
    lines = [
        f"    options.{name} = {value!r}"
        for name, value in flattened(options).items()
        if value != default[name]
    ]
    filled = _TEMPLATE.format(title=_quoted(title), text=_quoted(text), lines="\n".join(lines))
    write_whole(path, filled)


def _quoted(text: str) -> str:
    """Returns the text escaped so that it may stand in a docstring."""
    return text.replace("\\", "\\\\").replace('"""', "'''")
