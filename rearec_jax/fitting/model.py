"""A trained run for callers of Python: its results, lists, vectors and report."""

from collections.abc import Iterable
import dataclasses
import functools
import os
import pathlib
import reprlib
from typing import Any

import numpy as np
import polars as pl

from rearec_jax.config import Config
from rearec_jax.data.interactions import Interactions
from rearec_jax.data.prepare import prepare
from rearec_jax.errors import UserError
from rearec_jax.recommend import arguments, model_directory, vectors
from rearec_jax.recommend.arguments import Given
from rearec_jax.recommend.recommend_files import frame_of
from rearec_jax.recommend.recommender import Recommender
from rearec_jax.recommend.results import Recommendations
from rearec_jax.recommend.vectors import Vectors
from rearec_jax.run import files
from rearec_jax.run.workdir import Workdir, load_config

_USERS = "give a list of user ids, or of histories: [[item, item, ...], ...]"


@dataclasses.dataclass(frozen=True, init=False)
class Model:
    """A trained run, also one of the command line: ``Model("runs/mine")``.

    All is read from the work directory when it is first asked for.

    path: The work directory.
    """

    path: pathlib.Path

    def __init__(self, path: str | os.PathLike[str]) -> None:
        object.__setattr__(self, "path", files.place(files.expanded(path)))

    def __fspath__(self) -> str:
        """Returns the work directory: a model may be given wherever a path may."""
        return str(self.path)

    @functools.cached_property
    def summary(self) -> dict[str, Any]:
        """The content of summary.json. Raises UserError where the run is not finished."""
        workdir = self._workdir
        try:
            return files.read_json(workdir.path, workdir.summary.name)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{workdir.summary} cannot be read ({error}); train the run to its end"
            ) from error

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics of `test` and `valid`, and of each step alone: `test_by_step`, ..."""
        names = ("test", "test_by_step", "valid", "valid_by_step")
        return {name: self.summary[name] for name in names if name in self.summary}

    @functools.cached_property
    def config(self) -> Config:
        """The options of the run."""
        return load_config(self._workdir.path)

    @functools.cached_property
    def recommender(self) -> Recommender:
        """The `rearec_jax.load` of the run: the best epoch, which knows items and no users."""
        return model_directory.load(self.path)

    @functools.cached_property
    def data(self) -> Interactions:
        """The interactions that the run is trained on.

        Raises:
            UserError: their file is gone, or has other items now.
        """
        found = prepare(self.config.data)
        if not found.item_ids.cast(pl.String).equals(self.recommender.items.ids):
            raise UserError(
                f"{self.config.data.path} no longer has the items that {self._workdir.path} was"
                " trained on; bring the old file back, or give histories of items"
            )
        return found

    def recommend(self, users: Given, k: Given = 10, **choices: Given) -> Recommendations:
        """Returns the k best items for each user.

        Args:
            users: ids of users of the data, histories (lists of item ids, the oldest first), or
                both. The history of a user holds all of the data, held-out items too.
            k: the number of items to list.
            choices: what else `Recommender.recommend` takes: steps, exclude, candidates, explain...

        Raises:
            UserError: no user has an id, or an argument is wrong.
        """
        return self.recommender.recommend(self._histories(users)[1], k, **choices)

    def recommend_frame(self, users: Given = None, k: Given = 10, **choices: Given) -> pl.DataFrame:
        """Returns the lists as a data frame: user, rank, item and score; pandas: `.to_pandas()`.

        A history is named by its number among ``users``. None: all users of the data. Raises as
        ``recommend``.
        """
        names, histories = self._histories(self.data.user_ids if users is None else users)
        found = self.recommender.recommend(histories, k, **choices)
        frame = frame_of(found.ranked, found.items, names)
        return frame.select(user="user_id", rank="rank", item="item_id", score="score")

    def similar_items(self, ids: Given, k: Given = 10) -> Recommendations:
        """Returns the k items with the most similar vectors for each item; scores are cosines."""
        return vectors.similar_items(self.recommender, ids, k)

    def item_vectors(self) -> Vectors:
        """Returns the vector of every item, with its id."""
        return vectors.item_vectors(self.recommender)

    def user_vectors(self, users: Given = None) -> Vectors:
        """Returns the vector of each user, as in ``recommend``; None: all users of the data."""
        names, histories = self._histories(self.data.user_ids if users is None else users)
        return vectors.user_vectors(self.recommender, histories, names)

    def report(self, local: bool = False) -> pathlib.Path:
        """Writes report/report.html below the work directory, and returns its path.

        Args:
            local: shows paths of this machine and raw ids of users as well.
        """
        from rearec_jax.studies.report.write import report_runs  # matplotlib, an extra

        return report_runs([str(self._workdir.path)], None, self.config.analysis, local)

    def __repr__(self) -> str:
        return f"Model({str(self.path)!r})"

    @property
    def _workdir(self) -> Workdir:
        return Workdir(self.path)

    @functools.cached_property
    def _users(self) -> dict[str, int]:
        return {raw: n for n, raw in enumerate(self.data.user_ids.cast(pl.String).to_list())}

    def _histories(self, users: Given) -> tuple[pl.Series, list[Any]]:
        """Returns a name and the history of each user."""
        names, histories = [], []
        for number, user in enumerate(arguments.elements(users, "users", _USERS, in_order=True)):
            is_history = isinstance(user, Iterable) and not isinstance(user, str | bytes)
            names.append(str(number) if is_history else self._known(user, number))
            histories.append(user if is_history else self._history(names[-1]))
        return pl.Series("user", names, dtype=pl.String), histories

    def _known(self, user: Given, number: int) -> str:
        """Returns the id of a user of the data."""
        try:
            text = arguments.id_text(user)
        except ValueError as error:
            raise UserError(f"users[{number}] is {reprlib.repr(user)}; {_USERS}") from error
        if text not in self._users:
            is_item = text in self.recommender.items.index
            hint = f"; it is an item: {_USERS}" if is_item else ""
            raise UserError(f"users[{number}]: no user of the data has the id {text!r}{hint}")
        return text

    def _history(self, name: str) -> list[str]:
        data, user = self.data, self._users[name]
        items = np.asarray(data.items[data.offsets[user] : data.offsets[user + 1]])
        return self.recommender.items.ids.gather(items).to_list()
