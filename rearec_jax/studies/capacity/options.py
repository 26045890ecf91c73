"""The options of the capacity plan's command line."""

from collections.abc import Sequence
import dataclasses
import re

from rearec_jax import config as config_lib
from rearec_jax.config import Config, command_line
from rearec_jax.errors import UserError
from rearec_jax.studies.capacity.chips import CHIPS
from rearec_jax.studies.program import Parser


@dataclasses.dataclass(frozen=True)
class Options:
    """The checked options."""

    name: str  # the name of the config file
    config: Config  # the options of the training
    topology: str  # the slice, such as v5e:2x4
    items: int  # the number of items in the catalogue; 0 to take it from the data
    targets: int  # the training targets of an epoch; 0 to take them from the data, or for unknown
    history: int  # the training interactions of a generated user
    text_width: int  # the width of the items' text vectors; 0 for text.width
    features: tuple[int, int] | None  # the values of features, and the most of an item
    price: float  # the price of a chip-hour; 0 for unknown
    as_json: bool  # whether to print JSON


def parse(arguments: Sequence[str]) -> Options:
    """Reads the command line. Raises UserError for a wrong flag or option."""
    flags, rest = _parser().parse_known_args(arguments)
    for argument in rest:
        if not argument.startswith(("--config", "-config")):
            raise UserError(f"unexpected argument {argument!r}; --help lists the flags")
    config = config_lib.resolve(command_line.load(rest))
    for flag in ("items", "targets", "text_width", "price"):
        if not getattr(flags, flag) >= 0:  # NaN is not
            raise UserError(f"--{flag}={getattr(flags, flag)} must not be negative")
    flags.history = flags.history or config.model.max_length // 2 + 1  # two users fill a row
    if flags.history < 2:
        raise UserError(f"--history={flags.history} must be at least 2: a history and a target")
    flags.features = _features(flags.features)
    if flags.items and config.data.item_features and not flags.features:
        raise UserError(
            f"--items reads no data, and so not data.item_features={config.data.item_features};"
            " say how many values they have, and how many an item has at most: --features=600x6"
        )
    return Options(command_line.config_path(rest) or "", config, **vars(flags))


def _features(given: str) -> tuple[int, int] | None:
    """Reads VALUESxMOST, such as 600x6; None where nothing is given."""
    if not given:
        return None
    found = re.fullmatch(r"(\d+)x(\d+)", given)
    if found is None or not 1 <= int(found[2]) <= int(found[1]):
        raise UserError(f"--features={given} must be VALUESxMOST, such as 600x6")
    return int(found[1]), int(found[2])


def _parser() -> Parser:
    parser = Parser(
        prog="launch/plan.py",
        description="Compiles a configuration's training update and evaluation for a slice of TPUs"
        " that need not be there, and says what they need of it: memory, time, cost.",
        epilog="Besides these: --config=FILE, and any --config.NAME=VALUE.",
    )
    add = parser.add_argument
    add(
        "--topology",
        required=True,
        help=f"the slice: one of {', '.join(CHIPS)}, a colon, chips in each dimension (v5e:2x4)",
    )
    add("--items", type=int, default=0, help="of the catalogue; then no data are read")
    add("--targets", type=int, default=0, help="training targets an epoch; default: of the data")
    add(
        "--history",
        type=int,
        default=0,
        help="training interactions a user, with --items; default: two users fill a row",
    )
    add("--text_width", type=int, default=0, help="of the items' text vectors; default: text.width")
    add(
        "--features",
        default="",
        help="of the items, with --items: VALUESxMOST, such as 600x6: all values of all columns,"
        " and the most of an item",
    )
    add("--price", type=float, default=0.0, help="of a chip for an hour, in any currency")
    add("--json", action="store_true", dest="as_json", help="print JSON and nothing else")
    return parser
