"""The options of the grid's command line."""

from collections.abc import Mapping, Sequence
import dataclasses
import os
import pathlib
import re

from rearec_jax import config as config_lib
from rearec_jax.errors import UserError
from rearec_jax.methods import in_paper
from rearec_jax.studies.grid.variants import STUDIES, Study, parse_vary
from rearec_jax.studies.program import Parser

PAPER = ("yelp", "video_games", "software", "cds_and_vinyl", "baby_products")
SET_BY_THE_GRID = {  # option of a cell -> the flag that sets it here
    "model.backbone": "--backbones=...",
    "method.name": "--methods=...",
    "seed": "--seeds=...",
    "data.path": "--data=NAME=FILE",
    "data.item_text": "--text=NAME=FILE",
}
_OVERRIDE = re.compile(r"--?config\.([\w.]+)=.*", re.DOTALL)
_CONFIGS = pathlib.Path(__file__).resolve().parents[3] / "configs"


@dataclasses.dataclass(frozen=True)
class Options:
    """The checked options."""

    configs: Mapping[str, str]  # the config file of each data set, by the stem of the file
    has_configs: bool  # whether they are named; otherwise they are the paper's
    backbones: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    vary: Mapping[str, tuple[str, ...]]  # options with values; a cell for each combination
    root: pathlib.Path  # the directory of the grid
    data: Mapping[str, str]  # the data file of a data set, where one is named
    text: Mapping[str, str]  # the item text of a data set, where one is named
    overrides: tuple[str, ...]  # the --config.name=value of all cells
    dry_run: bool  # whether to print the commands and run nothing
    table: bool  # whether to print the table and run nothing
    markdown: str  # the file to write the table to; "" for none


def parse(arguments: Sequence[str]) -> Options:
    """Reads the command line.

    Raises:
        UserError: a flag is unknown, a file does not exist, or values contradict each other.
    """
    flags, rest = _parser().parse_known_args(arguments)
    study = _study(vars(flags).pop("study"))
    flags.overrides = _overrides(rest)
    flags.vary = dict(study.vary) | _vary(flags.vary, flags.overrides)
    flags.has_configs = bool(flags.configs)
    flags.configs = _configs(flags.configs, must_exist=flags.has_configs or not flags.table)
    flags.backbones = _names("--backbones", flags.backbones)
    named = flags.methods is not None
    flags.methods = _names("--methods", flags.methods) if named else study.methods
    flags.seeds = _seeds(flags.seeds)
    flags.data = _files("--data", flags.data, flags.configs)
    flags.text = _files("--text", flags.text, flags.configs)
    _check_writable(flags.markdown)
    return Options(**vars(flags))


def _parser() -> Parser:
    parser = Parser(
        prog="rearec_jax.studies.grid",
        description="Runs data sets x backbones x methods x seeds one after another, skips what is"
        " done, and prints the table. The same command continues an interrupted grid.",
        epilog="Any --config.NAME=VALUE is given to all cells.",
    )
    add = parser.add_argument
    add("--configs", metavar="FILES", help="config files, with commas; default: the paper's five")
    add("--backbones", default=",".join(config_lib.BACKBONES), help="default: %(default)s")
    add("--methods", help=f"default: {','.join(in_paper())}, or those of the study")
    add("--study", help=f"vary what the analysis needs: {', '.join(STUDIES)}")
    add(
        "--vary",
        action="append",
        default=[],
        metavar="OPTION=VALUES",
        help="such as method.steps=1,2,3: a cell for each value, and each combination of several",
    )
    add("--seeds", default="0", help="default: %(default)s")
    below = "a work directory a cell below it; default: %(default)s"
    add("--root", type=pathlib.Path, default="runs/grid", help=below)
    add("--data", action="append", default=[], metavar="NAME=FILE", help="data.path of NAME.py")
    add("--text", action="append", default=[], metavar="NAME=FILE", help="data.item_text of it")
    add("--dry_run", action="store_true", help="print the commands of the cells that are not done")
    add("--table", action="store_true", help="only print the table of what is done")
    add("--markdown", default="", metavar="FILE", help="write the table there as well")
    return parser


def _configs(text: str | None, must_exist: bool) -> dict[str, str]:
    paths = [os.path.relpath(_CONFIGS / f"{name}.py") for name in PAPER]
    if text is not None:
        paths = list(_names("--configs", text))
    configs: dict[str, str] = {}
    for path in paths:
        if must_exist and not pathlib.Path(path).is_file():
            raise UserError(f"config file {path} does not exist; name others with --configs=FILES")
        stem = pathlib.Path(path).stem
        if stem in configs:
            raise UserError(f"--configs: {configs[stem]} and {path} have the same name; rename one")
        configs[stem] = path
    return configs


def _names(flag: str, text: str) -> tuple[str, ...]:
    """Returns the names of a list with commas, each once, in the order given."""
    names = tuple(dict.fromkeys(filter(None, (name.strip() for name in text.split(",")))))
    if not names:
        raise UserError(f"{flag} names nothing; list names with commas between them")
    return names


def _seeds(text: str) -> tuple[int, ...]:
    names = _names("--seeds", text)
    if wrong := [name for name in names if not (name.isascii() and name.isdigit())]:
        raise UserError(f"--seeds={text}: {wrong[0]!r} is no whole number from 0, such as 0,1,2")
    return tuple(dict.fromkeys(map(int, names)))


def _study(name: str | None) -> Study:
    if name is None:
        return Study(in_paper(), {})
    if name not in STUDIES:
        raise UserError(f"--study={name} must be one of {', '.join(STUDIES)}")
    return STUDIES[name]


def _vary(pairs: Sequence[str], overrides: Sequence[str]) -> dict[str, tuple[str, ...]]:
    matches = map(_OVERRIDE.fullmatch, overrides)
    vary = parse_vary(pairs, [match[1] for match in matches if match is not None])
    for name in vary:
        if name in SET_BY_THE_GRID:
            raise UserError(f"--vary={name}: the grid sets it; write {SET_BY_THE_GRID[name]}")
    return vary


def _files(flag: str, pairs: Sequence[str], configs: Mapping[str, str]) -> dict[str, str]:
    files = {}
    for pair in pairs:
        name, _, path = pair.partition("=")
        if not name or not path:
            raise UserError(f"{flag}={pair} must have the form {flag}=NAME=FILE")
        if name not in configs:
            raise UserError(f"{flag}={pair}: {name} is none of the grid's {', '.join(configs)}")
        if not os.path.exists(path):
            raise UserError(f"{flag}={pair}: {path} does not exist")
        files[name] = path
    return files


def _overrides(rest: Sequence[str]) -> tuple[str, ...]:
    for argument in rest:
        match = _OVERRIDE.fullmatch(argument)
        if match is None:
            raise UserError(
                f"unexpected argument {argument!r}; --help lists the flags, and options of all"
                " cells are written --config.NAME=VALUE"
            )
        if match[1] in SET_BY_THE_GRID:
            raise UserError(f"{argument}: the grid sets it; write {SET_BY_THE_GRID[match[1]]}")
    return tuple(rest)


def _check_writable(path: str) -> None:
    """Checks that a file can be written, before hours of work rather than after."""
    if path and not pathlib.Path(path).absolute().parent.is_dir():
        raise UserError(f"--markdown={path}: its directory does not exist; make it first")
    if path and pathlib.Path(path).is_dir():
        raise UserError(f"--markdown={path} is a directory; name a file")
