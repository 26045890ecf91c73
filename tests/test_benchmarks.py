"""The benchmarks' parts that measure nothing: tables, arguments, turns, generated data."""

import io
import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from benchmarks import (
    adaptive_depth,
    evaluation,
    generated,
    memory,
    peer_worker,
    peers,
    scaling,
    serve_load,
    startup,
    tables,
)
from benchmarks.arguments import numbers
from benchmarks.training_step import model_flops
from rearec_jax.data.interactions import TEST, TRAIN, VALIDATION
from rearec_jax.studies.capacity.flops import product_flops
from tests import markdown
from tests.processes import ROOT

# Of requirements.txt, what a bare machine with an accelerator may lack (Flax itself needs rich).
OPTIONAL = ["polars", "sklearn", "tensorboardX", "tensorflow_datasets"]


def test_the_core_needs_no_library_of_files_and_tables():
    blocked = f"import sys\nfor name in {OPTIONAL}: sys.modules[name] = None\n"
    code = blocked + "import benchmarks.training_step, benchmarks.memory, benchmarks.evaluation"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


class TestArguments:
    def test_numbers(self):
        assert numbers("1,20,3") == [1, 20, 3]

    @pytest.mark.parametrize(
        ("main", "options", "said"),
        [
            (memory.main, ["--items=1e6"], "'1e6' is not like 1,2,5"),
            (evaluation.main, ["--steps=1,2"], "--steps must begin with 0"),
            (serve_load.main, ["--steps=2"], "--steps must begin with 0"),
            (evaluation.main, ["--users=10"], "--latency_users must not exceed"),
            (peers.main, ["no/such/file"], "no/such/file does not exist"),
        ],
    )
    def test_a_mistake_is_said(self, main, options, said, monkeypatch, capsys):
        monkeypatch.setattr(sys, "argv", ["benchmark", *options])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        assert said in capsys.readouterr().err


