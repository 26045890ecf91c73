"""The methods of reasoning, one file each, gathered in one dict.

Nothing else in the package names a method: what differs between them is asked of the value.
"""

from rearec_jax.methods import base, erl, lares, mancar, naive, plr, prl, recrec, router, rpe
from rearec_jax.methods.method import Method

METHODS: dict[str, Method] = {
    "base": base.METHOD,
    "naive": naive.METHOD,
    "rpe": rpe.METHOD,
    "erl": erl.METHOD,
    "prl": prl.METHOD,
    "mancar": mancar.METHOD,
    "lares": lares.METHOD,
    "plr": plr.METHOD,
    "recrec": recrec.METHOD,
    "router": router.METHOD,
}
BASELINE = "base"  # the method that all others are compared with
STUDIED = ("base", "naive", "rpe", "erl", "prl")  # in the studies of ReaRec's paper


def reading(option: str) -> tuple[str, ...]:
    """Returns the names of the methods that read an option, such as "method.kl_weight"."""
    if option == "method.steps":
        return tuple(name for name, method in METHODS.items() if method.reasons)
    some = tuple(name for name, method in METHODS.items() if option in method.options)
    return some or tuple(METHODS)


def in_paper() -> tuple[str, ...]:
    """Returns the names of the methods that are rows of the paper's tables."""
    return tuple(name for name, method in METHODS.items() if method.in_paper)
