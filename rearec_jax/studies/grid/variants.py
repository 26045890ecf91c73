"""Options that a grid varies, and ready studies: which methods, which values.

An option is varied only for the methods that read it: `base` has no steps, so it runs once.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import itertools
import pathlib

from rearec_jax.errors import UserError
from rearec_jax.methods import METHODS, in_paper, reading

AS_GIVEN = "as_given"  # the place of what reads none of the varied options


@dataclasses.dataclass(frozen=True)
class Study:
    """What is run: every combination of the varied options' values, for each method."""

    methods: tuple[str, ...]
    vary: Mapping[str, tuple[str, ...]]


STUDIES = {
    "depth": Study(tuple(METHODS), {"method.steps": ("1", "2", "3", "4", "5")}),
    "kl_weight": Study(
        reading("method.kl_weight"),
        {"method.kl_weight": ("0", "0.001", "0.01", "0.05", "0.1", "1")},
    ),
    "temperature": Study(
        reading("method.temperature_decay"),
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
    """{"method.steps": ("1", "2")} of ["method.steps=1,2"].

    Args:
        fixed: options that something else sets.
        flag: what the messages call it.

    Raises:
        UserError: another form, no values, or an option that is fixed or named twice.
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
    """All combinations of the options that the method reads; one empty one if it reads none."""
    read = {name: vary[name] for name in vary if method in reading(name)}
    choices = [[(name, value) for value in values] for name, values in read.items()]
    return list(itertools.product(*choices))


def place(variant: Variant, root: pathlib.Path) -> str:
    """Its directory below the root: method.steps=3, with commas between several.

    Options are sorted, as their order changes no result; a directory of another order is kept.
    """
    pairs = sorted(f"{name}={value}" for name, value in variant)
    name = ",".join(pairs) or AS_GIVEN
    if len(pairs) < 2 or not root.is_dir() or (root / name).exists():
        return name
    others = [path.name for path in root.iterdir() if sorted(path.name.split(",")) == pairs]
    return min(others, default=name)


def is_place(name: str) -> bool:
    """Is this the directory of a variant?"""
    return name == AS_GIVEN or "=" in name


def names(place_name: str) -> set[str]:
    """The options that the directory of a variant names."""
    return {pair.partition("=")[0] for pair in place_name.split(",") if "=" in pair}
