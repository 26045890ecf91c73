"""POST /recommend and /explain, without HTTP: a checked body in, the answer's fields out."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rearec_jax.errors import UserError
from rearec_jax.recommend.histories import indices, of_ids
from rearec_jax.recommend.results import POPULARITY, Recommendation, Step
from rearec_jax.serve.bodies import ExplainBody, RecommendBody
from rearec_jax.serve.limits import SHARED
from rearec_jax.serve.queues import Workers
from rearec_jax.serve.warm_model import Alone, Best, Served, Together, facts


async def recommended(served: Served, body: RecommendBody, workers: Workers) -> dict[str, Any]:
    """The fields of POST /recommend's answer.

    Raises:
        UserError: an id or an option that the model does not have.
        Full: too many histories wait.
    """
    histories, depth, exclude = _checked(served, body, body.histories)
    results: list[Any] = [None] * len(body.histories)
    asked: list[Together | Alone | None] = []
    widest = 0
    for place, dense in enumerate(histories):
        excluded = exclude | set(dense.tolist()) if body.exclude_seen else exclude
        widest = max(widest, len(excluded))
        if not len(dense) and body.candidates is None:
            results[place] = served.most_popular(body.k, excluded)
            asked.append(None)
        else:
            asked.append(_together(served, dense, excluded, body.k, depth))
    # All of a request together, or each alone: see `Workers.submit`.
    if body.candidates is not None or widest > SHARED:
        asked = [
            one if one is None else _alone(served, dense, body)
            for one, dense in zip(asked, histories, strict=True)
        ]
    results = await workers.submit(served, asked, results)
    return {
        "model": served.name,
        "results": [
            _best(one, depth)._asdict() | {"unknown": unknown}
            for one, unknown in zip(results, _unknown(served, body.histories), strict=True)
        ],
    }


async def explained(served: Served, body: ExplainBody, workers: Workers) -> dict[str, Any]:
    """The fields of POST /explain's answer; raises as ``recommended``."""
    (dense,), depth, _ = _checked(served, body, [body.history])
    (found,) = await workers.submit(served, [_alone(served, dense, body)], [None])
    known, told = facts(served), _explanation(served, found, depth)
    (unknown,) = _unknown(served, [body.history])
    named = {name: known[name] for name in ("method", "backbone")}
    return {"model": served.name, **named, "by": found.by, "unknown": unknown, **told}


def _checked(
    served: Served, body: RecommendBody | ExplainBody, histories: Sequence[Sequence[str]]
) -> tuple[list[np.ndarray], int, set[int]]:
    """Dense histories, the depth, and what nobody gets."""
    items, most = served.recommender.items, served.recommender.engine.steps
    depth = most if body.steps is None else body.steps
    if depth > most:
        raise UserError(
            f"steps is {depth}; it must lie between 0 and the {most} that the model was trained"
            " with"
        )
    dense = of_ids(histories, items, body.unknown)
    exclude = set(indices(body.exclude, items, "exclude").tolist()) if body.exclude else set()
    if body.candidates is not None:
        indices(body.candidates, items, "candidates")
    return np.split(dense.items, dense.offsets[1:-1]) if histories else [], depth, exclude


def _together(
    served: Served, dense: np.ndarray, excluded: set[int], k: int, depth: int
) -> Together:
    out = np.fromiter(excluded, np.int32, len(excluded))
    return Together(served.seen(dense), out, k, depth)


def _alone(served: Served, dense: np.ndarray, body: RecommendBody | ExplainBody) -> Alone:
    history = [served.ids[n] for n in dense.tolist()]
    return Alone(history, body.k, body.exclude_seen, body.exclude, body.candidates)


def _best(found: Best | Recommendation, depth: int) -> Best:
    if isinstance(found, Best):
        return found
    one = found.steps[depth] if found.steps else found
    return Best(list(one.ids), list(one.scores), list(one.titles), found.by)


def _unknown(served: Served, histories: Sequence[Sequence[str]]) -> list[list[str]]:
    index = served.recommender.items.index
    return [[raw for raw in history if raw not in index] for history in histories]


def _explanation(served: Served, found: Recommendation, depth: int) -> dict[str, Any]:
    steps = found.steps[: depth + 1]
    if found.by == POPULARITY:
        steps = (Step(0, found.ids, found.scores, found.titles, (), ()),)
    listed = {raw for step in steps for raw in step.ids}
    return {
        "history": [{"id": raw, "title": served.title(raw)} for raw in _told(found, "history", ())],
        "steps": [_step(step) for step in steps],
        "ranks": {raw: own[: depth + 1] for raw, own in found.ranks.items() if raw in listed},
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "step": step.step,
        "ids": step.ids,
        "scores": step.scores,
        "titles": step.titles,
        "entered": step.entered,
        "left": step.left,
        **{name: _told(step, name) for name in ("effective_items", "top_share", "attention")},
    }


def _told(one: Recommendation | Step, name: str, otherwise: Any = None) -> Any:
    return getattr(one, name, otherwise)
