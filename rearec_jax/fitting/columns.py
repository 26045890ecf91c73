"""Finds the columns of users, items and times by the names that data sets usually give them."""

from collections.abc import Mapping, Sequence
import re

from rearec_jax.config import DataConfig
from rearec_jax.errors import UserError

# The names as `_plain` leaves them: "movieId", "movie_id:token" and "Movie ID" are "movieid".
NAMES = {
    "user_column": (
        *("userid", "user", "uid", "customerid", "customer", "reviewerid", "visitorid"),
        *("accountid", "memberid", "sessionid"),
    ),
    "item_column": (
        *("itemid", "item", "iid", "movieid", "movie", "productid", "product", "parentasin"),
        *("asin", "bookid", "isbn", "articleid", "trackid", "songid", "videoid", "gameid"),
        *("businessid", "sku"),
    ),
    "timestamp_column": (
        *("timestamp", "time", "ts", "datetime", "date", "unixreviewtime", "unixtime"),
        *("createdat", "eventtime", "eventtimestamp", "ratedat"),
    ),
}
_WANTED = {"user_column": "users", "item_column": "items", "timestamp_column": "times"}
_DEFAULTS = DataConfig()


def found(names: Sequence[str], given: Mapping[str, str], place: str) -> dict[str, str]:
    """Returns the column of users, of items and of times, by the name of its option.

    An option that names a column, or none (""), stays. One at its default, whose column is not
    there, becomes the only column with a well-known name.

    Args:
        names: the names of all columns.
        given: the options `data.*`.
        place: the name of the table in errors.

    Raises:
        UserError: no column or several may be meant; the message names the columns.
    """
    return {option: _column(names, option, given[option], place) for option in NAMES}


def _column(names: Sequence[str], option: str, given: str, place: str) -> str:
    if given in names or not given:
        return given
    problem = f"has no column {given!r}"
    if given == getattr(_DEFAULTS, option):
        known = [name for name in names if _plain(name) in NAMES[option]]
        if len(known) == 1:
            return known[0]
        several = " and ".join(map(repr, known))
        wanted = _WANTED[option]
        problem = f"has {several}: which are the {wanted}?" if known else f"has no known {wanted}"
    in_order = "; '' if the rows are in time order already" if "time" in option else ""
    raise UserError(
        f"{place} {problem} Name the column by data.{option}{in_order}; there are"
        f" {', '.join(map(str, names))}"
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().partition(":")[0])
