"""Single users, in words: what they had, what each step would recommend, where the target ranks."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Int
import numpy as np

from rearec_jax.config import AnalysisConfig
from rearec_jax.data.interactions import Interactions
from rearec_jax.errors import UserError
from rearec_jax.evaluation.rank_file import UserRanks

SHOWN = 5  # items of a list


def choose(ranks: UserRanks, options: AnalysisConfig) -> list[tuple[int, str]]:
    """Rows of ``ranks`` and why each was chosen.

    Without ``story_users``: the target that rises most from step 0 to the final representation, the
    one that falls most (in ratio of ranks), and some drawn at random. A story that was looked for
    is no evidence, so it says that it was.

    Raises:
        UserError: a name that is no user of the test split.
    """
    named = options.story_users
    if named:
        users = ranks.users.to_list()
        unknown = [name for name in named if name not in users]
        if unknown:
            raise UserError(
                f"analysis.story_users: {unknown[0]!r} has no test example; a user is {users[0]!r}"
            )
        return [(users.index(name), "named") for name in named]
    chosen: list[tuple[int, str]] = []
    if ranks.steps > 1:
        gain = np.log(ranks.by_step[:, 0]) - np.log(ranks.final)
        if gain.max() > 0:
            chosen.append((int(gain.argmax()), "most improved"))
        if gain.min() < 0:
            chosen.append((int(gain.argmin()), "most worsened"))
    rng = np.random.default_rng(options.seed)
    rows = rng.permutation(len(ranks.final))[: options.random_stories]
    return chosen + [(int(row), "random") for row in rows]


def tell(
    row: int,
    why: str,
    data: Interactions,
    example: int,
    ranks: UserRanks,
    names: Sequence[str],
    lists: Int[np.ndarray, "R k"],
    longest: int,
) -> dict[str, Any]:
    """One story: history (the last ``longest`` items, oldest first), target, lists and ranks."""
    user = int(np.searchsorted(data.offsets, example, side="right")) - 1
    history = data.items[max(int(data.offsets[user]), example - longest) : example]
    target = int(data.items[example])
    seen = set(data.items[data.offsets[user] : example].tolist())
    named = ranks.named()
    return {
        "user": data.user_ids[user],
        "chosen": why,
        "history": [_item(data, int(item)) for item in history],
        "history_length": int(example - data.offsets[user]),
        "target": _item(data, target),
        "steps": [
            {
                "representation": name,
                "target_rank": int(named[name][row]) if name in named else None,
                "top": [
                    _item(data, int(item)) | {"target": item == target, "seen": int(item) in seen}
                    for item in listed[:SHOWN].tolist()
                    if item < data.num_items
                ],
            }
            for name, listed in zip(names, lists, strict=True)
        ],
    }


def _item(data: Interactions, item: int) -> dict[str, Any]:
    """Raw id, and the title where there is one."""
    title = None if data.item_text is None else data.item_text[item]
    return {"id": data.item_ids[item], "title": title}
