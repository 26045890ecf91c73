"""Imports go one way (docs/design.md): read from the source, nothing is imported here."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

PACKAGE = "rearec_jax"
ROOT = Path(__file__).resolve().parents[1]

# Module or subpackage -> what it may import of the package, besides itself. Longest prefix counts.
BASIS = {"errors", "types", "files"}
OPTIONS = BASIS | {"config"}
PARTS = {"data", "models", "losses", "metrics", "sharding", "optimizer", "random"}
RUNNING = {"hosts", "interruption", "lock", "meter", "progress", "table", "workdir"}
METHOD = {
    "user_results",
    "checkpoint",
    "objectives",
    "evaluate",
    "update",
    "plan",
    "popularity",
    "ranking",
    "parallel_ranking",
    "sampling",
}
BELOW_TRAIN = OPTIONS | PARTS | RUNNING | METHOD
# What an export needs, and no more: no Flax, no options, no training.
LIGHT = {
    "inference.batches",
    "inference.by_user",
    "inference.catalogue",
    "inference.exported",
    "inference.histories",
    "inference.insight",
    "inference.program",
    "inference.recommender",
    "inference.results",
    "inference.samples",
    "inference.user_rows",
}
ALLOWED: Mapping[str, set[str]] = {
    "errors": set(),
    "files": {"errors"},
    "huge_pages": set(),  # before anything else is imported
    "types": {"errors"},
    "config": {"errors"},  # not types: report reads the config, without JAX
    "data": OPTIONS,
    "random": BASIS,
    "products": set(),
    "models": OPTIONS | {"random", "products"},
    "losses": OPTIONS | {"products"},
    "metrics": OPTIONS,
    "popularity": OPTIONS | {"metrics"},
    "ranking": OPTIONS | {"losses", "metrics"},
    "parallel_ranking": OPTIONS | {"losses", "ranking"},
    "sampling": OPTIONS | {"losses"},
    "sharding": OPTIONS,
    "optimizer": OPTIONS,
    "hosts": OPTIONS,
    "interruption": OPTIONS,
    "meter": OPTIONS,
    "command_line": OPTIONS,
    "progress": OPTIONS,
    "table": OPTIONS,
    "lock": OPTIONS,
    "workdir": OPTIONS | {"lock"},
    "checkpoint": OPTIONS | {"hosts", "sharding", "workdir"},
    "objectives": OPTIONS | PARTS | {"sampling"},
    "evaluate": OPTIONS | PARTS | {"objectives", "ranking", "parallel_ranking"},
    "update": OPTIONS | PARTS | {"objectives", "sampling"},
    "plan": OPTIONS | PARTS | {"objectives", "evaluate", "update", "sampling", "meter"},
    "user_results": OPTIONS | {"data", "evaluate"},
    "train": BELOW_TRAIN,
    "inference": BELOW_TRAIN | LIGHT,
    **dict.fromkeys(LIGHT, LIGHT | BASIS | {"data", "losses"}),
    "experiment": BELOW_TRAIN | {"train", "profiling", "inference"},
    "profiling": BELOW_TRAIN,
    "encode_items": OPTIONS | {"data"},
    "analysis": OPTIONS | {"data", "workdir", "table"},
    "analysis.model_pass": BELOW_TRAIN | {"analysis"},
    "analysis.from_model": OPTIONS | {"data", "analysis", "analysis.model_pass"},
    "analysis.analyse_run": BELOW_TRAIN
    | {"experiment", "analysis", "analysis.model_pass", "analysis.from_model"},
    "serve": LIGHT | BASIS | {"inference"},
    "report": OPTIONS | {"analysis", "grid", "interruption", "table", "workdir"},
    "grid": OPTIONS | {"command_line", "workdir"},  # it starts main, and never imports it
    "capacity": BELOW_TRAIN | {"command_line"},
    "tune": OPTIONS | {"command_line", "grid", "workdir"},
    "tune.programs": BELOW_TRAIN | {"tune"},
    "tune.running": BELOW_TRAIN | {"train", "inference", "tune"},
    "tune.together": BELOW_TRAIN | {"train", "tune", "tune.programs", "tune.running"},
    "tune.tuner": BELOW_TRAIN
    | {"experiment", "tune", "tune.programs", "tune.running", "tune.together"},
    "tune.command": OPTIONS | {"tune", "tune.tuner"},
    "main": BELOW_TRAIN
    | {"command_line", "train", "experiment", "inference", "report", "tune.command"}
    | {"encode_items", "analysis", "analysis.analyse_run", "hosts", "serve", "huge_pages"},
}

# Other packages -> the only places that may import them.
JAX = (PARTS - {"data"}) | METHOD | {"types", "data.loader", "train", "inference"}
JAX |= {"hosts", "products", "profiling", "experiment", "meter", "main", "capacity"}
JAX |= {"analysis.model_pass", "analysis.analyse_run", "serve", "tune.running", "tune.command"}
JAX |= {"tune.programs", "tune.together", "tune.tuner", "huge_pages"}
ONLY_IN = {
    "jax": JAX,
    "jaxlib": JAX,
    "chex": JAX,
    "optax": JAX,
    "orbax": {"checkpoint"},
    "flax": JAX,
    "flax.linen": {"models"},
    "flax.nnx": set(),
    "tensorflow": set(),
    "torch": {"data.language_model"},
    "transformers": {"data.language_model"},
    "sentence_transformers": {"data.language_model"},
    "sklearn": {"data"},
    "matplotlib": {"report"},  # an extra, imported where it is needed
    "fastapi": {"serve"},  # an extra, with the next four
    "orjson": {"serve"},
    "pydantic": {"serve"},
    "starlette": {"serve"},
    "uvicorn": {"serve"},
    "tensorflow_datasets": {"data.builders", "data.records"},  # 0.4 seconds to import
}


def covers(prefix: str, module: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


def longest(prefixes: Mapping[str, set[str]], module: str) -> str | None:
    return max((p for p in prefixes if covers(p, module)), key=len, default=None)


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
    if covers(PACKAGE, imported):
        name = imported.removeprefix(PACKAGE).removeprefix(".")
        rule = longest(ALLOWED, module)
        target = longest(ALLOWED, name)
        if target is None:
            is_own_attribute = "." not in name and name.startswith("__")
            return None if is_own_attribute or not name else f"{imported} has no rule"
        if rule is None or target == rule or target in ALLOWED[rule]:
            return None
        return f"{rule} may import only {sorted(ALLOWED[rule]) or 'nothing of the package'}"
    target = longest(ONLY_IN, imported)
    if target is None or any(covers(place, module) for place in ONLY_IN[target]):
        return None
    return f"{target} may be imported only in {sorted(ONLY_IN[target]) or 'no module'}"


def faults(sources: Mapping[str, str]) -> list[str]:
    """One sentence for each import that breaks a rule. Keys are paths such as 'data/loader.py'."""
    found = []
    for path, source in sorted(sources.items()):
        parts = Path(path).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        if module and longest(ALLOWED, module) is None:
            found.append(f"{path} has no rule: give it a place in ALLOWED of tests/test_imports.py")
        full_name = ".".join(filter(None, [PACKAGE, module]))
        for line, imported in imports(source, full_name, is_package):
            if why := fault(module, imported):
                found.append(f"{path}:{line} imports {imported}: {why}")
    return found


def test_imports_go_one_way():
    root = ROOT / PACKAGE
    sources = {p.relative_to(root).as_posix(): p.read_text("utf-8") for p in root.rglob("*.py")}
    assert len(sources) > 10
    found = faults(sources)
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("losses/x.py", "from rearec_jax.models import backbones"),
        ("losses/x.py", "from rearec_jax import models"),
        ("losses/x.py", "from ..models.backbones import Backbone"),
        ("losses/__init__.py", "from .. import models"),
        ("models/x.py", "def f():\n    import rearec_jax.train"),
        ("config.py", "import rearec_jax.data.packing"),
        ("errors.py", "from rearec_jax.config import Config"),
        ("data/packing.py", "import jax.numpy as jnp"),
        ("data/packing.py", "from flax import struct"),
        ("report/page.py", "import jax"),
        ("analysis/lists.py", "import jax.numpy as jnp"),
        ("analysis/lists.py", "from rearec_jax.analysis import model_pass"),
        ("report/page.py", "from rearec_jax.train import trained"),
        ("grid/cells.py", "from rearec_jax import main"),
        ("train.py", "from flax import linen as nn"),
        ("train.py", "import flax.linen"),
        ("train.py", "from rearec_jax import main"),
        ("train.py", "from rearec_jax import nowhere"),
        ("helpers.py", ""),
        ("__init__.py", "import jax"),
    ],
)
def test_a_broken_rule_is_found(path, source):
    assert len(faults({path: source})) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("objectives.py", "from rearec_jax.models import backbones\nfrom rearec_jax import losses"),
        ("losses/x.py", "from . import partition\nfrom rearec_jax.losses.partition import f"),
        ("data/loader.py", "import jax\nfrom rearec_jax.types import Batch"),
        ("models/x.py", "from flax import linen as nn\nfrom ..types import KVCache"),
        ("train.py", "from flax import traverse_util\nimport optax\nimport jaxtyping"),
        ("main.py", "import rearec_jax\nfrom rearec_jax import __version__, report, train"),
    ],
)
def test_what_the_rules_allow(path, source):
    assert faults({path: source}) == []
