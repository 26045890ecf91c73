"""Run by test_mesh.py in a process of its own, with eight devices: every mesh, one result.

Prints a JSON object: name of a property -> the largest relative difference, or what is wrong.
"""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rearec_jax.config import Config
from rearec_jax.data.batches.loader import place
from rearec_jax.data.batches.packing import Share
from rearec_jax.devices.mesh import ONE, Devices, filled, make_devices, placed
from rearec_jax.evaluation import ranking
from rearec_jax.losses import partition, sharded
from rearec_jax.training import catalogue_sample, objective, step
from rearec_jax.training.task import Task
from rearec_jax.types import Batch, Catalogue
from tests import tiny

MESHES = ((1, 1), (8, 1), (1, 8), (4, 2), (2, 4))
ITEMS, TOKENS, ROWS = 23, 6, 5  # neither items nor rows divide


def packed(rows: int = ROWS, items: int = ITEMS) -> Batch:
    lengths = [[3, 2], [6], [2, 4], [5], [1, 1, 3], [4, 2], [6], [2, 2]][:rows]
    numbered = itertools.count()
    made = [[tiny.sequences([n], items, next(numbered))[0] for n in row] for row in lengths]
    return tiny.pack(made, TOKENS, items, every_position=True)


def gap(tree: object, wanted: object) -> float:
    """Largest difference, relative to the largest number of each array."""

    def of(got: jax.Array, want: jax.Array) -> float:
        got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
        return float(np.abs(got - want).max() / max(np.abs(want).max(), 1e-12))

    return max(jax.tree.leaves(jax.tree.map(of, tree, wanted)))


def catalogue_of(config: Config, devices: Devices, items: int) -> Catalogue:
    text = tiny.text_of(config, items)
    counts = np.arange(items)
    drawn = catalogue_sample.distribution(counts, 0.75)
    return Catalogue(
        jax.tree.map(lambda x: placed(np.asarray(x), devices.table(x.shape)), text),
        placed(drawn.cumulative, devices.whole),
        placed(drawn.log_probability, devices.whole),
    )


def on_mesh(batch: Batch, devices: Devices) -> Batch:
    if devices.mesh is None:
        return batch
    share = Share(*devices.share_of_rows(len(batch.tokens)))
    full = jax.tree.map(lambda x: filled(x, devices.data), batch)
    return place(full, devices.rows, share)


def loss_and_gradients(config: Config, devices: Devices, items: int = ITEMS) -> object:
    batch = packed(items=items)
    _, variables = tiny.build(config, items)
    if devices.mesh is not None:
        variables = jax.device_put(variables, devices.state(variables))
    function = objective.build(tiny.task(config, items, batch, devices))

    def loss(variables: object, batch: Batch, catalogue: Catalogue) -> jax.Array:
        batch = jax.tree.map(lambda x: x[:ROWS], batch)
        return function(variables, batch, catalogue, jax.random.key(3))[0]

    catalogue = catalogue_of(config, devices, items)
    return tiny.jit(jax.value_and_grad(loss))(variables, on_mesh(batch, devices), catalogue)


def losses(report: dict[str, float]) -> None:
    common = {"model__layers": 1, "model__dropout": 0.3, "model__embedding_dropout": 0.2}
    text = {"model__backbone": "unisrec", "model__item_ids": True}
    cases = {
        "base": ("base", {}),
        "erl": ("erl", {}),
        "erl paper": ("erl", {"method__kl": "paper"}),
        "prl": ("prl", {}),
        "prl in blocks": ("prl", {"train__logits_gib": 0.0, "train__catalogue_block": 2}),
        "erl in blocks": ("erl", {"train__logits_gib": 0.0, "train__catalogue_block": 2}),
        "prl text": ("prl", text),
        "erl text": ("erl", {"model__backbone": "morec"}),
        "base features": ("base", {"data__item_features": "some"}),
        "base bert4rec cloze": (
            "base",
            {"model__backbone": "bert4rec", "train__objective": "cloze"},
        ),
        "prl sampled": ("prl", {"train__loss": "sampled", "train__sampled_items": 11}),
    }
    everywhere = "erl", "prl"  # the others: where both axes divide nothing
    for name, (method, changes) in cases.items():
        # Most of the time is compilation: one case has a step after a step.
        config = tiny.config(method, 2 if name == "prl in blocks" else 1, **common, **changes)
        want = loss_and_gradients(config, ONE)
        for data, model in MESHES[1:] if name in everywhere else MESHES[-1:]:
            got = loss_and_gradients(config, make_devices(data, model))
            report[f"{name} {data}x{model}"] = gap(got, want)
    config = tiny.config("prl", 1, **common)
    want = loss_and_gradients(config, ONE, 24)  # the items divide
    report["prl of 24 items"] = gap(loss_and_gradients(config, make_devices(2, 4), 24), want)


