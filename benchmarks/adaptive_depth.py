"""What stopping early would give, were each user of a trained run to stop by a rule, as JSON.

    python -m benchmarks.adaptive_depth runs/prl --depths=0.5,1,1.5

No step is left out here: the states and ranks of all steps are computed once, and a rule chooses
one of them for each user. `rules`: a rule and its threshold, set on the validation split so that
users take so many steps on average, with the share of users and NDCG@20 on both splits. `fixed`:
the same number of steps for all users, which `eval.steps` gives already. `dealt`: the depths of a
rule dealt out among the users at random (its expectation), which a rule that chooses well exceeds.
`settled`: the share of users whose ten best items after a step are those after the last. Pairs of
numbers are of validation and test, and `error` is the standard error of a difference over users.
"""

import argparse
from collections.abc import Mapping
import functools
import json
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
import numpy as np

from benchmarks import generated
from rearec_jax.config import Config
from rearec_jax.data.interactions import TEST
from rearec_jax.evaluation.evaluator import Evaluator
from rearec_jax.evaluation.metrics import ndcg
from rearec_jax.losses.similarity import comparable
from rearec_jax.methods import METHODS
from rearec_jax.models.backbones import Backbone, Variables
from rearec_jax.models.reasoning import encode_and_reason
from rearec_jax.ops.scores import scores
from rearec_jax.training.restored import restore

LISTED = 10  # items of the lists that are compared
USERS = 64  # whose scores are in memory at once


class Split(NamedTuple):
    """The users of a split after every depth 0 .. K.

    ndcg:    NDCG@20 after each depth.
    settled: Whether the ten best items after each depth are those after the last, in any order.
    doubts:  For each rule how far a user is from stopping after each depth; inf: goes on for sure.
    """

    ndcg: Float[np.ndarray, "M S"]
    settled: Bool[np.ndarray, "M S"]
    doubts: Mapping[str, Float[np.ndarray, "M S"]]


def main() -> None:
    """Applies the rules to a run and prints one JSON object."""
    arguments = _arguments()
    run = restore(arguments.run, None)
    model, variables, config = run.model, run.variables, run.config
    splits = [
        _split(model, variables, config, evaluator)
        for evaluator in (run.validate, run.validate.of_split(TEST))
    ]
    valid = splits[0]
    wanted = [(rule, depth) for rule in valid.doubts for depth in arguments.depths]
    result = {
        "benchmark": "adaptive_depth",
        **generated.machine(),
        "data": config.data.name,
        "method": config.method.name,
        "width": config.model.width,
        "users": len(valid.ndcg),
        "settled": [_rounded(split.settled.mean(axis=0)) for split in splits],
        "fixed": [
            {"steps": depth, **_accuracy(splits, [np.full(len(s.ndcg), depth) for s in splits])}
            for depth in range(valid.ndcg.shape[1])
        ],
        "rules": [
            _rule(splits, rule, depth)
            for rule, depth in wanted
            if depth > _first(valid.doubts[rule])
        ],
    }
    print(json.dumps(result, indent=2))


def depths(doubt: Float[np.ndarray, "M S"], threshold: float) -> Int[np.ndarray, " M"]:
    """Returns the first depth of each user whose doubt is below the threshold; else the last."""
    stops = doubt < threshold
    stops[:, -1] = True
    return stops.argmax(axis=1)


def threshold_for(doubt: Float[np.ndarray, "M S"], mean: float) -> float:
    """Returns the least threshold, about, by which users take at most ``mean`` steps on average."""
    candidates = np.quantile(doubt[np.isfinite(doubt)], np.linspace(0, 1, 1001))
    low, high = 0, len(candidates) - 1
    while low < high:  # the higher the threshold, the fewer steps
        middle = (low + high) // 2
        if depths(doubt, candidates[middle]).mean() <= mean:
            high = middle
        else:
            low = middle + 1
    return float(candidates[low])


def _first(doubt: Float[np.ndarray, "M S"]) -> int:
    """Returns the first depth after which the rule can stop a user."""
    return int(np.isfinite(doubt).any(axis=0).argmax())


def _rule(splits: list[Split], rule: str, mean: float) -> dict[str, Any]:
    threshold = threshold_for(splits[0].doubts[rule], mean)
    chosen = [depths(split.doubts[rule], threshold) for split in splits]
    last = splits[0].ndcg.shape[1]
    shares = [np.bincount(own, minlength=last) / len(own) for own in chosen]
    dealt = [split.ndcg @ share for split, share in zip(splits, shares, strict=True)]
    own = [_at(split, depth) for split, depth in zip(splits, chosen, strict=True)]
    return {
        "rule": rule,
        "threshold": threshold,
        "steps": _means(chosen),
        "share": [_rounded(share) for share in shares],
        **_accuracy(splits, chosen),
        "dealt": {"ndcg": _means(dealt), **_difference(own, dealt)},
    }


