"""Masks have the right rate and nothing in common; normal numbers are normal."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from rearec_jax.ops import random_arrays

# Bounds are in standard deviations of the statistic: a good generator exceeds 5 once in two
# million tries, and keys are fixed.
SIGMAS = 5.0
COUNT = 400_000


def key(number=0):
    return jax.random.key(number)


def signs(mask):
    """+1 and -1, so that the mean of a product is a correlation for rate 1/2."""
    return np.where(np.asarray(mask).ravel(), 1.0, -1.0)


def correlated(one, other):
    """Correlation in standard deviations."""
    return abs(np.mean(one * other)) * math.sqrt(len(one))


@pytest.fixture(scope="module")
def numbers():
    return np.asarray(random_arrays.normal(key(8), (COUNT,), jnp.dtype("float32")), np.float64)


class TestKeepMask:
    @pytest.mark.parametrize("rate", [0.01, 0.2, 0.5, 0.9])
    def test_keeps_the_asked_share(self, rate):
        count = 1_000_000
        kept = float(np.mean(random_arrays.keep_mask(key(), (count,), rate)))
        assert abs(kept - (1 - rate)) < SIGMAS * math.sqrt(rate * (1 - rate) / count)

    def test_rate_zero_keeps_all(self):
        assert np.all(random_arrays.keep_mask(key(), (10_000,), 0.0))

    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_every_row_and_column_keeps_its_share(self, axis):
        mask = np.asarray(random_arrays.keep_mask(key(1), (64, 48, 256), 0.5))
        others = tuple(a for a in range(3) if a != axis)
        count = mask.size // mask.shape[axis]
        assert abs(mask.mean(axis=others) - 0.5).max() < SIGMAS * 0.5 / math.sqrt(count)

    def test_same_key_same_mask(self):
        masks = [random_arrays.keep_mask(key(3), (100,), 0.5) for _ in range(2)]
        np.testing.assert_array_equal(*masks)

    @pytest.mark.parametrize("rate", [0.2, 0.5])
    def test_no_two_places_have_anything_in_common_at_any_distance(self, rate):
        """Autocorrelation at all distances up to 130 thousand at once, by Fourier transform."""
        count = 2**18
        mask = np.asarray(random_arrays.keep_mask(key(4), (count,), rate), np.float64)
        spectrum = np.fft.rfft((mask - (1 - rate)) / math.sqrt(rate * (1 - rate)), 2 * count)
        products = np.fft.irfft(spectrum * spectrum.conj(), 2 * count)[1 : count // 2]
        sigmas = np.abs(products) / np.sqrt(count - np.arange(1, count // 2))
        assert sigmas.max() < 6  # 130 thousand chances: 4.5 is usual

    def test_pairs_of_words_are_spread_evenly(self):
        words = np.asarray(random_arrays.bits(key(9), (2**18,))) >> 27
        for lag in (1, 2, 8, 50, 64, 256, 300):
            pairs = np.bincount(words[lag:] * 32 + words[:-lag], minlength=1024)
            assert stats.chisquare(pairs).pvalue > 1e-6, lag

    def test_triples_of_neighbours_have_nothing_in_common(self):
        mask = signs(random_arrays.keep_mask(key(5), (500_000,), 0.5))
        assert correlated(mask[2:] * mask[1:-1], mask[:-2]) < SIGMAS

    def test_keys_have_nothing_in_common(self):
        keys = [key(n) for n in range(8)] + [jax.random.fold_in(key(0), n) for n in range(8)]
        masks = [signs(random_arrays.keep_mask(k, (20_000,), 0.5)) for k in keys]
        for i in range(len(masks)):
            for j in range(i):
                assert correlated(masks[i], masks[j]) < SIGMAS, (i, j)
                # Nor is one the other, shifted.
                assert correlated(masks[i][1:], masks[j][:-1]) < SIGMAS, (i, j)

    def test_all_bits_of_the_words_are_fair(self):
        words = np.asarray(random_arrays.bits(key(6), (200_000,)))
        bits = np.unpackbits(words.view(np.uint8)).reshape(-1, 32).mean(axis=0)
        assert abs(bits - 0.5).max() < SIGMAS * 0.5 / math.sqrt(len(words))

    def test_shape_does_not_change_the_numbers(self):
        flat = random_arrays.bits(key(7), (24,))
        np.testing.assert_array_equal(random_arrays.bits(key(7), (2, 3, 4)), flat.reshape(2, 3, 4))


class TestNormal:
    def test_moments(self, numbers):
        scale = SIGMAS / math.sqrt(COUNT)
        # Variance of x^n for a standard normal x: 1, 2, 15, 96.
        for power, (mean, variance) in enumerate([(0, 1), (1, 2), (0, 15), (3, 96)], start=1):
            assert abs(np.mean(numbers**power) - mean) < scale * math.sqrt(variance), power

    def test_distribution(self, numbers):
        assert stats.kstest(numbers, "norm").pvalue > 1e-4

    @pytest.mark.parametrize("limit", [2.0, 3.0, 4.0])
    def test_tails_on_both_sides(self, numbers, limit):
        share = stats.norm.sf(limit)
        bound = SIGMAS * math.sqrt(share / COUNT)
        assert abs(np.mean(numbers > limit) - share) < bound
        assert abs(np.mean(numbers < -limit) - share) < bound

    def test_neighbours_have_nothing_in_common(self, numbers):
        for lag in (1, 8, 256):
            assert correlated(numbers[lag:], numbers[:-lag]) < SIGMAS

    def test_symmetric_and_finite_for_every_word(self, monkeypatch):
        words = jnp.asarray([0, 1, 2**8, 2**31 - 1, 123456789], jnp.uint32)
        both = jnp.concatenate([words, ~words])
        monkeypatch.setattr(random_arrays, "bits", lambda key, shape: both)
        numbers = np.asarray(random_arrays.normal(key(), both.shape, jnp.dtype("float32")))
        assert np.isfinite(numbers).all()
        np.testing.assert_array_equal(numbers[:5], -numbers[5:])
        assert 5.0 < numbers.max() < 5.5  # the ends of the range

    @pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
    def test_dtype(self, dtype):
        assert random_arrays.normal(key(), (3,), jnp.dtype(dtype)).dtype == dtype


class TestKeyOfSeed:
    def test_seeds_of_32_bits_keep_their_keys(self):
        for seed in (0, 1, 2**31, 2**32 - 1):
            ours = jax.random.key_data(random_arrays.key_of_seed(seed))
            np.testing.assert_array_equal(ours, jax.random.key_data(key(seed)))

    def test_every_bit_counts(self):
        seeds = [0, 1, *(2**bit for bit in range(30, 63)), 2**32 + 1, 2**33 + 1, 2**63 - 1]
        keys = {tuple(jax.random.key_data(random_arrays.key_of_seed(s)).tolist()) for s in seeds}
        assert len(keys) == len(seeds)
