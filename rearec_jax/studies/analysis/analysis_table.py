"""Prints an analysis in a terminal: its main tables and one story."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from rearec_jax.studies.terminal import say, table

Rows = Sequence[Mapping[str, Any]]


def print_analysis(
    about: Mapping[str, Any], tables: Mapping[str, Any], stories: Sequence[Mapping[str, Any]]
) -> None:
    """Prints accuracy and lists by step, NDCG@10 by group, movements, and the first story.

    The tables are those of tables.json, ``about`` is one of them, and the stories of stories.json.
    """
    console = Console()
    title = f"{about['data']}  {about['method']} on {about['backbone']}"
    say(f"{title}, {about['examples']:,} test examples")
    console.print(_by_step(tables))
    for by, heading in (("by_history_length", "History"), ("by_popularity", "Popularity")):
        console.print(_by_group(tables[by], heading))
    for row in tables["movements"]:
        if row["from"] == "step 0" and row["same"] < 1:
            say(
                f"{row['from']} to {row['to']}: {row['improved']:.0%} of the targets rank better,"
                f" {row['worsened']:.0%} worse",
            )
    if stories:
        _tell(stories[0])


def _by_step(tables: Mapping[str, Any]) -> Table:
    """Returns the table of accuracy, entropy and lists of each representation."""
    headings = ("NDCG@10", "Recall@10", "Median rank", "Entropy", "Coverage", "Novelty")
    shown = table(("Step", *headings))
    medians = {row["representation"]: row["q50"] for row in tables["rank_quantiles"]}
    entropy = {row["representation"]: row["mean"] for row in tables["sharpness"]}
    listed = {row["representation"]: row for row in tables["list_statistics"]}
    last = tables["list_statistics"][-1]["representation"]
    for row in tables["accuracy_by_step"]:
        name = row["representation"]
        own = listed[name if name in listed else last]  # but for ERL, 'final' is the last step
        shown.add_row(
            name,
            f"{row['ndcg@10']:.4f}",
            f"{row['recall@10']:.4f}",
            f"{medians[name]:,}",
            f"{entropy[own['representation']]:.2f} bits",
            f"{own['coverage']:.1%}",
            f"{own['novelty']:.2f} bits",
        )
    for row in tables["in_hindsight"][: len(tables["best_step"]) > 1]:
        bound = (f"{row['ndcg@10']:.4f}", f"{row['recall@10']:.4f}")
        shown.add_row("best step in hindsight", *bound, "", "", "", "", style="dim")
    return shown


def _by_group(rows: Rows, heading: str) -> Table:
    """Returns the table of NDCG@10 with a row a group and a column a representation."""
    names = list(dict.fromkeys(row["representation"] for row in rows))
    shown = table((heading, "Examples", *(f"NDCG@10 {name}" for name in names)))
    for number in dict.fromkeys(row["group"] for row in rows):
        own = [row for row in rows if row["group"] == number]
        low, high = own[0]["lowest"], own[0]["highest"]
        values = {row["representation"]: f"{row['ndcg@10']:.4f}" for row in own}
        span = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        shown.add_row(span, f"{own[0]['examples']:,}", *(values[name] for name in names))
    return shown


def _tell(story: Mapping[str, Any]) -> None:
    say(f"User {story['user']} ({story['chosen']})")
    recent = story["history"][-8:]
    more = "… " if story["history_length"] > len(recent) else ""
    say(f"  had: {more}{', '.join(map(_name, recent))}")
    say(f"  next: {_name(story['target'])}")
    for step in story["steps"]:
        items = ", ".join(("→ " if each["target"] else "") + _name(each) for each in step["top"])
        rank = step["target_rank"]
        ranked = "" if rank is None else f" (target ranks {rank:,})"
        say(f"  {step['representation']}{ranked}: {items}")


def _name(item: Mapping[str, Any]) -> str:
    return item["title"] or str(item["id"])
