"""Stories of single users: what they had, what each step recommends, where the target ranks."""

from typing import Any

import numpy as np

from rearec_jax.config import AnalysisConfig
from rearec_jax.data.interactions import Interactions
from rearec_jax.errors import UserError
from rearec_jax.evaluation.rank_file import UserRanks
from rearec_jax.studies.analysis.model_pass import Observations

SHOWN = 5  # items of a list
Chosen = tuple[int, str]  # the row in the ranks of the example that a story is about, and why


def choose(ranks: UserRanks, options: AnalysisConfig) -> list[Chosen]:
    """Chooses the examples that stories are about.

    They are those of ``story_users``. Where there are none, they are the one whose target rises
    most from step 0 to the final representation (in the ratio of ranks), the one whose target falls
    most, and some drawn at random. A story that was looked for is no evidence, so each story says
    why it was chosen.

    Raises:
        UserError: one of ``story_users`` has no test example.
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
    chosen: list[Chosen] = []
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
    chosen: Chosen, observed: Observations, data: Interactions, ranks: UserRanks, longest: int
) -> dict[str, Any]:
    """Returns a story: the history, the target, and each representation's list and rank.

    The history is the last ``longest`` items before the target, oldest first.
    """
    row, why = chosen
    example = int(observed.examples[row])
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
            for name, listed in zip(observed.names, observed.lists[row], strict=True)
        ],
    }


def _item(data: Interactions, item: int) -> dict[str, Any]:
    """Returns an item's raw id, and its title where there is one."""
    title = None if data.item_text is None else data.item_text[item]
    return {"id": data.item_ids[item], "title": title}
