"""What was saved comes back bit for bit, onto the asked shardings, whatever crashed meanwhile."""

import logging
import pathlib
import resource
import shutil
import subprocess
import sys
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import numpy as np
import optax
import pytest

from rearec_jax.errors import UserError
from rearec_jax.run import checkpoint_leaves
from rearec_jax.run.checkpoint import Checkpoints
from tests.processes import ROOT


class State(NamedTuple):
    params: dict
    optimizer: optax.OptState
    step: jax.Array


def make_state(seed: int, width: int = 8) -> State:
    params = {
        "table": jax.random.normal(jax.random.key(seed), (16, width)),
        "half": jnp.arange(6, dtype=jnp.bfloat16) + jnp.bfloat16(seed),
        "flags": jnp.array([True, False]),
    }
    transform = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))
    return State(params, transform.init(params["table"]), jnp.int32(seed))


def abstract(state: State) -> State:
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
    )


def assert_same(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert a.dtype == b.dtype
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


REPOSITORY = ROOT  # where a child process finds the package
ABSTRACT = abstract(make_state(0))


@pytest.fixture
def saved(tmp_path) -> pathlib.Path:
    """Last checkpoints of steps 1 and 2, the best of step 1."""
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save_best(1, make_state(1), {"epoch": 1})
        checkpoints.save_last(1, make_state(1), {"epoch": 1})
        checkpoints.save_last(2, make_state(2), {"epoch": 2})
    return tmp_path


def steps(directory: pathlib.Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


class TestRoundTrip:
    def test_state_and_progress_are_identical(self, tmp_path):
        state = make_state(3)
        progress = {"epoch": 4, "best": 0.1 + 0.2, "none_yet": float("-inf"), "name": "prl"}
        with Checkpoints(tmp_path) as checkpoints:
            checkpoints.save_last(7, state, progress)
        with Checkpoints(tmp_path) as checkpoints:
            restored, restored_progress = checkpoints.restore_last(abstract(state))
        assert_same(restored, state)
        assert restored_progress == progress

    def test_nothing_saved_is_none_and_leaves_no_trace(self, tmp_path):
        with Checkpoints(tmp_path / "checkpoints") as checkpoints:
            assert checkpoints.restore_last(ABSTRACT) is None
            assert checkpoints.restore_best(ABSTRACT) is None
        assert steps(tmp_path) == []

    def test_starting_fresh_does_not_load_orbax(self):
        program = (
            "import sys, pathlib; from rearec_jax.run.checkpoint import Checkpoints;"
            "Checkpoints(pathlib.Path('/nonexistent')).restore_last({});"
            "sys.exit('orbax.checkpoint' in sys.modules)"
        )
        subprocess.run([sys.executable, "-c", program], check=True, cwd=REPOSITORY)

    def test_orbax_is_loaded_ahead_and_the_save_finds_it(self, tmp_path):
        program = (
            "import sys, pathlib, threading; from rearec_jax.run.checkpoint import Checkpoints;"
            "Checkpoints(pathlib.Path('/nonexistent')).load_ahead();"
            "[thread.join() for thread in threading.enumerate() if thread.name == 'orbax'];"
            "sys.exit('orbax.checkpoint' not in sys.modules)"
        )
        subprocess.run([sys.executable, "-c", program], check=True, cwd=REPOSITORY)

    @pytest.mark.parametrize("kind", ["float32", "bfloat16", "bool", "int8", "uint16", "int32"])
    def test_bits_are_summed_alike_on_the_host_and_on_a_device(self, kind):
        """A checkpoint of an accelerator may be read on a CPU."""
        words = np.random.default_rng(0).integers(0, 256, (7, 12), np.uint8)
        array = jnp.asarray(words % 2 == 1 if kind == "bool" else words.view(jnp.dtype(kind)))
        on_device = np.asarray(checkpoint_leaves.bit_sums([array, array[0, 0]])).tolist()
        assert [checkpoint_leaves.bit_sum(np.asarray(x)) for x in (array, array[0, 0])] == on_device

    @pytest.mark.skipif(len(jax.devices()) < 2, reason="needs two devices")
    def test_arrays_go_to_the_asked_shardings(self, saved):
        mesh = Mesh(np.array(jax.devices()[:2]), ("model",))

        def place(leaf):
            spec = PartitionSpec("model") if len(leaf.shape) == 2 else PartitionSpec()
            sharding = NamedSharding(mesh, spec)
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

        wanted = jax.tree.map(place, ABSTRACT)
        with Checkpoints(saved) as checkpoints:
            restored, _ = checkpoints.restore_last(wanted)
        for leaf, want in zip(jax.tree.leaves(restored), jax.tree.leaves(wanted), strict=True):
            assert leaf.sharding == want.sharding
        assert_same(restored, make_state(2))

    def test_buffers_may_be_donated_right_after_saving(self, tmp_path):
        step = jax.jit(lambda x: x * 0 - 1, donate_argnums=0)
        state = {"table": jax.random.normal(jax.random.key(0), (500, 1000))}
        want = np.array(state["table"], copy=True)
        shapes = abstract(state)
        with Checkpoints(tmp_path) as checkpoints:
            checkpoints.save_last(1, state, {})
            x = state["table"]
            for _ in range(10):
                x = step(x)
            x.block_until_ready()
        with Checkpoints(tmp_path) as checkpoints:
            restored, _ = checkpoints.restore_last(shapes)
        np.testing.assert_array_equal(restored["table"], want)


class TestRetention:
    def test_newest_two_and_the_best_stay(self, tmp_path):
        with Checkpoints(tmp_path) as checkpoints:
            for step in range(1, 6):
                if step in (2, 3):
                    checkpoints.save_best(step, make_state(step), {"epoch": step})
                checkpoints.save_last(step, make_state(step), {"epoch": step})
        assert steps(tmp_path / "last") == ["4", "5"]
        assert steps(tmp_path / "best") == ["3"]
        with Checkpoints(tmp_path) as checkpoints:
            assert_same(checkpoints.restore_best(ABSTRACT)[0], make_state(3))
            assert_same(checkpoints.restore_last(ABSTRACT)[0], make_state(5))

    def test_best_that_is_replaced_while_it_is_read(self, saved):
        with Checkpoints(saved) as reader, Checkpoints(saved) as run:
            assert reader.best_progress() == {"epoch": 1}
            run.save_best(2, make_state(2), {"epoch": 2})
            run.wait()
            state, progress = reader.restore_best(ABSTRACT)
        assert_same(state, make_state(2))
        assert progress == {"epoch": 2}

    def test_save_that_fails_is_explained_and_keeps_the_old_one(self, tmp_path):
        state = {"table": jax.random.normal(jax.random.key(0), (300, 256))}
        with Checkpoints(tmp_path) as checkpoints:
            checkpoints.save_best(1, state, {"epoch": 1})
            checkpoints.wait()
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # bytes a file
            try:
                with pytest.raises(UserError, match=r"best: File too large; make room"):
                    checkpoints.save_best(2, state, {"epoch": 2})
                    checkpoints.wait()
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        with Checkpoints(tmp_path) as checkpoints:
            restored, progress = checkpoints.restore_best(abstract(state))
        assert_same(restored, state)
        assert progress == {"epoch": 1}

    @pytest.mark.parametrize("seconds", [0.05, 0.3])
    def test_killed_at_any_moment_leaves_a_best_and_a_last_that_agree(self, tmp_path, seconds):
        program = (
            "import itertools, pathlib, sys, jax.numpy as jnp\n"
            "from rearec_jax.run.checkpoint import Checkpoints\n"
            "checkpoints = Checkpoints(pathlib.Path(sys.argv[1]))\n"
            "for step in itertools.count():\n"
            "    state = {'x': jnp.full((200, 300), step)}\n"
            "    checkpoints.save_best(step, state, {'step': step})\n"
            "    checkpoints.save_last(step, state, {'step': step})\n"
            "    print(step, flush=True)\n"
        )
        command = [sys.executable, "-c", program, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY) as process:
            while process.stdout.readline().strip() != b"2":
                pass
            time.sleep(seconds)
            process.kill()
        shape = {"x": jax.ShapeDtypeStruct((200, 300), jnp.int32)}
        with Checkpoints(tmp_path) as checkpoints:
            best, best_progress = checkpoints.restore_best(shape)
            last, last_progress = checkpoints.restore_last(shape)
        assert (best["x"] == best_progress["step"]).all()
        assert (last["x"] == last_progress["step"]).all()
        assert 0 < last_progress["step"] <= best_progress["step"]

    def test_half_written_save_of_a_killed_process_is_ignored(self, saved):
        half = saved / "last" / "3.orbax-checkpoint-tmp"
        shutil.copytree(saved / "last" / "2", half)
        with Checkpoints(saved) as checkpoints:
            assert checkpoints.restore_last(ABSTRACT)[1] == {"epoch": 2}
            assert half.exists()  # it may be another process's save under way
            checkpoints.save_last(3, make_state(3), {"epoch": 3})
        assert steps(saved / "last") == ["2", "3"]


class TestDamage:
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    @pytest.mark.parametrize("part", ["state", "record"])
    def test_truncated_newest_falls_back_and_says_so(self, saved, caplog, part):
        for path in (saved / "last" / "2" / part).rglob("*"):
            if path.is_file():
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with caplog.at_level(logging.WARNING), Checkpoints(saved) as checkpoints:
            restored, progress = checkpoints.restore_last(ABSTRACT)
        assert_same(restored, make_state(1))
        assert progress == {"epoch": 1}
        assert "using checkpoint 1, not 2" in caplog.text

    def test_changed_byte_in_an_array_is_noticed(self, tmp_path):
        # The storage has no checksum of arrays: most such changes decode without an error.
        state = {"table": jax.random.normal(jax.random.key(0), (300, 256))}
        with Checkpoints(tmp_path) as checkpoints:
            checkpoints.save_last(1, {"table": state["table"] * 2}, {"epoch": 1})
            checkpoints.save_last(2, state, {"epoch": 2})
        files = (tmp_path / "last" / "2" / "state").rglob("d/*")
        largest = max(files, key=lambda path: path.stat().st_size)
        content = bytearray(largest.read_bytes())
        content[len(content) // 2] ^= 0x10
        largest.write_bytes(content)
        with Checkpoints(tmp_path) as checkpoints:
            restored, progress = checkpoints.restore_last(abstract(state))
        assert progress == {"epoch": 1}
        assert_same(restored, {"table": state["table"] * 2})

    def test_training_goes_on_past_the_damaged_step(self, saved):
        (saved / "last" / "2" / "record" / "metadata").write_text("")
        with Checkpoints(saved) as checkpoints:
            checkpoints.restore_last(ABSTRACT)
            checkpoints.save_last(2, make_state(22), {"epoch": 22})
        with Checkpoints(saved) as checkpoints:
            restored, progress = checkpoints.restore_last(ABSTRACT)
        assert_same(restored, make_state(22))
        assert progress == {"epoch": 22}

    def test_all_damaged_is_an_error_not_a_fresh_start(self, saved):
        for path in (saved / "last").glob("*/record/metadata"):
            path.write_text("{")
        with Checkpoints(saved) as checkpoints, pytest.raises(UserError, match="2: it cannot"):
            checkpoints.restore_last(ABSTRACT)


class TestBestAndLastTogether:
    def test_last_that_outran_its_best_is_not_used(self, saved, caplog):
        """Killed when last/3 was whole and best/3 was not: the progress of 3 speaks of best/3."""
        with Checkpoints(saved) as checkpoints:
            checkpoints.restore_last(ABSTRACT)
            kept = shutil.copytree(saved / "best", saved / "kept")
            checkpoints.save_best(3, make_state(3), {"epoch": 3})
            checkpoints.save_last(3, make_state(3), {"epoch": 3})
        shutil.rmtree(saved / "best")
        shutil.move(kept, saved / "best")
        with Checkpoints(saved) as checkpoints:
            restored, progress = checkpoints.restore_last(ABSTRACT)
            assert progress == {"epoch": 2}
            assert_same(restored, make_state(2))

    def test_best_that_outran_last_is_saved_again(self, saved):
        """Killed when best/3 was whole and last/3 was not: step 3 is computed and saved again."""
        with Checkpoints(saved) as checkpoints:
            checkpoints.save_best(3, make_state(3), {"epoch": 3})
        with Checkpoints(saved) as checkpoints:
            assert checkpoints.restore_last(ABSTRACT)[1] == {"epoch": 2}
            checkpoints.save_best(3, make_state(3), {"epoch": 3})
            checkpoints.save_last(3, make_state(3), {"epoch": 3})
        with Checkpoints(saved) as checkpoints:
            assert_same(checkpoints.restore_best(ABSTRACT)[0], make_state(3))
            assert checkpoints.restore_last(ABSTRACT)[1] == {"epoch": 3}


class TestAnotherModel:
    def test_other_shape_is_named(self, saved):
        with Checkpoints(saved) as checkpoints, pytest.raises(UserError) as caught:
            checkpoints.restore_last(abstract(make_state(0, width=4)))
        assert "params.table is float32[16,8] there and float32[16,4]" in str(caught.value)

    def test_missing_and_further_leaves_are_named(self, saved):
        more = ABSTRACT._replace(params=ABSTRACT.params | {"more": ABSTRACT.step})
        less = ABSTRACT._replace(params={"table": ABSTRACT.params["table"]})
        with Checkpoints(saved) as checkpoints:
            with pytest.raises(UserError, match=r"params\.more is absent there and int32\[\] in"):
                checkpoints.restore_best(more)
            with pytest.raises(UserError, match=r"params\.\w+ is \S+ there and absent in"):
                checkpoints.restore_best(less)

    def test_no_pickle_on_disk(self, saved):
        for path in saved.rglob("*"):
            assert not path.is_file() or b"\x80\x04\x95" not in path.read_bytes()