def ranks(report: dict[str, float]) -> None:
    rng = np.random.default_rng(0)
    for grid, mib in itertools.product((False, True), (0, 1)):
        draw = (lambda s: rng.integers(-1, 2, s)) if grid else (lambda s: rng.normal(size=s))
        vectors, table = jnp.asarray(draw((7, 3, 4)), "float32"), draw((ITEMS, 4))
        table = jnp.asarray(table, "float32")
        targets = jnp.asarray(rng.integers(0, ITEMS, 7), "int32")
        seen = rng.integers(0, ITEMS + 1, (7, 5))
        seen[seen == np.asarray(targets)[:, None]] = ITEMS
        seen = jnp.asarray(seen, "int32")
        examples = ranking.Examples(vectors, targets, seen)
        want = ranking.target_ranks(examples, table, mib)
        for data, model in MESHES[1:]:
            devices = make_devices(data, model)
            args = examples, table, mib, devices
            got = tiny.jit(lambda a=args: ranking.target_ranks(*a))()
            report[f"ranks {grid} {mib} {data}x{model}"] = gap(got, want)


def trained(config: Config, devices: Devices, updates: int = 3) -> step.TrainState:
    transform = optax.adam(1e-2)
    catalogue = catalogue_of(config, devices, ITEMS)
    batch = packed()
    task = Task(config, ITEMS, ROWS, batch.targets.shape[1], devices)
    state = step.initial_state(task, transform, catalogue)
    update = step.update_function(task, transform, catalogue, contrast=True)
    for _ in range(updates):
        state, _ = update(state, on_mesh(batch, devices))
    return state


def training(report: dict[str, float]) -> None:
    lazy = {"train__loss": "sampled", "train__sampled_items": 11, "train__lazy_adam": True}
    for name, changes in {"training": {}, "lazy training": lazy}.items():
        config = tiny.config("prl", 1, model__layers=1, model__dropout=0.3, **changes)
        want = trained(config, ONE)
        for data, model in ((8, 1), (2, 4)):
            devices = make_devices(data, model)
            state = trained(config, devices)
            report[f"{name} {data}x{model}"] = gap(state.variables, want.variables)
            wrong = [
                leaf
                for leaf, split in zip(
                    jax.tree.leaves(state),
                    jax.tree.leaves(devices.state(state)),
                    strict=True,
                )
                if not leaf.sharding.is_equivalent_to(split, leaf.ndim)
            ]
            report[f"{name} {data}x{model}: leaves placed otherwise"] = len(wrong)
            table = state.variables["params"]["items"]["table"]
            held = table.addressable_shards[0].data.size * model
            report[f"{name} {data}x{model}: table held"] = held / table.size - 1


def nothing_counts(report: dict[str, float]) -> None:
    """No candidate at all, or none in a slice: the direct value, and no gradient that is NaN."""
    states, table = (jnp.asarray(np.random.default_rng(1).normal(size=(6, 4)), "float32"),) * 2
    weight = jnp.asarray([0.0, -jnp.inf, -jnp.inf, -jnp.inf, -jnp.inf, -jnp.inf])
    keys = jnp.asarray([0, 1, 1, 1, 1, 1])
    candidates = partition.Candidates(keys, keys, weight)

    def loss(devices: Devices, states: jax.Array, table: jax.Array) -> jax.Array:
        a = sharded.log_partition(states, table, 2, candidates, devices)
        return jnp.logaddexp(a, 0.3).sum()

    value = jax.value_and_grad(loss, argnums=(1, 2))
    want = value(ONE, states, table)
    for data, model in MESHES[1:]:
        devices = make_devices(data, model)
        got = jax.jit(lambda s, t, devices=devices: value(devices, s, t))(states, table)
        report[f"nothing counts {data}x{model}"] = gap(got, want)


def main() -> None:
    assert jax.device_count() == 8
    report: dict[str, float] = {}
    for check in (nothing_counts, ranks, losses, training):
        check(report)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
