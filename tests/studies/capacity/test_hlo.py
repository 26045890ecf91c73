"""What a compiled program sends, read from its text: written by hand, and compiled here."""

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
import numpy as np
import pytest

from rearec_jax.studies.capacity import hlo
from rearec_jax.studies.capacity.hlo import Collective

# ruff: noqa: E501
# As XLA prints it for TPUs: layouts with tiles, a loop in a loop, pairs of start and done.
PROGRAM = """HloModule jit_update, is_scheduled=true

%add (x: f32[], y: f32[]) -> f32[] {
  ROOT %sum = f32[]{:T(128)} add(%x, %y)
}

%inner (p: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %all-reduce.1 = f32[8,4]{1,0:T(8,128)S(1)} all-reduce(%v), channel_id=1, replica_groups={{0,1},{2,3}}, to_apply=%add
  %f = f32[8,4]{1,0} fusion(%x), kind=kLoop, calls=%never_a, backend_config={"estimated_cycles":"7","x":[]}
  ROOT %t = (s32[], f32[8,4]{1,0:T(8,128)}) tuple(%i, %all-reduce.1)
}

%outer (p: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  ROOT %w = (s32[], f32[8,4]{1,0:T(8,128)}) while(%p), condition=%c, body=%inner, backend_config={"known_trip_count":{"n":"5"}}
}

%c (p: (s32[], f32[8,4])) -> pred[] {
  %b = s32[]{:T(128)} constant(3)
  ROOT %lt = pred[]{:T(512)} compare(%a, %b), direction=LT
}

%fused (p: bf16[2,4]) -> bf16[8,4] {
  ROOT %ag = bf16[8,4]{1,0} all-gather(%p), replica_groups=[1,4]<=[4], dimensions={0}
}

%never (p: f32[9]) -> f32[9] {
  ROOT %x = f32[9]{0} all-reduce(%p), replica_groups={}, to_apply=%add
}

ENTRY %main (a: f32[8,4]) -> f32[8,4] {
  %n = f32[8]{0} negate(%d), backend_config={"estimated_cycles":"100"}
  %w = (s32[], f32[8,4]{1,0}) while(%t), condition=%c, body=%outer, metadata={op_name="x"}
  %f = bf16[8,4]{1,0} fusion(%b), kind=kCustom, calls=%fused
  %s = (f32[2]{0}, f32[8]{0}) all-gather-start(%d), replica_groups={}, dimensions={0}
  %e = f32[8]{0} all-gather-done(%s)
  %ps = (u8[16]{0}, u8[16]{0}) collective-permute-start(%g), source_target_pairs={{0,1},{1,0}}
  %pd = u8[16]{0} collective-permute-done(%ps)
  %rs = f32[2]{0} reduce-scatter(%h), replica_groups={{0,1,2,3}}, to_apply=%add
  ROOT %r = f32[8,4]{1,0} get-tuple-element(%w), index=1
}
"""


def test_every_collective_as_often_as_it_runs():
    assert sorted(hlo.collectives(PROGRAM, chips=4)) == [
        Collective("all-gather", size=32, chips=4, times=1),
        Collective("all-gather", size=64, chips=4, times=1),
        Collective("all-reduce", size=128, chips=2, times=15),
        Collective("collective-permute", size=16, chips=4, times=1),
        Collective("reduce-scatter", size=32, chips=4, times=1),
    ]
    assert hlo.loops(PROGRAM).unknown == 0


def test_what_leaves_a_chip():
    sent = hlo.sent_by_kind(hlo.collectives(PROGRAM, chips=4))
    assert sent == {
        "all-gather": 0.75 * (32 + 64),
        "all-reduce": 15 * 2 * 0.5 * 128,
        "collective-permute": 16,
        "reduce-scatter": 0.75 * 32,
    }
    assert Collective("all-reduce", 100, chips=1, times=1).sent == 0


def test_a_loop_without_a_known_number_of_rounds_counts_once():
    text = PROGRAM.replace("s32[]{:T(128)} constant(3)", "s32[] parameter(0)")
    (reduce,) = [one for one in hlo.collectives(text, 4) if one.kind == "all-reduce"]
    assert reduce.times == 5
    assert hlo.loops(text).unknown == 1


def test_cycles_of_the_cost_model():
    assert hlo.cycles(PROGRAM) == 100 + 15 * 7
    assert hlo.cycles("") == 0


@pytest.mark.parametrize(
    ("groups", "chips"),
    [
        ("{{0,1,2},{3,4,5}}", 3),
        ("[4,2]<=[8]", 2),
        ("{}", 8),
        ("mesh['axis_0'=8] {'axis_0'}", 8),
        ("mesh['data'=4,'model'=2] {'model'}", 2),
        ("mesh['data'=4,'model'=2] {'data','model'}", 8),
        ("mesh['axis_0'=8] {'axis_0':(2)4}", 4),
    ],
)
def test_how_groups_are_written(groups, chips):
    line = f"  %r = f32[2] all-reduce(%a), replica_groups={groups}, to_apply=%add"
    text = f"ENTRY %main (a: f32[2]) -> f32[2] {{\n{line}\n}}"
    assert [one.chips for one in hlo.collectives(text, 8)] == [chips]


@pytest.mark.skipif(len(jax.devices()) < 4, reason="needs four devices")
def test_a_program_of_this_machine():
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:4]), ("data",))
    split = NamedSharding(mesh, PartitionSpec("data"))
    whole = NamedSharding(mesh, PartitionSpec())
    x = jax.ShapeDtypeStruct((8, 3), jnp.float32, sharding=split)
    text = jax.jit(lambda x: x.sum(axis=0), out_shardings=whole).lower(x).compile().as_text()
    assert hlo.collectives(text, 4) == [Collective("all-reduce", size=12, chips=4, times=1)]
