"""Tests equal SciPy's, hold their level, and know cases that can be counted by hand."""

import numpy as np
import pytest
from scipy import stats

from rearec_jax.studies.analysis import significance
from rearec_jax.studies.analysis.significance import bootstrap, by_user, holm, t_test, welch


@pytest.mark.parametrize("count", [2, 5, 40])
def test_t_test_equals_scipy(count):
    rng = np.random.default_rng(count)
    one, other = rng.normal(size=count), rng.normal(0.4, 1, size=count)
    found, known = t_test(other - one), stats.ttest_rel(other, one)
    interval = known.confidence_interval(0.95)
    assert found.p == pytest.approx(known.pvalue, rel=1e-10)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-10)


def test_a_known_p():
    # Four differences 1, 1, 1, -1: t = 0.5 / (1 / 2) = 1 with 3 degrees of freedom.
    found = t_test(np.array([1.0, 1.0, 1.0, -1.0]))
    assert found.p == pytest.approx(0.39100221895577, abs=1e-12)
    assert found.effect == pytest.approx(0.5)


@pytest.mark.parametrize(("value", "p"), [(0.0, 1.0), (0.5, 0.0)])
def test_differences_that_do_not_vary(value, p):
    assert t_test(np.full(5, value)).p == p


def test_one_user_proves_nothing():
    found = t_test(np.array([3.0]))
    assert found.p == 1 and found.low == -np.inf


def test_the_bootstrap_of_one_user_has_no_p():
    found = bootstrap(np.array([0.3]), 99, 0)
    assert found.p is None and found.mean == 0.3
    assert (found.low, found.high) == (-np.inf, np.inf)
    assert significance.stars(found.p) == ""


def test_bootstrap_of_a_countable_case():
    # Two users, differences 0 and 1: means 0, 1/2, 1 with chances 1/4, 1/2, 1/4.
    means = significance.resampled_means(np.array([0.0, 1.0]), 40_000, seed=0)
    chances = [np.mean(means == value) for value in (0.0, 0.5, 1.0)]
    assert chances == pytest.approx([0.25, 0.5, 0.25], abs=0.01)
    assert bootstrap(np.array([0.0, 1.0]), 40_000, 0).p == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("kind", ["few values", "many values", "binned values"])
def test_all_ways_of_drawing_have_the_distribution_of_the_mean(kind, monkeypatch):
    monkeypatch.setattr(significance, "QUICK", 0 if kind == "binned values" else 2**26)
    rng = np.random.default_rng(3)
    values = rng.normal(0.1, 1, 600)
    if kind == "few values":
        values = np.round(values)
    means = significance.resampled_means(values, 20_000, seed=1)
    error = values.std() / np.sqrt(len(values))
    assert means.mean() == pytest.approx(values.mean(), abs=4 * error / np.sqrt(20_000))
    assert means.std() == pytest.approx(error, rel=0.03)
    found, known = bootstrap(values, 20_000, 1), t_test(values)
    assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=0.1 * error)


def test_bootstrap_interval_agrees_with_scipy():
    values = np.random.default_rng(5).exponential(size=60)
    known = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    found = bootstrap(values, 20_000, 0)
    assert (found.low, found.high) == pytest.approx((known.low, known.high), rel=0.02)


def test_bootstrap_is_seeded_and_never_certain():
    values = np.random.default_rng(0).normal(5, 1, 50)
    assert bootstrap(values, 999, 4) == bootstrap(values, 999, 4)
    assert bootstrap(values, 999, 4).p == pytest.approx(2 / 1000)
    assert bootstrap(np.zeros(9), 99, 0).p == 1


def test_bins_keep_mean_and_variance():
    values = np.random.default_rng(0).standard_t(2, 5000)
    means, counts = significance._binned(values)
    mean = (means * counts).sum() / 5000
    assert mean == pytest.approx(values.mean(), abs=1e-12)
    assert (means**2 * counts).sum() / 5000 - mean**2 == pytest.approx(values.var(), rel=1e-4)
    assert len(means) < 2500


def test_blocks_do_not_change_the_sample(monkeypatch):
    values = np.random.default_rng(0).normal(size=600)
    whole = significance.resampled_means(values, 50, seed=2)
    monkeypatch.setattr(significance, "BLOCK", 3000)
    np.testing.assert_allclose(significance.resampled_means(values, 50, seed=2), whole)


@pytest.mark.parametrize("test", ["t", "bootstrap"])
def test_the_level_holds_where_nothing_differs(test):
    rng = np.random.default_rng(11)
    samples = rng.choice([-0.5, 0.0, 0.0, 0.0, 0.5], size=(400, 300))
    p = [t_test(s).p if test == "t" else bootstrap(s, 400, 0).p for s in samples]
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.09


def test_users_with_several_examples_count_as_one_observation():
    rng = np.random.default_rng(0)
    own = rng.normal(0.2, 1, 50)
    users = np.repeat(np.arange(50), 4)
    gaps = by_user(own[users], users)  # every example repeated four times says nothing new
    np.testing.assert_allclose(gaps, own)
    uneven = np.repeat(np.arange(50), rng.integers(1, 9, 50))
    values = rng.normal(size=len(uneven))
    gaps = by_user(values, uneven)
    assert len(gaps) == 50 and gaps.mean() == pytest.approx(values.mean())


def test_holm_by_hand_and_never_below_the_plain_p():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03])), [0.03, 0.06, 0.06])
    p = np.random.default_rng(0).random(20)
    corrected = holm(p)
    assert (corrected >= p).all() and (corrected <= 1).all()
    assert (np.argsort(corrected, kind="stable")[:1] == np.argsort(p)[:1]).all()
    assert holm(np.zeros(0)).shape == (0,)


def test_welch_equals_scipy():
    one, other = np.array([0.1, 0.12, 0.11]), np.array([0.14, 0.13])
    known = stats.ttest_ind(one, other, equal_var=False).pvalue
    assert welch(one, other) == pytest.approx(known, rel=1e-10)
    assert welch(one, other[:1]) is None


@pytest.mark.parametrize(
    ("p", "shown"), [(0.0009, "***"), (0.001, "**"), (0.01, "*"), (0.05, ""), (1.0, "")]
)
def test_stars(p, shown):
    assert significance.stars(p) == shown
