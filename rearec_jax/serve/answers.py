"""Answers POST /recommend and /explain without HTTP: from a checked body to the fields.

Every raw id of a body is looked up here, once; all that follows is in dense ids.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rearec_jax.errors import UserError, shown
from rearec_jax.recommend.histories import Histories, dense_set, latest, of_ids
from rearec_jax.recommend.recommender import Options
from rearec_jax.recommend.results import POPULARITY, Recommendation, Step
from rearec_jax.serve.bodies import ExplainBody, RecommendBody
from rearec_jax.serve.limits import MOST_EXCLUDED
from rearec_jax.serve.queues import Workers
from rearec_jax.serve.warm_model import BatchedQuery, Served, SingleQuery, TopItems, facts


async def recommended(served: Served, body: RecommendBody, workers: Workers) -> dict[str, Any]:
    """Returns the fields of the answer to POST /recommend.

    Raises:
        UserError: an id or an option is not one of the model's.
        Full: too many histories wait.
    """
    histories, options, depth = _dense(served, body, body.histories)
    of_users = [histories.of_user(user) for user in range(len(histories))]
    out = [_excluded(items, options) for items in of_users]
    # The histories of a request all share batches or are all computed one by one, because a queue
    # takes either all of a request or nothing (`Workers.submit`).
    is_shared = options.candidates is None and max(map(len, out), default=0) <= MOST_EXCLUDED
    results: list[Any] = [None] * len(histories)
    queries: list[BatchedQuery | SingleQuery | None] = []
    for user, items in enumerate(of_users):
        if not len(items) and options.candidates is None:
            results[user] = served.most_popular(options.k, out[user])
            queries.append(None)
        elif is_shared:
            queries.append(BatchedQuery(served.seen(items), out[user], options.k, depth))
        else:
            queries.append(SingleQuery(histories.only(user), options))
    results = await workers.submit(served, queries, results)
    return {
        "model": served.name,
        "results": [
            _top_items(one, depth)._asdict() | {"unknown": unknown}
            for one, unknown in zip(results, histories.unknown, strict=True)
        ],
    }


async def explained(served: Served, body: ExplainBody, workers: Workers) -> dict[str, Any]:
    """Returns the fields of the answer to POST /explain; raises as ``recommended``."""
    history, options, depth = _dense(served, body, [body.history])
    (found,) = await workers.submit(served, [SingleQuery(history, options)], [None])
    named, explanation = facts(served), _explanation(found, depth)
    seen = latest(history, served.recommender.engine.seen).items.tolist()
    return {
        "model": served.name,
        "method": named["method"],
        "backbone": named["backbone"],
        "by": found.by,
        "unknown": found.unknown,
        "history": [{"id": served.ids[n], "title": served.titles[n]} for n in seen],
        **explanation,
    }


class _Query(NamedTuple):
    """A request in dense ids.

    histories: The histories.
    options:   The options, with the lists after every number of steps.
    depth:     The number of reasoning steps whose list is the answer.
    """

    histories: Histories
    options: Options
    depth: int


def _dense(
    served: Served, body: RecommendBody | ExplainBody, histories: Sequence[Sequence[str]]
) -> _Query:
    """Looks up every id of a request.

    Raises:
        UserError: an id or an option is not one of the model's.
    """
    items, most = served.recommender.items, served.recommender.engine.steps
    depth = most if body.steps is None else body.steps
    if depth > most:
        raise UserError(
            f"steps is {shown(depth)}; it must lie between 0 and the {most} that the model was"
            " trained with"
        )
    dense, chosen = of_ids(histories, items, body.unknown), body.candidates
    options = Options(
        k=body.k,
        exclude_seen=body.exclude_seen,
        exclude=dense_set(body.exclude, items, "exclude") if body.exclude else None,
        candidates=None if chosen is None else dense_set(chosen, items, "candidates"),
        explain=True,
    )
    return _Query(dense, options, depth)


def _excluded(history: np.ndarray, options: Options) -> set[int]:
    """Returns the items that must not be in the list of a history."""
    out = set() if options.exclude is None else set(options.exclude.tolist())
    return out | set(history.tolist()) if options.exclude_seen else out


def _top_items(found: TopItems | Recommendation, depth: int) -> TopItems:
    if isinstance(found, TopItems):
        return found
    one = found.steps[depth] if found.steps else found
    return TopItems(list(one.ids), list(one.scores), list(one.titles), found.by)


def _explanation(found: Recommendation, depth: int) -> dict[str, Any]:
    steps = found.steps[: depth + 1]
    if found.by == POPULARITY:
        steps = (Step(0, found.ids, found.scores, found.titles, (), ()),)
    listed = {raw for step in steps for raw in step.ids}
    return {
        "steps": steps,
        "ranks": {raw: ranks[: depth + 1] for raw, ranks in found.ranks.items() if raw in listed},
    }
