"""Reads and checks the manifest of an export: the types, ranges and names in manifest.json."""

from collections.abc import Mapping
import dataclasses
import datetime
import pathlib
import sys
from typing import Any, NamedTuple, cast

from rearec_jax.errors import UserError, shown
from rearec_jax.losses.similarity import SIMILARITIES
from rearec_jax.recommend.items import ITEMS_FILE
from rearec_jax.run import files

MANIFEST = "manifest.json"
FORMAT = 1
ENCODE, ATTEND, ROWS = "encode.stablehlo", "attend.stablehlo", "rows.stablehlo"
TABLE, WEIGHTS = "table.npy", "weights"
LONGEST = 2**16  # the longest history and the most reasoning steps, as in `config.options`
LARGEST = 2**31 - 1  # the largest count, which 32 bits hold
TYPES = ("float16", "bfloat16", "float32", "float64")


class ArrayType(NamedTuple):
    """The type of an array: [*shape, dtype] in the file."""

    shape: tuple[int, ...]
    dtype: str


@dataclasses.dataclass(frozen=True)
class Facts:
    """The facts that loading a model needs besides its arrays; the fields are `engine.Engine`'s.

    similarity:  A name of `SIMILARITIES`.
    text_scale:  None in older exports, like the temperature.
    """

    name: str
    max_length: int
    steps: int
    cloze: bool
    similarity: str
    text_width: int
    text_scale: float | None
    temperature: float | None


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The content of manifest.json.

    versions:       The versions of rearec_jax, JAX and Python that wrote the export.
    programs_until: The date until which JAX promises to read the programs; None in older exports.
    platforms:      The platforms of the programs.
    options:        The options that the model is made of, and the seed; None in older exports.
    model:          The facts of the model.
    items:          N, the number of items.
    weights:        The files of the encoder's weights, in the order of the program's arguments.
    row_weights:    The files of the item encoder's weights; () where the model reads no text.
    shapes:         The type of each of these arrays and of the table.
    files:          The SHA-256 of every other file.
    """

    versions: Mapping[str, str]
    programs_until: datetime.date | None
    platforms: tuple[str, ...]
    options: Mapping[str, Any] | None
    model: Facts
    items: int
    weights: tuple[str, ...]
    row_weights: tuple[str, ...]
    shapes: Mapping[str, ArrayType]
    files: Mapping[str, str]

    @property
    def is_overdue(self) -> bool:
        """Says whether JAX no longer promises to read the programs."""
        return self.programs_until is not None and self.programs_until < datetime.date.today()

    def to_json(self) -> dict[str, Any]:
        """Returns the content of the file."""
        until = self.programs_until and self.programs_until.isoformat()
        shapes = {name: [*shape, dtype] for name, (shape, dtype) in self.shapes.items()}
        changed = {"programs_until": until, "shapes": shapes}
        return {"format": FORMAT} | dataclasses.asdict(self) | changed


def read(path: pathlib.Path) -> Manifest:
    """Reads the manifest of the export at ``path`` and checks it.

    Raises:
        UserError: it is damaged, lacks something or contradicts itself, or its format is newer.
    """
    file = path / MANIFEST
    try:
        raw = _Part(files.read_json(path, MANIFEST))
        number = raw.whole("format", LARGEST)
        manifest = _typed(raw) if number == FORMAT else None
    except _Lacking as error:
        raise UserError(f"{file} lacks {error}; export the model again") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is damaged ({error}); export the model again") from error
    if manifest is None:
        raise UserError(
            f"{file} has format {number}, this version reads {FORMAT}; export the model again"
        )
    return manifest


class _Lacking(ValueError):
    """Something that is not in the manifest, in words."""


@dataclasses.dataclass(frozen=True)
class _Part:
    """A JSON object whose members are read by their types; each raises ValueError.

    members: The object.
    owner:   The words before the name of a member; "" of the whole manifest.
    """

    members: Mapping[str, Any]
    owner: str = ""

    def of(self, name: str, *kinds: type) -> Any:
        """Returns a member of one of the types; True is no number."""
        if name not in self.members:
            raise _Lacking(f"{self.owner}{name}") if self.owner else ValueError(f"no {name!r}")
        value = self.members[name]
        if type(value) not in kinds:
            wanted = " or ".join(kind.__name__ for kind in kinds)
            raise ValueError(f"{self.owner}{name} is {shown(value)}, no {wanted}")
        return value

    def whole(self, name: str, most: int, least: int = 0) -> int:
        """Returns a whole number from ``least`` to ``most``."""
        value = self.of(name, int)
        if not least <= value <= most:
            raise ValueError(f"{self.owner}{name} must lie between {least} and {most}")
        return value

    def positive(self, name: str) -> float | None:
        """Returns a positive number, None where there is none."""
        if self.members.get(name) is None:
            return None
        value = self.of(name, int, float)
        if not 0 < value <= sys.float_info.max:
            raise ValueError(f"{self.owner}{name} must be a positive number")
        return float(value)

    def texts(self, name: str, kind: type) -> Any:
        """Returns a list of strings, or an object whose members are strings."""
        found = self.of(name, kind)
        if not all(isinstance(text, str) for text in (found.values() if kind is dict else found)):
            raise ValueError(f"{self.owner}{name} are not all text")
        return found


def _typed(raw: _Part) -> Manifest:
    """Returns the manifest with its types; raises ValueError for the first thing that is wrong."""
    if "items" not in raw.members:
        raise _Lacking("the number of items")
    until = raw.members.get("programs_until")
    manifest = Manifest(
        versions=raw.texts("versions", dict),
        programs_until=None if until is None else datetime.date.fromisoformat(str(until)),
        platforms=tuple(raw.texts("platforms", list)),
        options=None if raw.members.get("options") is None else raw.of("options", dict),
        model=_facts(_Part(raw.of("model", dict), "the model's ")),
        items=raw.whole("items", LARGEST, 1),
        weights=tuple(raw.texts("weights", list)),
        row_weights=tuple(raw.texts("row_weights", list)),
        shapes={name: _array_type(name, one) for name, one in raw.of("shapes", dict).items()},
        files=raw.texts("files", dict),
    )
    _check_files(manifest)
    _check_shapes(manifest)
    _check_options(manifest)
    return manifest


def _facts(raw: _Part) -> Facts:
    similarity = raw.of("similarity", str)
    if similarity not in SIMILARITIES:
        raise ValueError(f"similarity {shown(similarity)} is none of {SIMILARITIES}")
    cloze = raw.of("cloze", bool)
    return Facts(
        name=raw.of("name", str),
        max_length=raw.whole("max_length", LONGEST, 1 + cloze),
        steps=raw.whole("steps", LONGEST),
        cloze=cloze,
        similarity=similarity,
        text_width=raw.whole("text_width", LARGEST),
        text_scale=raw.positive("text_scale"),
        temperature=raw.positive("temperature"),
    )


def _array_type(name: str, raw: Any) -> ArrayType:
    *shape, dtype = raw if isinstance(raw, list) and raw else [None]
    if dtype not in TYPES or not all(type(size) is int and 1 <= size <= LARGEST for size in shape):
        raise ValueError(f"the type of {name} is {shown(raw)}")
    return ArrayType(tuple(shape), dtype)


def _check_files(manifest: Manifest) -> None:
    """Raises ValueError unless all that is read has a digest and a type, in the directory."""
    for name in manifest.files:
        path = pathlib.PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"it names {name!r}, which is not in its directory")
    text = manifest.model.text_width > 0
    arrays = [TABLE, *manifest.weights, *(manifest.row_weights if text else ())]
    missing = [f"the type of {name}" for name in arrays if name not in manifest.shapes]
    needed = [ENCODE, *([ROWS] if text else ()), *arrays, ITEMS_FILE]
    missing += [f"the digest of {name}" for name in needed if name not in manifest.files]
    if missing:
        raise _Lacking(", ".join(missing))
    for names in (manifest.weights, manifest.row_weights):
        # The order of a tree's leaves: the program knows its arguments by their order alone.
        if list(names) != sorted(set(names), key=lambda name: name.removesuffix(".npy").split(".")):
            raise ValueError("its weights are not in the order of the program")


def _check_shapes(manifest: Manifest) -> None:
    """Raises ValueError where a fact contradicts the shape of an array."""
    table, facts = manifest.shapes[TABLE].shape, manifest.model
    if len(table) != 2:
        raise ValueError(f"the shape of {TABLE} is {table}")
    shapes = {
        name.removeprefix(f"{WEIGHTS}/params.encoder.").removesuffix(".npy"): manifest.shapes[name]
        for name in manifest.weights
    }
    for name, rows in (("position", facts.max_length), ("reasoning_position", facts.steps)):
        if name in shapes and shapes[name].shape != (rows, table[1]):
            raise ValueError(f"the {name} has the shape {shapes[name].shape}, not {rows} rows")
    if facts.cloze != ("mask" in shapes):
        raise ValueError("the model's cloze and its weights contradict each other")


def _check_options(manifest: Manifest) -> None:
    """Raises ValueError where a fact contradicts the options."""
    if manifest.options is None:
        return
    groups = [manifest.options.get(name) for name in ("model", "method", "train")]
    if not all(isinstance(group, dict) for group in groups):
        raise ValueError("its options are none")
    (model, method, train), facts = cast(list[dict[str, Any]], groups), manifest.model
    for name, fact, said in (
        ("name", facts.name, f"{model.get('backbone')}, {method.get('name')}"),
        ("max_length", facts.max_length, model.get("max_length")),
        ("similarity", facts.similarity, model.get("similarity")),
        ("reading of text", facts.text_width > 0, model.get("items") != "ids"),
        ("steps", facts.steps, method.get("steps")),
        ("cloze", facts.cloze, train.get("objective") == "cloze"),
        ("temperature", facts.temperature, method.get("temperature")),
    ):
        if fact is not None and fact != said:
            raise ValueError(f"the model's {name} is {fact}, and its options say {said}")