def _accuracy(splits: list[Split], chosen: list[np.ndarray]) -> dict[str, list[float]]:
    """Returns NDCG@20 on each split, and its difference to the deepest step."""
    own = [_at(split, depth) for split, depth in zip(splits, chosen, strict=True)]
    return {"ndcg": _means(own), **_difference(own, [split.ndcg[:, -1] for split in splits])}


def _difference(ours: list[np.ndarray], theirs: list[np.ndarray]) -> dict[str, list[float]]:
    """Returns by how much we are better on each split, and the standard error of that."""
    differences = [one - other for one, other in zip(ours, theirs, strict=True)]
    errors = np.array([x.std() / np.sqrt(len(x)) for x in differences])
    return {"difference": _means(differences), "error": _rounded(errors)}


def _at(split: Split, depth: Int[np.ndarray, " M"]) -> Float[np.ndarray, " M"]:
    """Returns NDCG@20 of each user after its own number of steps."""
    return split.ndcg[np.arange(len(depth)), depth]


def _means(values: list[np.ndarray]) -> list[float]:
    return _rounded(np.array([x.mean() for x in values]))


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(x), 5) for x in values]


def _split(model: Backbone, variables: Variables, config: Config, evaluator: Evaluator) -> Split:
    """Computes what `Split` says by the model's representation after each depth."""
    method, similarity = METHODS[config.method.name], config.model.similarity
    table = evaluator.table(variables)
    ranked = comparable(table, similarity)

    compared = jax.jit(functools.partial(_compared, temperature=config.method.temperature))

    @jax.jit
    def vectors_of(batch: Any) -> Array:
        found = encode_and_reason(model, variables, table, batch, config.method.steps)
        return comparable(method.by_depth(found.states, found.weights), similarity)

    parts = []
    for batch, example, seen in evaluator.inputs():
        real = example >= 0
        vectors, targets = np.asarray(vectors_of(batch)), np.asarray(batch.targets)
        flat = vectors.reshape(-1, *vectors.shape[2:])
        flat, targets, seen = flat[real.reshape(-1)], targets[real], seen[real]
        for start in range(0, len(flat), USERS):
            block = slice(start, start + USERS)
            found = compared(*(_padded(x[block]) for x in (flat, targets, seen)), ranked)
            parts.append([np.asarray(part)[: len(targets[block])] for part in found])
    ranks, settled, change, margin, kl = map(np.concatenate, zip(*parts, strict=True))
    return Split(
        np.asarray(ndcg(ranks, 20)), settled, {"cosine": change, "margin": margin, "kl": kl}
    )


def _padded(array: np.ndarray) -> np.ndarray:
    return np.concatenate([array, np.repeat(array[:1], USERS - len(array), axis=0)])


def _compared(
    vectors: Float[Array, "M S D"],
    targets: Int[Array, " M"],
    seen: Int[Array, "M L"],
    ranked: Float[Array, "N D"],
    temperature: float,
) -> tuple[Array, ...]:
    """Compares the depths of users: ranks, settled lists, and the doubt of each rule."""
    users, depths, _ = vectors.shape
    hidden = jnp.zeros((users, len(ranked)), bool)
    hidden = hidden.at[jnp.arange(users)[:, None], seen].set(True, mode="drop")[:, None]
    found = jnp.where(hidden, -jnp.inf, scores(vectors, ranked))
    own = jnp.take_along_axis(found, targets[:, None, None], axis=2)
    ranks = (found >= own).sum(axis=2)
    # top_k is fast for matrices alone
    values, items = jax.lax.top_k(found.reshape(users * depths, -1), LISTED + 1)
    values = values.reshape(users, depths, -1)
    lists = jnp.sort(items.reshape(users, depths, -1)[..., :LISTED], axis=2)
    unit = comparable(vectors, "cosine")
    logs = jax.nn.log_softmax(found / temperature, axis=2)
    first = jnp.full((users, 1), jnp.inf)
    change = 1 - (unit[:, 1:] * unit[:, :-1]).sum(axis=2)
    change_of_logs = jnp.where(hidden, 0, logs[:, 1:] - logs[:, :-1])
    kl = (jnp.exp(logs[:, 1:]) * change_of_logs).sum(axis=2)
    return (
        ranks,
        (lists == lists[:, -1:]).all(axis=2),
        jnp.concatenate([first, change], axis=1),
        values[..., LISTED] - values[..., LISTED - 1],  # at most 0; far below 0: no doubt
        jnp.concatenate([first, kl], axis=1),
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="a work directory")
    parser.add_argument("--depths", default="0.5,1,1.5,2,3", help="steps of a user, on average")
    arguments = parser.parse_args()
    arguments.depths = [float(number) for number in arguments.depths.split(",")]
    return arguments


if __name__ == "__main__":
    main()