class TestGenerated:
    def test_users_are_like_those_of_beauty(self):
        data = generated.like_beauty()
        assert (data.num_users, data.num_items) == (22_363, 12_101)
        assert data.lengths.min() == 5
        assert data.lengths.mean() == pytest.approx(8.88, rel=0.02)
        assert (data.split[data.offsets[1:] - 1] == TEST).all()
        assert (data.split[data.offsets[1:] - 2] == VALIDATION).all()
        assert np.count_nonzero(data.split == TRAIN) == data.num_interactions - 3 * data.num_users

    @pytest.mark.parametrize(
        ("targets", "segment", "tokens"), [(200, 10, 50), (60, 20, 20), (2050, 10, 50)]
    )
    def test_a_batch_has_the_targets_asked_for(self, targets, segment, tokens):
        config = generated.configuration(model__max_length=tokens)
        batch = generated.training_batch(config, 30, targets, segment)
        assert int(batch.weights.sum()) == targets
        assert batch.tokens.shape == (targets // tokens, tokens)

    @pytest.mark.parametrize("method", ["base", "erl", "prl"])
    def test_flops_are_those_of_the_program(self, method):
        config = generated.configuration(method__name=method, model__width=16, model__hidden=24)
        one = generated.ready(config, items=300, targets=200)
        made = product_flops(jax.make_jaxpr(one.update)(one.state, one.batch))
        tokens = one.batch.tokens.size / one.targets
        by_hand = one.targets * model_flops(config, 300, 0, tokens, one.targets)
        assert by_hand == pytest.approx(made, rel=0.02)

    def test_flops_are_those_of_the_documentation(self):
        config = generated.configuration(method__name="prl", model__width=256)
        assert model_flops(config, 12_101, 768, 1.0) / 1e6 == pytest.approx(88.5, abs=0.1)
        text = (ROOT / "docs" / "performance.md").read_text("utf-8")
        (row,) = (r for r in markdown.rows(text) if r.get("MFLOP a target") == "prl`, D=256")
        assert markdown.number(row["together"]) == 88.5


class TestRatios:
    def test_each_function_once_a_round_after_one_unmeasured_call(self):
        called = []
        functions = {key: lambda key=key: called.append(key) for key in (0, 2)}
        seconds = evaluation.interleaved(functions, rounds=3)
        assert [len(own) for own in seconds.values()] == [3, 3]
        assert sorted(called) == [0] * 4 + [2] * 4

    def test_the_ratio_is_that_of_the_same_round(self):
        seconds = {0: [1.0, 2.0, 4.0], 5: [1.1, 2.2, 40.0]}
        assert evaluation.over_first(seconds) == {0: 1.0, 5: 1.1}

    def test_exponents(self):
        curve = [
            {"varied": "items", "size": size, "microseconds_per_target": cost}
            for size, cost in ((100, 9.0), (10, 5.0), (200, 18.0))
        ]
        assert scaling.exponents(curve) == {"items": 1.0}

    def test_curves_of_several_runs_are_joined(self):
        parts = [
            [{"varied": varied, "size": size, "microseconds_per_target": size} for size in (1, 2)]
            for varied in ("items", "tokens")
        ]
        got = scaling.joined([{"width": 64, "results": part, "exponent": {}} for part in parts])
        whole = [*parts[0], *parts[1]]
        assert got == {"width": 64, "results": whole, "exponent": {"items": 1.0, "tokens": 1.0}}

    def test_a_plot_is_written(self, tmp_path):
        pytest.importorskip("matplotlib")
        curve = [
            {"varied": varied, "size": size, "microseconds_per_target": 2.0 * size}
            for varied in scaling.NAMES
            for size in (1, 2)
        ]
        scaling.plot(curve, tmp_path / "plot.svg")
        assert "<svg" in (tmp_path / "plot.svg").read_text()

    def test_medians_of_startup(self):
        runs = [{"first_update": s, "whole_run": s + 1} for s in (3.0, 1.0, 2.0)]
        assert startup.medians(runs) == {
            "repeats": 3,
            "seconds_to_first_update": 2.0,
            "fastest": 1.0,
            "whole_run_seconds": 3.0,
        }


def test_peak_memory_never_falls_and_sees_a_large_array():
    before = memory.peak_bytes()
    array = np.ones(2**24)
    after = memory.peak_bytes()
    assert after >= before > 2**20
    assert after >= array.nbytes


class TestTurns:
    """A request is answered once, with what was done between it and the answer."""

    def answers(self, requests, targets, epoch):
        replies = io.StringIO()
        lines = io.StringIO("".join(json.dumps(request) + "\n" for request in requests))
        turns = peer_worker.Turns(lines, replies)
        turns.ready(version="1")
        for number, count in enumerate(targets, start=1):
            turns.before_batch()
            turns.after_batch(count)
            if number % epoch == 0:
                turns.after_epoch(lambda: 0.5)
        return [json.loads(line) for line in replies.getvalue().splitlines()]

    def test_batches_and_epochs(self):
        requests = [{"batches": 2}, {"epoch": True}, {"batches": 1}]
        about, two, rest, one = self.answers(requests, [10, 20, 30, 40, 50], epoch=4)
        assert about == {"version": "1"}
        assert (two["batches"], two["targets"]) == (2, 30)
        assert (rest["batches"], rest["targets"], rest["ndcg@10"]) == (2, 70, 0.5)
        assert (one["batches"], one["targets"]) == (1, 50)
        assert "ndcg@10" not in one

    def test_a_turn_may_cross_the_end_of_an_epoch(self):
        _, answer = self.answers([{"batches": 3}], [1, 1, 1], epoch=2)
        assert answer["targets"] == 3

    def test_ndcg_counts_examples_without_a_rank_as_misses(self):
        assert peer_worker.ndcg_at_10(iter([1, 3, 11]), 4) == pytest.approx((1 + 0.5) / 4)

    def test_users_without_two_training_items_are_left_out(self, tmp_path):
        (tmp_path / "file").write_text("a 1 2 3\nb 1 2 3 4\n")
        assert peer_worker.sequences(tmp_path / "file") == [("b", ["1", "2", "3", "4"])]

    def test_a_side_that_ends_is_an_error(self):
        with pytest.raises(RuntimeError, match=r"nobody ended with code 3"):
            peers.Side("nobody", [sys.executable, "-c", "raise SystemExit(3)"])


RESULTS = {
    "adaptive_depth": {
        "fixed": [
            {"steps": 1, "ndcg": [0.03, 0.02], "difference": [0.001, -0.002], "error": [0.1, 0.2]}
        ],
        "rules": [],
    },
    "training_step": {
        "device": "cpu",
        "results": [
            {
                "backbone": "sasrec",
                "method": "prl",
                "steps": 2,
                "width": 64,
                "targets_per_update": 2050,
                "dtype": "bfloat16",
                "targets_per_second": 4222.4,
                "fastest": 5000.0,
                "trace_and_compile_seconds": 1.5,
                "megaflop_per_target": 19.2,
                "product_gigaflop_per_second": 150.0,
                "share_of_product_rate": 0.5,
            }
        ],
    },
    "products": {
        "results": [
            {
                "method": "erl",
                "width": 256,
                "milliseconds": 180.5,
                "gigaflop": 70.79,
                "gigaflop_by_hand": 70.67,
                "product_gigaflop_per_second": 450.0,
                "share_of_product_rate": 0.87,
                "products": [],
            }
        ],
    },
    "memory": {
        "results": [
            {
                "device": "cpu",
                "loss": "sampled",
                "lazy_adam": True,
                "items": 1_000_000,
                "peak_gib": 3.25,
                "baseline_gib": 0.2,
                "device_peak_gib": None,
                "seconds_per_update": 0.125,
            },
            {"items": 10, "loss": "full", "failed": -9},
        ]
    },
    "evaluation": {
        "users": 22_363,
        "passes": [
            {
                "by_step": False,
                "steps": 2,
                "seconds": 2.5,
                "users_per_second": 8945.2,
                "over_no_reasoning": 1.035,
            }
        ],
        "latency": [{"users": 1, "steps": 0, "milliseconds": 0.75, "over_no_reasoning": 1.0}],
    },
    "inference": {
        "width": 256,
        "batch": [
            {
                "steps": 2,
                "users_per_second": 10168.8,
                "fastest": 10515.2,
                "over_no_reasoning": 1.187,
                "cpu_seconds_per_1000_users": 0.172,
            }
        ],
        "single": [{"steps": 2, "p50": 1.298, "p90": 1.607, "p99": 2.089}],
    },
    "tune_parallel": {
        "items": 400,
        "results": [
            {
                "method": "prl",
                "width": 16,
                "candidates": 2,
                "seconds_of_one": 0.027,
                "seconds_of_all_at_once": 0.0375,
                "times_as_fast": 1.44,
            }
        ],
    },
    "startup": {
        "config": "configs/demo.py",
        "results": [{"cache": "cold", **startup.medians([{"first_update": 9, "whole_run": 12}])}],
    },
    "scaling": {
        "results": [
            {
                "varied": "items",
                "size": 12_000,
                "seconds_per_update": 0.5,
                "microseconds_per_target": 250.0,
            }
        ],
        "exponent": {"items": 0.98},
    },
    "peers": {
        "until_ndcg@10": 0.03,
        "results": [
            {
                "name": "rectools",
                "version": "0.19.0",
                "targets_per_second": 430.0,
                "seconds_per_epoch": 306.0,
                "over rectools": 1.0,
                "seconds_to_until": None,
                "epochs": 30,
            }
        ],
    },
    "input_pipeline": {
        "training": {
            "batch_seconds": 0.0005,
            "targets_per_second": 4_000_000,
            "token_fill": 0.999,
            "query_fill": 0.9,
        },
        "test": {
            "batch_seconds": 0.001,
            "examples_per_second": 1_000_000,
            "token_fill": 0.99,
            "query_fill": 0.5,
        },
    },
}
SHOWN = {
    "adaptive_depth": {
        "who stops": "all after 1",
        "NDCG@20, test": 0.02,
        "over K, test": -0.002,
    },  # in the first row
    "training_step": {
        "": "prl",
        "D": 64,
        "type": "bfloat16",
        "K": 2,
        "targets an update": 2050,
        "targets/s": 4222,
        "fastest": 5000,
        "MFLOP a target": 19.2,
        "share of it": 50,
        "compile, s": 1.5,
    },
    "products": {
        "": "erl",
        "D": 256,
        "GFLOP an update": 70.79,
        "by hand": 70.67,
        "ms alone": 180.5,
        "product, GFLOP/s": 450,
        "share of it": 87,
    },
    "memory": {
        "loss": "lazy_adam",
        "items": 1_000_000,
        "peak, GiB": 3.25,
        "of it before the first array": 0.2,
        "device peak, GiB": "-",
        "s an update": 0.125,
    },
    "evaluation": {"ranked": "final", "K": 2, "users/s": 8945, "s a pass": 2.5, "over K=0": 3.5},
    "inference": {
        "K": 2,
        "users/s": 10_169,
        "fastest": 10_515,
        "over K=0": 18.7,
        "CPU s for 1,000 users": 0.172,
        "one user a call: p50, ms": 1.298,
        "one user a call: p90, ms": 1.607,
        "one user a call: p99, ms": 2.089,
    },
    "tune_parallel": {
        "": "prl",
        "D": 16,
        "candidates": 2,
        "one, ms": 27,
        "all at once, ms": 37.5,
        "times as fast": 1.44,
    },
    "startup": {
        "compiled programs": "cold",
        "s to the first update": 9,
        "fastest": 9,
        "whole run, s": 12,
        "repeats": 1,
    },
    "scaling": {"": "12,000", "s an update": 0.5, "µs a target": 250},
    "peers": {
        "": "rectools",
        "targets/s": 430,
        "s an epoch": 306,
        "× rectools": 1,
        "s to NDCG@10 0.03": "-",
        "epochs": 30,
    },
    "input_pipeline": {
        "": "training",
        "batch, ms": 0.5,
        "a second": 4_000_000,
        "token fill": 99.9,
        "query fill": 90,
    },
}


class TestAdaptiveDepth:
    doubt = np.array([[np.inf, 0.3, 0.1], [np.inf, 0.1, 0.3], [np.inf, 0.4, 0.2]])

    def test_a_user_stops_at_the_first_depth_below_the_threshold(self):
        assert adaptive_depth.depths(self.doubt, 0.35).tolist() == [1, 1, 2]

    def test_no_user_stops_with_threshold_zero(self):
        assert adaptive_depth.depths(self.doubt, 0.0).tolist() == [2, 2, 2]

    @pytest.mark.parametrize("mean", [1.1, 1.5, 2.0])
    def test_the_threshold_keeps_to_the_mean_number_of_steps(self, mean):
        doubt = np.random.default_rng(0).random((500, 3))
        doubt[:, 0] = np.inf
        found = adaptive_depth.depths(doubt, adaptive_depth.threshold_for(doubt, mean)).mean()
        assert mean - 0.02 <= found <= mean


class TestTables:
    @pytest.mark.parametrize("name", tables.TABLES)
    def test_numbers_stand_below_their_headings(self, name, tmp_path):
        path = tmp_path / "file.json"
        path.write_text(json.dumps({"benchmark": name} | RESULTS[name]))
        first, *_ = markdown.rows(tables.section(path))
        for heading, value in SHOWN[name].items():
            if isinstance(value, str):
                assert value in first[heading]
            else:
                assert markdown.number(first[heading]) == pytest.approx(value, rel=1e-3)

    def test_what_a_process_that_failed_looks_like(self, tmp_path):
        path = tmp_path / "file.json"
        path.write_text(json.dumps({"benchmark": "memory"} | RESULTS["memory"]))
        _, failed = markdown.rows(tables.section(path))
        assert (failed["loss"], failed["items"]) == ("full", "10")
        assert "failed (code -9)" in failed["peak, GiB"] and failed["s an update"] == "-"

    @pytest.mark.parametrize("text", ["", "[]", '{"benchmark": "other"}', '{"benchmark": "peers"}'])
    def test_a_file_of_something_else_is_said(self, text, tmp_path):
        path = tmp_path / "file.json"
        path.write_text(text)
        with pytest.raises(SystemExit, match=r"file\.json is not the JSON of one of training_step"):
            tables.section(path)
