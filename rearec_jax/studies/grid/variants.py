"""The options that a grid varies, and ready studies with their methods and values.

An option is varied only for the methods that read it: `base` has no steps, so it runs once.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import itertools
import pathlib

from rearec_jax.errors import UserError
from rearec_jax.methods import STUDIED, in_paper, reading

AS_GIVEN = "as_given"  # the directory of methods that read none of the varied options


@dataclasses.dataclass(frozen=True)
class Study:
    """A study: every combination of the varied options' values, for each method."""

    methods: tuple[str, ...]
    vary: Mapping[str, tuple[str, ...]]  # the values of each option that is varied


def _studied(option: str) -> tuple[str, ...]:
    return tuple(name for name in reading(option) if name in STUDIED)


STUDIES = {
    "depth": Study(STUDIED, {"method.steps": ("1", "2", "3", "4", "5")}),
    "kl_weight": Study(
        _studied("method.kl_weight"),
        {"method.kl_weight": ("0", "0.001", "0.01", "0.05", "0.1", "1")},
    ),
    "temperature": Study(
        _studied("method.temperature_decay"),
        {
            "method.temperature": ("0.5", "1", "2", "5"),
            "method.temperature_decay": ("1", "1.2", "1.5", "2"),
        },
    ),
    "ablation": Study(
        in_paper(),
        {"method.kl_weight": ("0", "0.01"), "method.contrastive_weight": ("0", "1")},
    ),
}

Variant = tuple[tuple[str, str], ...]  # (option, value), ...


def parse_vary(
    pairs: Sequence[str], fixed: Sequence[str], flag: str = "--vary"
) -> dict[str, tuple[str, ...]]:
    """Reads options with their values: {"method.steps": ("1", "2")} of ["method.steps=1,2"].

    Messages call the flag ``flag``. The options ``fixed`` are set by something else.

    Raises:
        UserError: a pair has another form or no values, or its option is set twice.
    """
    vary: dict[str, tuple[str, ...]] = {}
    for pair in pairs:
        name, equals, text = pair.removeprefix("config.").partition("=")
        values = tuple(dict.fromkeys(filter(None, map(str.strip, text.split(",")))))
        if not equals or not name or not values:
            raise UserError(f"{flag}={pair} must have the form {flag}=method.steps=1,2,3")
        if name in vary or name in fixed:
            raise UserError(f"{flag}={pair}: {name} is set twice; set it in one place")
        if any("/" in value for value in values):
            raise UserError(f"{flag}={pair}: values name directories and must not hold '/'")
        vary[name] = values
    return vary


def variants(method: str, vary: Mapping[str, Sequence[str]]) -> list[Variant]:
    """Returns all combinations of the options that a method reads; one empty if it reads none."""
    read = {name: vary[name] for name in vary if method in reading(name)}
    choices = [[(name, value) for value in values] for name, values in read.items()]
    return list(itertools.product(*choices))


def directory_name(variant: Variant, root: pathlib.Path) -> str:
    """Returns the name of a variant's directory: method.steps=3, with commas between several.

    Options are sorted, as their order changes no result; a directory below ``root`` that has them
    in another order is kept.
    """
    pairs = sorted(f"{name}={value}" for name, value in variant)
    name = ",".join(pairs) or AS_GIVEN
    if len(pairs) < 2 or not root.is_dir() or (root / name).exists():
        return name
    others = [path.name for path in root.iterdir() if sorted(path.name.split(",")) == pairs]
    return min(others, default=name)


def is_directory_name(name: str) -> bool:
    """Says whether a name is that of a variant's directory."""
    return name == AS_GIVEN or "=" in name


def names(directory: str) -> set[str]:
    """Returns the options that the name of a variant's directory contains."""
    return {pair.partition("=")[0] for pair in directory.split(",") if "=" in pair}
