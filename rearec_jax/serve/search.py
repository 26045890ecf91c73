"""Finds items by the words of their titles, and gives samples of histories."""

from typing import Any
import unicodedata

import polars as pl

from rearec_jax.recommend.items import Items
from rearec_jax.recommend.recommender import Recommender

FORM = "NFC"
WORDS = 8  # of a search that count; more hardly narrow it down


class Search:
    """The answers to GET /items and GET /samples for one model."""

    def __init__(self, recommender: Recommender):
        items = recommender.items
        order = items.popular
        titles = items.titles.gather(order)
        self._items = pl.DataFrame(
            {"id": items.ids.gather(order), "title": titles, "count": items.counts[order]}
        )
        text = pl.col("title").fill_null("") + "\n" + pl.col("id")
        # "é" is one character or two (Unicode's NFC and NFD); both are found by both.
        self._text = self._items.select(text.str.to_lowercase().str.normalize(FORM)).to_series()
        self._samples = [
            {"history": [_named(items, raw) for raw in history], "target": _named(items, target)}
            for history, target in recommender.samples
        ]

    def items(self, query: str, limit: int) -> list[dict[str, Any]]:
        """Returns items that have every word of ``query`` in title or id, popular ones first."""
        found = self._items
        query = unicodedata.normalize(FORM, query.lower())
        words = list(dict.fromkeys(query.split()))[:WORDS]
        if words:
            holds = pl.all_horizontal(pl.lit(True), *(_contains(self._text, w) for w in words))
            found = found.filter(pl.select(holds).to_series())
        return found.head(limit).to_dicts()

    def samples(self, limit: int) -> list[dict[str, Any]]:
        """Returns sample histories, each with the item that came next."""
        return self._samples[:limit]


def _named(items: Items, raw: str) -> dict[str, Any]:
    number = items.index.get(raw)
    return {"id": raw, "title": None if number is None else items.titles[number]}


def _contains(text: pl.Series, word: str) -> pl.Series:
    return text.str.contains(word, literal=True)
