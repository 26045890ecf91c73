"""Measures how the targets' ranks move from step to step, and how often steps disagree."""

import itertools

import numpy as np
import polars as pl

from rearec_jax.evaluation.rank_file import FINAL, UserRanks

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
CUTOFF = 10


def movements(ranks: UserRanks) -> pl.DataFrame:
    """Returns the shares of the targets that each step moves up, leaves and moves down.

    A row compares a pair of representations: each step with the one before it, and each step and
    the final representation with step 0. ``mean_log2_gain`` is the mean of
    log2(rank before / rank after), which is 1 where ranks halve.
    """
    named = ranks.named()
    names = list(named)
    pairs = [(a, b) for a, b in itertools.pairwise(names) if b != FINAL]
    pairs += [(names[0], name) for name in names[1:] if (names[0], name) not in pairs]
    rows = []
    for before, after in pairs:
        one, other = named[before].astype(np.int64), named[after].astype(np.int64)
        rows.append(
            {
                "from": before,
                "to": after,
                "improved": float((other < one).mean()),
                "same": float((other == one).mean()),
                "worsened": float((other > one).mean()),
                "mean_log2_gain": float((np.log2(one) - np.log2(other)).mean()),
            }
        )
    return pl.DataFrame(rows)


def quantiles(ranks: UserRanks) -> pl.DataFrame:
    """Returns the ranks that 5, 25, 50, 75 and 95 % of the targets reach or surpass.

    The table has a row for each representation.
    """
    rows = []
    for name, own in ranks.named().items():
        found = np.quantile(own, QUANTILES, method="higher")
        columns = {f"q{round(100 * q)}": int(v) for q, v in zip(QUANTILES, found, strict=True)}
        rows.append({"representation": name, **columns})
    return pl.DataFrame(rows)


def disagreement(ranks: UserRanks) -> pl.DataFrame:
    """Returns how often two representations differ about the target, a row a pair.

    ``rank`` is the share of the examples whose ranks differ, ``hit@10`` that where one of the two
    has the target among the first 10 and the other does not, and ``only_second`` that where only
    the second has it.
    """
    named = list(ranks.named().items())
    rows = []
    for number, (first, one) in enumerate(named):
        for second, other in named[number + 1 :]:
            hit, other_hit = one <= CUTOFF, other <= CUTOFF
            rows.append(
                {
                    "first": first,
                    "second": second,
                    "rank": float((one != other).mean()),
                    f"hit@{CUTOFF}": float((hit != other_hit).mean()),
                    "only_second": float((~hit & other_hit).mean()),
                }
            )
    return pl.DataFrame(rows)
