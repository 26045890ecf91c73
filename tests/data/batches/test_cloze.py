"""Masked items: what is asked for is hidden, and only that."""

import numpy as np
import pytest

from rearec_jax.data.batches import loader
from rearec_jax.data.batches.cloze import Masking
from rearec_jax.data.batches.loader import BatchSize
from rearec_jax.data.interactions import TEST, TRAIN, VALIDATION
from tests import tiny

ITEMS, MASK = 50, 50
LENGTHS = [3, 4, 9, 14, 6, 5, 30]


@pytest.fixture(scope="module")
def data():
    return tiny.interactions(tiny.sequences(LENGTHS, ITEMS), ITEMS)


def training(data, rate=0.3, last_only=0.0, max_length=8, seed=0):
    return loader.training_batches(
        data.sequences,
        BatchSize(max_length, 8),
        seed=seed,
        masking=Masking(MASK, rate, last_only),
    )


def evaluation(data, which, max_length=8):
    return loader.evaluation_batches(
        data.sequences,
        which,
        BatchSize(max_length, 4),
        mask=MASK,
    )


def epoch(batches, number=0):
    return [batches.batch(number, index) for index in range(batches.steps_per_epoch)]


def segments(batch):
    """(tokens of the segment, its queries' places in it, their targets, weights, user)."""
    for b in range(len(batch.tokens)):
        for s in range(1, batch.segments[b].max() + 1):
            places = np.flatnonzero(batch.segments[b] == s)
            mine = (batch.segments[b][batch.queries[b]] == s) & (batch.users[b] >= 0)
            yield (
                batch.tokens[b][places],
                batch.queries[b][mine] - places[0],
                batch.targets[b][mine],
                batch.weights[b][mine],
                batch.users[b][mine][0],
            )


class TestTraining:
    @pytest.mark.parametrize("last_only", [0.0, 0.5, 1.0])
    def test_with_the_targets_put_back_it_is_the_sequence(self, data, last_only):
        for batch in epoch(training(data, last_only=last_only)):
            for tokens, places, targets, weights, user in segments(batch):
                assert len(set(places)) == len(places)
                hidden = places[weights > 0]
                np.testing.assert_array_equal(np.flatnonzero(tokens == MASK), np.sort(hidden))
                restored = tokens.copy()
                restored[places] = targets
                start, end = data.offsets[user], data.offsets[user + 1]
                own = data.items[start : end - 2]  # neither the validation nor the test item
                stretches = np.lib.stride_tricks.sliding_window_view(own, len(restored))
                assert (stretches == restored).all(axis=1).any()

    def test_only_training_targets_are_masked_and_as_many_as_asked(self, data):
        count = 0
        for batch in epoch(training(data, rate=0.3)):
            for tokens, _, _, weights, _ in segments(batch):
                assert weights.sum() >= 1
                assert abs(weights.sum() - max(1, 0.3 * (len(tokens) - 1))) <= 1
                count += 1
        assert count >= len(LENGTHS) - 1

    def test_last_only(self, data):
        for batch in epoch(training(data, rate=0.6, last_only=1.0)):
            for tokens, places, _, weights, _ in segments(batch):
                assert weights.sum() == 1
                assert places[weights > 0] == len(tokens) - 1

    def test_epochs_and_seeds_differ_and_repeat(self, data):
        def tokens(seed, number):
            return np.concatenate([x.tokens for x in epoch(training(data, seed=seed), number)])

        np.testing.assert_array_equal(tokens(0, 0), tokens(0, 0))
        assert (tokens(0, 0) != tokens(0, 1)).any()
        assert (tokens(0, 0) != tokens(1, 0)).any()

    def test_every_target_is_masked_sooner_or_later(self, data):
        seen = set()
        for number in range(60):
            for batch in epoch(training(data, rate=0.3), number):
                real = batch.weights > 0
                seen |= set(zip(batch.users[real], batch.targets[real], strict=True))
        wanted = set()
        for user in range(data.num_users):
            places = np.arange(data.offsets[user], data.offsets[user + 1])
            targets = places[data.split[places] == TRAIN]
            wanted |= {(user, item) for item in data.items[targets]}
        assert wanted <= seen
        own = {(u, i) for u in range(data.num_users) for i in data.items[data.offsets[u] :][:1]}
        assert seen <= wanted | own


@pytest.mark.parametrize("which", [VALIDATION, TEST])
def test_evaluation_asks_for_the_target_in_its_place(data, which):
    users = []
    for batch, examples in evaluation(data, which):
        for tokens, places, targets, weights, user in segments(batch):
            position = data.offsets[user + 1] - (1 if which == TEST else 2)
            history = data.items[data.offsets[user] : position][-7:]  # one place is the mask's
            np.testing.assert_array_equal(tokens, [*history, MASK])
            assert list(places) == [len(history)] and list(weights) == [1]
            assert targets[0] == data.items[position]
            assert position in examples
            users.append(user)
    assert sorted(users) == list(range(data.num_users))


def test_the_latest_items_and_a_mask_to_recommend_from(data):
    batches = loader.latest_batches(data.items, data.offsets, BatchSize(8, 4), mask=MASK)
    users = []
    for batch, _ in batches:
        for tokens, _, targets, weights, user in segments(batch):
            history = data.items[data.offsets[user] : data.offsets[user + 1]][-7:]
            np.testing.assert_array_equal(tokens, [*history, MASK])
            assert list(targets) == [0] and list(weights) == [1]
            users.append(user)
    assert sorted(users) == list(range(data.num_users))
