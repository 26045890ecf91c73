"""Finds the columns of users, items and times by their names."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rearec_jax.errors import UserError


class Role(NamedTuple):
    """The meaning that a column may have.

    word:     the meaning, for messages.
    default:  the name that a column of this meaning has by default.
    names:    other names that say the same, without capitals, blanks and signs; no two of them
        may be in one table.
    """

    word: str
    default: str
    names: tuple[str, ...]


USER = Role(
    "user",
    "user_id",
    (
        *("user", "uid", "reviewerid", "visitorid", "sessionid", "customerid", "customer"),
        *("memberid", "accountid"),
    ),
)
ITEM = Role(
    "item",
    "item_id",
    (
        *("item", "iid", "movieid", "movie", "asin", "parentasin", "productid", "product"),
        *("businessid", "articleid", "isbn", "sku"),
        *("bookid", "gameid", "trackid", "songid", "artistid", "newsid", "videoid", "locationid"),
        *("items", "itemids", "itemlist", "itemidlist"),
    ),
)
TIME = Role(
    "time",
    "timestamp",
    (
        *("time", "ts", "date", "datetime", "unixtime", "unixreviewtime", "eventtime", "createdat"),
        *("eventtimestamp", "ratedat", "times", "timestamps"),
    ),
)
EVENT = Role("event", "", ("event", "eventtype", "eventname", "action", "behavior", "behaviour"))
# Names of columns whose cells are lists, of a table with a row a user.
SEVERAL = {"items", "itemids", "itemlist", "itemidlist", "times", "timestamps"}


def plain(name: str) -> str:
    """Returns 'userid' of 'user_id', 'userId', 'User ID' and 'user_id:token'."""
    return "".join(filter(str.isalnum, name.lower().partition(":")[0]))


def likely(names: Sequence[str], role: Role) -> list[str]:
    """Returns the columns that may have this meaning: one if it is obvious, none or several."""
    for known in ({role.default}, {plain(role.default)}, set(role.names)):
        found = [name for name in names if name in known or plain(name) in known - {""}]
        if found:
            return found
    return []


def of_options(names: Sequence[str], options: Mapping[str, str], where: str) -> dict[str, str]:
    """Returns the columns of users, items, times and events, by the options that name them.

    Times that an option leaves out, or that lists of items in their order lack, are left out.

    Raises:
        UserError: a column is not there, or several may be meant.
    """

    def column(option: str, role: Role) -> str:
        return choose(names, role, options[option], f"data.{option}", where)

    found = {"user_column": column("user_column", USER), "item_column": column("item_column", ITEM)}
    time, are_lists = options["timestamp_column"], plain(found["item_column"]) in SEVERAL
    if time and not (are_lists and time == TIME.default and not likely(names, TIME)):
        found["timestamp_column"] = column("timestamp_column", TIME)
    if options["events"]:
        found["event_column"] = column("event_column", EVENT)
    return found


def choose(names: Sequence[str], role: Role, given: str, option: str, where: str) -> str:
    """Returns the column of this meaning.

    Args:
        names: the columns of the table.
        role: the meaning.
        given: the value of the option. A table that lacks the default name may have another one
            that says the same; any other name must be there.
        option: the option that names the column, for the error.
        where: the table, for the error.

    Raises:
        UserError: the column is not there, or several may be meant.
    """
    found = [given] if given in names else []
    if not found and given == role.default:
        found = likely(names, role)
    if len(found) == 1:
        return found[0]
    there = f"its columns are {', '.join(names)}"
    if found:
        raise UserError(
            f"{where} has several columns that may be the {role.word}: {', '.join(found)}; name"
            f" one by {option} ({there})"
        )
    missing = f"no column {given!r}" if given else f"no {role.word} column"
    raise UserError(f"{where} has {missing} (option {option}); {there}")
