"""Successive halving: the best go on, and the same results give the same decision."""

import math

import numpy as np
import pytest

from rearec_jax.studies.tune.schedule import Job, next_jobs, rungs

FACTOR = 3


def play(quality, count=3, at_once=1, groups=None, scores=None, stop=10**6):
    """Runs jobs until none is left: scores, and the jobs. A candidate's score rises by rung."""
    scores = dict(scores or {})
    groups = groups or [0] * len(quality)
    done: list[Job] = []
    while len(done) < stop:
        jobs = next_jobs(groups, scores, count, FACTOR, at_once)
        if not jobs:
            break
        assert len({job.rung for job in jobs}) == 1 and len(jobs) <= at_once
        assert len({groups[job.candidate] for job in jobs}) == 1
        for job in jobs:
            assert job not in scores, "a job is done once"
            assert job.rung == 0 or (job.candidate, job.rung - 1) in scores, "no rung is skipped"
            scores[job] = quality[job.candidate] * (1 + job.rung)
        done += jobs
    return scores, done


def reached(scores, rung):
    return {candidate for candidate, r in scores if r == rung}


@pytest.mark.parametrize("at_once", [1, 4])
@pytest.mark.parametrize("candidates", [1, 2, 5, 9, 27, 40])
def test_the_best_candidate_reaches_the_last_rung(candidates, at_once):
    for seed in range(5):
        quality = np.random.default_rng(seed).permutation(candidates) + 1.0
        scores, _ = play(quality.tolist(), at_once=at_once)
        assert reached(scores, 0) == set(range(candidates))
        assert int(quality.argmax()) in reached(scores, 2)


def test_most_candidates_stop_early():
    quality = np.random.default_rng(0).permutation(81).astype(float).tolist()
    scores, _ = play(quality, count=4)
    sizes = [len(reached(scores, rung)) for rung in range(4)]
    # Promotions come at once, so a few go on that better ones overtake later.
    assert sizes[0] == 81 and sizes[1] <= 27 + 20 and sizes[2] <= 9 + 12 and sizes[3] <= 3 + 8
    assert sizes == sorted(sizes, reverse=True)


def test_rising_quality_is_the_worst_case_and_still_bounded():
    scores, _ = play([float(i) for i in range(27)])
    assert len(reached(scores, 1)) <= 27 // 3 * 3


@pytest.mark.parametrize("at_once", [1, 3])
def test_stopped_anywhere_it_decides_the_same(at_once):
    quality = np.random.default_rng(1).random(12).tolist()
    whole, order = play(quality, at_once=at_once)
    for stop in range(len(order)):
        first, before = play(quality, at_once=at_once, stop=stop)
        shuffled = dict(sorted(first.items(), key=lambda pair: -pair[1]))
        again, after = play(quality, at_once=at_once, scores=shuffled)
        assert again == whole and before + after == order


def test_failures_count_and_never_go_on():
    quality = [-math.inf, 1.0, -math.inf, 2.0]
    scores, _ = play(quality)
    assert reached(scores, 1) == {1, 3}  # 1 was the best when it went on
    assert reached(play([-math.inf] * 3)[0], 1) == set()


def test_a_promotion_that_fails_leaves_its_place_to_the_next():
    """Also the only place of a rung: somebody is trained to the end."""
    scores = {(0, 0): 0.1, (1, 0): 0.2, (2, 0): 0.3, (2, 1): -math.inf}
    groups = [0, 0, 0]
    assert next_jobs(groups, scores, 3, 3) == [Job(1, 1)]
    assert next_jobs(groups, {**scores, (1, 1): 0.25}, 3, 3) == [Job(1, 2)]
    assert next_jobs(groups, {**scores, (1, 1): 0.25, (1, 2): -math.inf}, 3, 3) == [Job(0, 1)]


def test_only_one_group_trains_together():
    groups = ["a", "b", "a", "b", "a"]
    assert next_jobs(groups, {}, 2, FACTOR, 4) == [Job(0, 0), Job(2, 0), Job(4, 0)]
    scores, _ = play([1.0, 5.0, 2.0, 4.0, 3.0], groups=groups, at_once=4)
    assert 1 in reached(scores, 2)


def test_more_candidates_may_come_later():
    quality = np.random.default_rng(2).random(20).tolist()
    few, _ = play(quality[:6])
    scores, _ = play(quality, scores=few)
    assert scores.items() >= few.items() and int(np.argmax(quality)) in reached(scores, 2)


def test_rungs_end_with_all_epochs():
    assert rungs(300, 3, 3) == (3, 9, 27, 81, 243, 300)
    assert rungs(9, 1, 3) == (1, 3, 9)
    assert rungs(2, 3, 3) == (2,)
