"""The search space: options, their values, and the order in which combinations are tried."""

from collections.abc import Mapping, Sequence
import dataclasses
import itertools
import math
from typing import Any

from ml_collections import config_dict
import numpy as np
from scipy.stats import qmc

from rearec_jax import config as config_lib
from rearec_jax.config import Config, command_line
from rearec_jax.errors import UserError
from rearec_jax.methods import METHODS, reading
from rearec_jax.studies.grid.variants import parse_vary

Values = Mapping[str, tuple[str, ...]]  # option -> its values, as text
Combination = tuple[tuple[str, str], ...]  # (option, value), ...

LARGEST = 50_000  # combinations of a space
REFUSED = {  # beginning of an option's name -> why it is nothing to choose by
    "data.": "candidates must be compared on the same data",
    "eval.": "candidates must be ranked by the same rules",
    "analysis.": "it changes no result",
    "mesh.": "it changes no result",
    "seed": "the best of several seeds is luck; tune with one, and train the best with others",
    "train.epochs": "it is the budget that the search deals out",
    "train.start_from": "candidates start anew",
    "train.max_steps": "it is the budget that the search deals out",
}
COMMON: Values = {
    "train.learning_rate": ("0.0003", "0.001", "0.003"),
    "model.dropout": ("0.2", "0.35", "0.5"),
}
COSINE: Values = {"method.temperature": ("0.03", "0.07", "0.15", "0.3")}


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One combination of options."""

    number: int  # the candidate's number; 0 is the configuration as it was given
    values: Combination  # the options that the search has changed, with their values as text
    options: Mapping[str, Any]  # all options, before they are resolved
    config: Config  # all options, resolved

    @property
    def name(self) -> str:
        """The name of the candidate's directory."""
        return f"{self.number:04d}"

    @property
    def label(self) -> str:
        """The options that the search has changed, for people to read."""
        return " ".join(f"{name}={value}" for name, value in self.values) or "as given"


def group_of(config: Config) -> Config:
    """Returns a configuration that is the same for candidates that may share a compiled update.

    Numbers that are arguments of the update are 1; a weight of 0 stays 0, as its term is not in
    the update at all.
    """
    method = dataclasses.replace(
        config.method,
        temperature=1.0,
        temperature_decay=1.0,
        noise=1.0,
        kl_weight=float(config.method.kl_weight != 0),
        contrastive_weight=float(config.method.contrastive_weight != 0),
    )
    train = dataclasses.replace(config.train, learning_rate=1.0)
    return dataclasses.replace(config, method=method, train=train)


def default_space(config: Config) -> dict[str, tuple[str, ...]]:
    """Returns the default space: what is worth a trial for the configuration's method.

    It holds half and double the configuration's width where the heads divide them.
    """
    width, heads = config.model.width, config.model.heads
    widths = tuple(str(w) for w in (width // 2, width, 2 * width) if w and w % heads == 0)
    space = {"model.width": widths, **COMMON, **METHODS[config.method.name].search}
    if config.model.similarity == "cosine":
        space |= COSINE
    return space


def read_space(pairs: Sequence[str], arguments: Sequence[str], config: Config) -> Values:
    """Reads the space of ``--space=OPTION=VALUES ...``; the default one where there is none.

    What the ``arguments`` (``--config=FILE --config.name=value ...``) set is not searched.

    Raises:
        UserError: another form, or an option that is set elsewhere, unknown, not read by the
            method, or nothing to choose by.
    """
    fixed = [a.lstrip("-").removeprefix("config.").partition("=")[0] for a in arguments]
    if not pairs:
        return {name: v for name, v in default_space(config).items() if name not in fixed}
    space = dict(sorted(parse_vary(pairs, fixed, "--space").items()))  # however they are given
    methods = space.get("method.name", (config.method.name,))
    for name in space:
        why = next((why for start, why in REFUSED.items() if name.startswith(start)), None)
        if why is not None:
            raise UserError(f"--space={name}: {why}; leave it out")
        if not set(methods) & set(reading(name)):
            raise UserError(
                f"--space={name}: method.name={', '.join(methods)} does not read it; leave it out"
                f" or choose method.name={' or '.join(reading(name))}"
            )
    return space


def candidates(
    space: Values,
    options: config_dict.ConfigDict,
    arguments: Sequence[str],
    seed: int,
) -> list[Candidate]:
    """Makes the candidates: the given configuration, then the combinations of the space.

    A method's combinations differ only in options that it reads. The order is that of Halton
    points, which are of low discrepancy: any beginning of it covers the space evenly.

    Raises:
        UserError: a value of the wrong type or out of range, or too many combinations.
    """
    given = config_lib.resolve(options)
    found = [Candidate(0, (), options.to_dict(), given)]
    typed = {(n, v): _typed(arguments, n, v) for n, values in space.items() for v in values}
    seen: set[Config] = {given}
    for combination in _order(space, seed):
        kept = _read(combination, given.method.name)
        changed = _with_values(options, {name: typed[name, value] for name, value in kept})
        try:
            config = config_lib.resolve(changed)
        except UserError as error:
            raise UserError(f"--space: {error}") from error
        if config not in seen:
            seen.add(config)
            found.append(Candidate(len(found), kept, changed, config))
    return found


def _read(combination: Combination, method: str) -> Combination:
    """Returns the part of a combination that its method reads."""
    method = dict(combination).get("method.name", method)
    return tuple((n, v) for n, v in combination if method in reading(n))


def _typed(arguments: Sequence[str], name: str, value: str) -> Any:
    """Returns the value as the command line would read it. Raises UserError, as that does."""
    try:
        options: Any = command_line.load([*arguments, f"--config.{name}={value}"])
    except UserError as error:
        raise UserError(f"--space={name}: {error}") from error
    for key in name.split("."):
        options = options[key]
    return options


def _with_values(options: config_dict.ConfigDict, values: Mapping[str, Any]) -> dict[str, Any]:
    changed = options.to_dict()
    for name, value in values.items():
        *groups, last = name.split(".")
        section = changed
        for group in groups:
            section = section[group]
        section[last] = value
    return changed


def _order(space: Values, seed: int) -> list[Combination]:
    """Returns every combination once, in the order of Halton points.

    Combinations that the points have missed come last, shuffled.
    """
    names, values = list(space), list(space.values())
    sizes = np.array([len(v) for v in values])
    count = math.prod(sizes.tolist())
    if count > LARGEST:
        raise UserError(f"--space has {count:,} combinations, more than {LARGEST:,}; name fewer")
    if not names:
        raise UserError("there is no option left to search; name some with --space=OPTION=VALUES")
    points = qmc.Halton(len(names), rng=np.random.default_rng(seed)).random(4 * count)
    drawn = [tuple(indices) for indices in (points * sizes).astype(int).tolist()]
    every = list(itertools.product(*map(range, sizes.tolist())))
    np.random.default_rng(seed).shuffle(every)
    order = dict.fromkeys([*drawn, *map(tuple, every)])
    return [
        tuple((name, v[i]) for name, v, i in zip(names, values, indices, strict=True))
        for indices in order
    ]
