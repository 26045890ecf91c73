"""Lists, projections and stories of cases that can be counted by hand."""

import numpy as np
import pytest

from rearec_jax.config import AnalysisConfig
from rearec_jax.errors import UserError
from rearec_jax.studies.analysis import lists, stories
from rearec_jax.studies.analysis.projection import project
from tests.studies.analysis import made


def test_overlap_counts_items_whatever_their_order():
    table = np.array([[[0, 1], [1, 0]], [[2, 3], [3, 4]]])
    np.testing.assert_allclose(lists.overlap(table, 5), [[1, 0.75], [0.75, 1]])


def test_overlap_does_not_depend_on_blocks(monkeypatch):
    table = np.random.default_rng(0).permuted(np.tile(np.arange(9), (30, 3, 1)), axis=2)[..., :4]
    whole = lists.overlap(table, 9)
    monkeypatch.setattr(lists, "BLOCK", 7)
    np.testing.assert_array_equal(lists.overlap(table, 9), whole)


def test_statistics_of_a_case():
    # The last place of the second user is empty (4 = no item).
    table = np.array([[[3, 2]], [[3, 4]]])
    row = lists.statistics(table, np.array([0, 0, 1, 3]), ["step 0"]).row(0, named=True)
    assert row["coverage"] == 0.5
    assert row["mean_popularity"] == pytest.approx((3 + 1 + 3) / 3)
    assert row["popularity_bias"] == pytest.approx(7 / 3)
    assert row["popular_quarter"] == pytest.approx(2 / 3)
    assert row["novelty"] == pytest.approx((1 + 2 + 1) / 3)  # shares 4/8, 2/8, 4/8
    assert row["same_first_as_last"] == 1


def test_projection_keeps_distances_in_a_plane():
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(2, 6))
    states = rng.normal(size=(20, 3, 2)) @ np.linalg.qr(plane.T)[0].T + 5
    found = project(states)
    flat, points = states.reshape(-1, 6), found.points.reshape(-1, 2)
    distances = [np.linalg.norm(x[:, None] - x[None], axis=-1) for x in (flat, points)]
    np.testing.assert_allclose(*distances, atol=1e-9)
    assert found.explained.sum() == pytest.approx(1)


def test_projection_of_a_line_or_a_point_has_zeros():
    assert project(np.ones((3, 1, 1))).points.shape == (3, 1, 2)
    assert not project(np.ones((3, 2, 4))).points.any()


def test_stories_are_chosen_and_say_why():
    ranks = made.ranks()
    chosen = stories.choose(ranks, AnalysisConfig(random_stories=2))
    assert [why for _, why in chosen] == ["most improved", "most worsened", "random", "random"]
    ratio = ranks.by_step[:, 0] / ranks.final
    assert ratio[chosen[0][0]] == ratio.max() and ratio[chosen[1][0]] == ratio.min()
    assert chosen == stories.choose(ranks, AnalysisConfig(random_stories=2))
    assert stories.choose(ranks, AnalysisConfig(story_users=("u7",))) == [(7, "named")]
    with pytest.raises(UserError, match=r"'nobody' has no test example; a user is 'u0'"):
        stories.choose(ranks, AnalysisConfig(story_users=("nobody",)))
