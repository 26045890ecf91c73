"""Imports go downwards through the rooms (docs/design.md): read from the source, nothing is run."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.processes import ROOT

PACKAGE = "rearec_jax"
# From the top floor down. A room imports from rooms below it, and from itself.
FLOORS = [
    *("main", "commands", "fitting", "serve", "studies", "recommend", "training", "evaluation"),
    *("data", "run", "models", "config", "methods", "losses", "devices", "ops"),
    *("types", "version", "errors"),
]
# Other packages -> the only places that may import them, at the top of a module or within.
JAX = {"main", "commands", "serve", "studies.tune", "studies.capacity", "recommend", "training"}
JAX |= {
    "studies.analysis.model_pass",
    "studies.equal.costs",
    "evaluation",
    "methods",
    "data.batches.loader",
    "losses",
}
JAX |= {"run.checkpoint_leaves", "run.checkpoint_series", "run.checkpoint_store"}
JAX |= {"models", "devices", "ops", "types", "studies.equal.costs"}
ONLY_IN: Mapping[str, set[str]] = {
    "jax": JAX,
    "jaxlib": JAX,
    "chex": JAX,
    "optax": JAX,
    "orbax": {"run.checkpoint_store"},
    "flax": JAX,
    "flax.linen": {"models"},
    "flax.nnx": set(),
    "tensorflow": set(),
    "torch": {"data.item_vectors.language_model"},
    "transformers": {"data.item_vectors.language_model"},
    "sentence_transformers": {"data.item_vectors.language_model"},
    "sklearn": {"data.item_vectors"},
    "jinja2": {"studies.report"},
    "matplotlib": {"studies.report"},  # an extra, imported where it is needed
    "httptools": {"serve"},  # an extra, with the next five
    "orjson": {"serve"},
    "prometheus_client": {"serve"},
    "pydantic": {"serve"},
    "starlette": {"serve"},
    "uvicorn": {"serve"},
    "tensorflow_datasets": {"data.published"},  # 0.4 seconds to import
}
# What an export needs, and no more: no Flax, no options, no training.
LIGHT = {f"recommend.{name}" for name in ("arguments", "engine", "from_export", "histories")}
LIGHT |= {f"recommend.{name}" for name in ("insight", "items", "manifest", "recommender")}
LIGHT |= {f"recommend.{name}" for name in ("results", "rows", "samples")}
NOT_LIGHT = {"config", "data.batches.loader", "evaluation", "methods", "models", "training"}


def covers(prefix: str, module: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


def imports(source: str, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """Line and absolute name of all that is imported: a.b for ``from a import b``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parents = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parents, *filter(None, [node.module])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def fault(module: str, imported: str) -> str | None:
    """Why ``module`` (without the package's name) may not import ``imported``; None if it may."""
    if not covers(PACKAGE, imported):
        target = max((name for name in ONLY_IN if covers(name, imported)), key=len, default=None)
        if target is None or any(covers(place, module) for place in ONLY_IN[target]):
            return None
        return f"{target} may be imported only in {sorted(ONLY_IN[target]) or 'no module'}"
    name = imported.removeprefix(PACKAGE).removeprefix(".")
    room, below = module.split(".")[0], name.split(".")[0]
    if not module or not name or below.startswith("__"):  # the package's own face
        return None
    if below not in FLOORS:
        return f"{imported} is in no room of FLOORS"
    if FLOORS.index(below) < FLOORS.index(room):
        return f"{room} is below {below}"
    if module in LIGHT and any(covers(heavy, name) for heavy in NOT_LIGHT):
        return "an export must load without it"
    return None


def faults(sources: Mapping[str, str]) -> list[str]:
    """One sentence for each import that breaks a rule. Keys are paths such as 'data/loader.py'."""
    found = []
    for path, source in sorted(sources.items()):
        parts = Path(path).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        if module and parts[0] not in FLOORS:
            found.append(f"{path} is in no room: give it a place in FLOORS")
            continue
        full_name = ".".join(filter(None, [PACKAGE, module]))
        for line, imported in imports(source, full_name, is_package):
            if why := fault(module, imported):
                found.append(f"{path}:{line} imports {imported}: {why}")
    return found


def test_imports_go_downwards():
    root = ROOT / PACKAGE
    sources = {p.relative_to(root).as_posix(): p.read_text("utf-8") for p in root.rglob("*.py")}
    assert len(sources) > 10
    found = faults(sources)
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("losses/x.py", "from rearec_jax.evaluation import metrics"),
        ("losses/x.py", "from rearec_jax import evaluation"),
        ("losses/x.py", "from ..evaluation.metrics import ndcg"),
        ("losses/__init__.py", "from .. import evaluation"),
        ("models/x.py", "def f():\n    import rearec_jax.training.loop"),
        ("config/options.py", "import rearec_jax.data.batches"),
        ("errors.py", "from rearec_jax.config import Config"),
        ("data/batches/packing.py", "import jax.numpy as jnp"),
        ("data/batches/packing.py", "from flax import struct"),
        ("studies/report/page.py", "import jax"),
        ("studies/grid/cells.py", "from rearec_jax import main"),
        ("training/loop.py", "from flax import linen as nn"),
        ("training/loop.py", "import flax.linen"),
        ("training/loop.py", "from rearec_jax import nowhere"),
        ("recommend/engine.py", "from rearec_jax.models import backbones"),
        ("recommend/items.py", "from rearec_jax.config import Config"),
        ("helpers.py", ""),
        ("__init__.py", "import jax"),
    ],
)
def test_a_broken_rule_is_found(path, source):
    assert len(faults({path: source})) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("methods/x.py", "from rearec_jax.types import Batch\nfrom rearec_jax import losses"),
        ("losses/x.py", "from . import partition\nfrom rearec_jax.losses.partition import f"),
        ("data/batches/loader.py", "import jax\nfrom rearec_jax.types import Batch"),
        ("models/x.py", "from flax import linen as nn\nfrom ..types import KVCache"),
        ("training/loop.py", "from flax import traverse_util\nimport optax\nimport jaxtyping"),
        ("main.py", "import rearec_jax\nfrom rearec_jax import __version__, commands, training"),
    ],
)
def test_what_the_rules_allow(path, source):
    assert faults({path: source}) == []
