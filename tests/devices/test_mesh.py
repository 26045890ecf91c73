"""The same numbers on every mesh; where arrays lie; meshes that cannot be."""

import functools
import json
import os
import subprocess
import sys
from typing import Any

import jax
import numpy as np
import pytest

from rearec_jax.config import resolve, to_dict
from rearec_jax.config.compare import clashes
from rearec_jax.data.batches.loader import BatchSize, place, training_batches
from rearec_jax.data.batches.packing import Share
from rearec_jax.data.prepare import prepare
from rearec_jax.devices.mesh import ONE, make_devices
from rearec_jax.errors import UserError
from rearec_jax.run.checkpoint import Checkpoints
from rearec_jax.training import loop
from rearec_jax.training.setup import Setup, make_setup
from rearec_jax.training.step import TrainState
from tests import tiny
from tests.processes import ROOT, xla_flags

CLOSE = 1e-5


@pytest.fixture(scope="module")
def report() -> dict[str, float]:
    """What mesh_check.py found, in a process with eight devices of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.devices.mesh_check"],
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": xla_flags(8)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("start", "count", "most"),
    [
        ("base", 3, CLOSE),
        ("erl", 7, CLOSE),
        ("prl", 8, CLOSE),
        ("training", 6, 1e-3),
        ("lazy training", 6, 1e-3),
        ("nothing counts", 4, CLOSE),
        ("ranks", 16, 0.0),
    ],
)
def test_every_mesh_gives_what_one_device_gives(report, start, count, most):
    found = {name: gap for name, gap in report.items() if name.startswith(start)}
    assert len(found) == count
    assert {name: gap for name, gap in found.items() if not gap <= most} == {}


class TestMesh:
    def test_minus_one_takes_what_is_left(self):
        devices = make_devices(-1, 2)
        assert (devices.data, devices.model, devices.count) == (4, 2, 8)

    def test_one_device_has_no_mesh(self):
        assert make_devices(1, 1) == ONE

    def test_fewer_devices_than_there_are(self):
        assert make_devices(2, 2).count == 4

    @pytest.mark.parametrize(("data", "model"), [(-1, 3), (3, 1), (16, 1), (-1, 16), (5, 2)])
    def test_a_product_that_does_not_divide_is_refused(self, data, model):
        with pytest.raises(UserError, match=r"mesh\.model=.* 8 devices"):
            make_devices(data, model)

    @pytest.mark.parametrize("options", [{"data": 0}, {"data": -2}, {"model": 0}, {"model": -1}])
    def test_options_out_of_range(self, options):
        with pytest.raises(UserError, match=r"mesh\.(data|model)=.* at least 1"):
            resolve({"mesh": options})

    def test_a_run_may_go_on_on_another_mesh(self):
        options = [to_dict(resolve({"mesh": {"model": model}})) for model in (1, 2)]
        assert not clashes(*options)

    def test_more_devices_than_items(self):
        make_devices(1, 8).check_catalogue(23)
        with pytest.raises(UserError, match=r"mesh\.model=8 leaves devices without"):
            make_devices(1, 8).check_catalogue(9)


class TestRules:
    @pytest.mark.parametrize(
        ("rows", "spec"), [(24, ("model", None)), (23, (None, "model"))], ids=["divides", "not"]
    )
    def test_moments_lie_where_their_table_lies(self, rows, spec):
        table = jax.ShapeDtypeStruct((rows, 8), np.float32)
        tree = {
            "params": {"items": {"table": table}, "encoder": {"position": table}},
            "mu": {"params": {"items": {"ids": {"table": table}}}},
        }
        found = make_devices(2, 4).state(tree)
        assert found["params"]["items"]["table"].spec == jax.sharding.PartitionSpec(*spec)
        moments = found["mu"]["params"]["items"]["ids"]["table"]
        assert moments.spec == jax.sharding.PartitionSpec(*spec)
        assert found["params"]["encoder"]["position"].spec == jax.sharding.PartitionSpec()

    def test_nothing_divides(self):
        tree = {"items": {"table": jax.ShapeDtypeStruct((23, 7), np.float32)}}
        with pytest.raises(UserError, match=r"divides neither the 23 items nor model\.width=7"):
            make_devices(2, 4).state(tree)


@pytest.fixture(scope="module")
def batches():
    data = tiny.interactions(tiny.sequences([9] * 13, 20), 20)
    return training_batches(data.sequences, BatchSize(6, 30), seed=3)


class TestRows:
    @pytest.mark.parametrize("hosts", [1, 2, 4])
    def test_the_hosts_rows_are_the_batch(self, batches, hosts):
        """And what fills it up is empty."""
        total = 8
        whole = batches.batch(1, 1)
        size = total // hosts
        parts = [
            batches.batch(1, 1, Share(size * host, size * (host + 1), total))
            for host in range(hosts)
        ]
        for want, *got in zip(whole, *parts, strict=True):
            joined = np.concatenate(got)
            np.testing.assert_array_equal(joined[: len(want)], want)
        weights = np.concatenate([part.weights for part in parts])
        assert not weights[len(whole.weights) :].any()

    def test_a_share_is_placed_by_rows(self, batches):
        devices = make_devices(8, 1)
        share = Share(*devices.share_of_rows(batches.rows_per_batch))
        assert share == (0, 8, 8)
        batch = batches.batch(0, 0, share)
        on_devices = place(batch, devices.rows, share)
        assert on_devices.tokens.addressable_shards[0].data.shape[0] == 1
        jax.tree.map(np.testing.assert_array_equal, tuple(on_devices), tuple(batch))


@functools.cache
def run_config(data: int, model: int) -> Any:
    from rearec_jax import config as options

    chosen = options.default()
    for section, values in {
        "data": {"demo_users": 60, "demo_items": 61},
        "model": {"width": 8, "hidden": 8, "layers": 1, "max_length": 10, "dropout": 0.2},
        "method": {"name": "rpe", "steps": 1},
        "train": {"batch_size": 100},
        "mesh": {"data": data, "model": model},
    }.items():
        for name, value in values.items():
            chosen[section][name] = value
    return options.resolve(chosen)


SHAPES = ((1, 1), (4, 2), (1, 4))


@pytest.fixture(scope="module")
def setups() -> list[Setup]:
    data = prepare(run_config(1, 1).data)
    return [make_setup(run_config(*shape), data) for shape in SHAPES]


@pytest.fixture(scope="module")
def fresh(setups) -> list[TrainState]:
    return [setup.initial_state() for setup in setups]


def test_a_checkpoint_of_one_mesh_is_restored_on_another(tmp_path, setups, fresh):
    state = fresh[1]
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save_last(3, state, {})
        checkpoints.wait()
        for setup in setups:
            found = checkpoints.restore_last(loop.abstract_state(setup))
            assert found is not None
            jax.tree.map(np.testing.assert_array_equal, found[0], state)
            if setup.task.devices != ONE:
                wanted = setup.task.devices.state(state)
                table = found[0].variables["params"]["items"]["table"]
                assert table.sharding == wanted.variables["params"]["items"]["table"]


def test_a_fresh_state_is_the_same_on_every_mesh(fresh):
    one, *others = fresh
    for other in others:
        jax.tree.map(np.testing.assert_array_equal, one, other)


def test_ranks_of_a_split_are_the_same_on_every_mesh(setups, fresh):
    one, *others = setups
    variables = tiny.random_like(jax.device_get(fresh[0].variables))
    want = one.validate(variables)
    for other in others:
        placed = jax.device_put(variables, other.task.devices.state(variables))
        jax.tree.map(np.testing.assert_array_equal, other.validate(placed), want)
