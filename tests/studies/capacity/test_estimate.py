"""Chips, times and what to change: by hand."""

import pytest

from rearec_jax.errors import UserError
from rearec_jax.studies.capacity import estimate
from rearec_jax.studies.capacity.chips import CHIPS, GIB, chip_of
from rearec_jax.studies.capacity.estimate import Needs
from tests import tiny

V5E = CHIPS["v5e"]
NOTHING = Needs(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, {}, 0)


def test_times_are_those_of_the_published_rates():
    needs = NOTHING._replace(
        products=197e12, arguments=819e9 / 2, cycles=3e9, sent={"all-reduce": 1e11}
    )
    took = estimate.times(needs, V5E)
    assert took == pytest.approx((1.0, 0.5, 2.0, 1.0))  # links: one of two dimensions, 100 GB/s
    assert took.total == pytest.approx(3.0)


def test_aliased_outputs_take_no_room():
    needs = NOTHING._replace(arguments=10 * GIB, outputs=10 * GIB, aliased=10 * GIB)
    assert estimate.fits(needs, V5E)
    assert not estimate.fits(needs._replace(temporaries=6 * GIB), V5E)


def test_advice_names_shards_first_where_the_table_is_large():
    config = tiny.config(model__width=256)
    needs = NOTHING._replace(arguments=115 * GIB, temporaries=20 * GIB)
    found = estimate.advice(config, needs, V5E, items=10_000_000, slices=1, streams=False)
    assert found[0].startswith("more shards of the catalogue: mesh.model=8 ")
    assert any("train.logits_gib=0" in line for line in found)
    assert any("train.batch_size=1024" in line for line in found)
    assert any("train.loss=sampled" in line for line in found)


def test_a_loss_that_streams_gets_smaller_blocks():
    needs = NOTHING._replace(temporaries=20 * GIB)
    found = estimate.advice(tiny.config(), needs, V5E, items=10_000, slices=1, streams=True)
    assert "smaller blocks: train.catalogue_block=2048" in found


def test_a_loss_in_blocks_of_queries_keeps_no_logits():
    needs = NOTHING._replace(temporaries=20 * GIB)
    found = estimate.advice(tiny.config(), needs, V5E, items=10_000, slices=1, streams=None)
    assert found and not any("logits_gib" in line or "catalogue_block" in line for line in found)


def test_what_the_compiler_refuses_does_not_fit():
    assert not estimate.fits(NOTHING._replace(refused="no room"), V5E)


def test_no_shards_where_the_table_is_small():
    needs = NOTHING._replace(temporaries=20 * GIB)
    found = estimate.advice(tiny.config(), needs, V5E, items=1000, slices=1, streams=True)
    assert found
    assert not any("mesh.model" in line for line in found)


@pytest.mark.parametrize("topology", ["v5e:1x1", "v5e:16x16", "v6e:2x4", "v5p:2x2x1", "v4:4x4x4"])
def test_a_topology_names_its_chip(topology):
    assert chip_of(topology).name == topology.partition(":")[0]


@pytest.mark.parametrize(
    ("topology", "said"),
    [
        ("v9:2x2", "one of v4, v5e, v5p, v6e"),
        ("v5e", "v5e:2x4"),
        ("v5e:2xtwo", "should look like"),
        ("v5e:0x2", "should look like"),
        ("v5p:2x2", "3 dimensions, such as v5p:2x2x2"),
    ],
)
def test_what_is_no_topology(topology, said):
    with pytest.raises(UserError, match=said):
        chip_of(topology)


@pytest.mark.parametrize(
    ("rows", "parts", "advised"), [(41, 8, 2000), (328, 16, 16000), (3, 8, 400), (40, 8, 0)]
)
def test_a_batch_whose_rows_divide(rows, parts, advised):
    assert estimate.even_batch(rows, parts, 50.0 * rows) == advised
