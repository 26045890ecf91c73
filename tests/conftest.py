"""Strict settings, and where test data lies. Must come before the first import of JAX.

Eight virtual CPU devices; implicit promotion of types and ranks is an error; every call of the
package is checked against the shapes in its signature.
"""

from collections.abc import Iterator
import gc
import os
from pathlib import Path
import signal

from hypothesis import settings
from jaxtyping import install_import_hook
import pytest

from tests.processes import xla_flags

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {xla_flags(8)}"
os.environ["JAX_NUMPY_DTYPE_PROMOTION"] = "strict"
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"
# Tiny arrays: most of the suite's time would be optimising programs that run for milliseconds.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"

_TESTS = Path(__file__).resolve().parent
_MODULES = {path.stem for path in (_TESTS.parent / "rearec_jax").glob("[!_]*")}
# Of `serve` only what handles arrays: of an async function the hook would check the coroutine.
_CHECKED = {*(_MODULES - {"serve"}), "serve.shapes", "serve.warm_model"}
install_import_hook([f"rearec_jax.{name}" for name in sorted(_CHECKED)], "beartype.beartype")


# The suite draws the same examples each time; --hypothesis-profile=search draws others, and more.
settings.register_profile("suite", max_examples=60, deadline=None, derandomize=True, database=None)
settings.register_profile("search", max_examples=3_000, deadline=None)


def pytest_configure(config: pytest.Config) -> None:
    """Keeps compiled programs between runs, beside pytest's own cache (--cache-clear drops it).

    Also chooses the profile of hypothesis, and lets tests interrupt themselves: in a shell's
    background (&) Python ignores Ctrl-C.
    """
    gc.set_threshold(20_000, 10, 10)  # tracing makes many objects; few of them are in cycles
    if not config.getoption("--hypothesis-profile"):
        settings.load_profile("suite")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    cache = config.rootpath / ".pytest_cache" / "jax"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data sets, beside the repository; too large to be in it."""
    path = _TESTS.parents[1] / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"no data sets at {path}")
    return path


@pytest.fixture(scope="session")
def golden() -> Path:
    """Directory of erl.npz and prl.npz: numbers of the authors' implementation, in float64."""
    return _TESTS / "golden"


@pytest.fixture
def cold() -> Iterator[None]:
    """No program of an earlier test is there, and none is left to later ones."""
    from rearec_jax.evaluation import evaluator  # after the import hook
    from rearec_jax.training import step

    def clear() -> None:
        step.compiled_update.cache_clear()
        evaluator.programs.cache_clear()

    clear()
    yield
    clear()


# Their trainings, processes or programs for eight devices take up to minutes.
SLOWEST = (
    "test_mesh.py",
    "test_hosts.py",
    "test_runs.py",
    "test_checkpoints.py",
    "test_processes.py",
    "test_main.py",
    "test_plan.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slowest files first, so that no process of a parallel run is left alone with one.

    xdist keeps this order with --no-loadscope-reorder only, see launch/test.sh.
    """
    items.sort(key=lambda item: item.path.name not in SLOWEST)
