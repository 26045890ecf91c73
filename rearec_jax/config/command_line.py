"""Reads the options of a command line; every mistake becomes one sentence.

ml_collections loads the config file and applies the overrides. Its errors are for programmers, so
that their cause is found again here and put into the words of `config`.
"""

from collections.abc import Iterator, Sequence
import pathlib
import re
import sys
import traceback
from typing import Any

from absl import flags
from ml_collections import config_dict, config_flags

from rearec_jax import config as config_lib
from rearec_jax.config import Config
from rearec_jax.config.compare import flattened
from rearec_jax.errors import UserError

_OVERRIDE = re.compile(r"--?config\.([\w.]+)(?:=(.*))?", re.DOTALL)


def load(arguments: Sequence[str]) -> config_dict.ConfigDict:
    """Returns the options of ``--config=FILE --config.name=value ...``, without any global flags.

    Raises:
        UserError: There is no --config=FILE, or ``parse`` raises it.
    """
    argv = ["", *arguments]
    values = flags.FlagValues()
    sys.modules.pop("config_config", None)  # the config file before this one, which must not mix
    config_flags.DEFINE_config_file("config", None, "", flag_values=values, sys_argv=argv)
    parse(argv, values)
    options = values["config"].value
    if options is None:
        raise UserError("--config=FILE is missing")
    return options


def changed(config: Config, arguments: Sequence[str]) -> Config:
    """Returns the options with those that ``--config.name=value ...`` changes.

    Raises:
        UserError: An option is unknown, or its value is wrong.
    """
    argv = ["", *changes(arguments)]
    _check_overrides(argv)
    values = flags.FlagValues()
    options = config_lib.to_options(config)
    config_flags.DEFINE_config_dict("config", options, flag_values=values, sys_argv=argv)
    try:
        values(argv)
    except flags.Error as error:
        raise _explain(error, None) from error
    found: Any = values["config"].value
    return config_lib.resolve(found)


def changes(argv: Sequence[str]) -> list[str]:
    """Returns all --config.name=value of a command line, each as one argument."""
    return [argument for argument in split(argv)[0] if argument.lstrip("-").startswith("config.")]


def split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Splits a command line into its options and the rest.

    The options are --config=FILE and all --config.name=value, each as one argument.
    """
    options, rest = [], []
    left = list(argv)
    while left:
        argument = left.pop(0)
        name, equals, _ = argument.lstrip("-").partition("=")
        if not argument.startswith("-") or not (name == "config" or name.startswith("config.")):
            rest.append(argument)
        elif equals or not left or left[0].startswith("--"):  # a flag without a value
            options.append(argument)
        else:
            options.append(f"{argument}={left.pop(0)}")
    return options, rest


def parse(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> list[str]:
    """Parses the flags into ``values`` and returns the other arguments.

    Without --config=FILE the options are left to ``changed``: they are those of a run.

    Raises:
        UserError: A flag, an option, its value, or the config file (its line is named) is wrong.
    """
    path = config_path(argv)
    if path is not None and not pathlib.Path(path).is_file():
        raise UserError(f"--config={path} does not exist; name one of configs/*.py or your own")
    _check_overrides(argv)
    try:
        left = values(split(argv)[1] if path is None else list(argv))
        _check_loaded(path, values)
    except (UserError, KeyboardInterrupt, SystemExit):
        raise
    except Exception as error:  # a config file is a program: it may raise anything
        raise _explain(error, path) from error
    return left


def config_path(argv: Sequence[str]) -> str | None:
    """Returns the file that --config names, without what follows a colon, or None."""
    path = None
    for argument, following in zip(argv, [*argv[1:], ""], strict=True):
        name, equals, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and name == "config":
            path = (value if equals else following).split(":", 1)[0]
    return path


def rejoined(pieces: Sequence[str]) -> list[str]:
    """Returns the directories of a list that was split at commas, some of which are in names.

    (The names of cells of a study that varies two options hold a comma.) A piece that exists is a
    directory. A piece that does not is joined with those after it, up to the first directory that
    exists; where there is none, it stays as it is.
    """
    names: list[str] = []
    left = list(pieces)
    while left:
        exist = (n for n in range(1, len(left)) if pathlib.Path(left[n]).exists())
        longest = next(exist, len(left))
        joined = (n for n in range(1, longest + 1) if pathlib.Path(",".join(left[:n])).is_dir())
        count = next(joined, 1)
        names.append(",".join(left[:count]))
        left = left[count:]
    return names


def _check_overrides(argv: Sequence[str]) -> None:
    """Raises UserError for the first --config.name that names no option."""
    known = flattened(config_lib.default().to_dict())
    for argument in argv:
        match = _OVERRIDE.fullmatch(argument)
        if match is None:
            continue
        name, value = match.groups()
        inside = next((option for option in known if option.startswith(f"{name}.")), None)
        if inside is not None:
            raise UserError(
                f"{argument}: config.{name} is a group of options; set one of them, such as"
                f" --config.{inside}=..."
            )
        if name not in known:
            config_lib.resolve(_nested(name, value))
            raise UserError(f"unknown option config.{name}")


def _check_loaded(path: str | None, values: flags.FlagValues) -> None:
    options: Any = values["config"].value
    if path is not None and not isinstance(options, config_dict.ConfigDict):
        getattr(options, "lock", None)  # raises what kept the file from loading, if anything did
        raise TypeError("get_config() returns no options")


def _explain(error: Exception, path: str | None) -> UserError:
    for cause in _causes(error):
        line = _line_in(cause, path)
        if line:
            return UserError(f"{path} line {line}: {_reason(cause)}")
    wrong_kind = isinstance(error, KeyError | AttributeError)  # what it returns lacks a group
    if path is not None and (wrong_kind or "get_config" in str(error)):
        return UserError(
            f"{path}: a config file defines get_config(), which returns what"
            " rearec_jax.config.default() returns, changed; see configs/demo.py"
        )
    bad_value = re.search(r"flag --config\.([\w.]+)=(.*?): ", str(error), re.DOTALL)
    if bad_value is not None:
        try:
            config_lib.resolve(_nested(bad_value[1], bad_value[2]))
        except UserError as explained:
            return explained
    return UserError(f"command line: {error}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _line_in(error: BaseException, path: str | None) -> int | None:
    """Returns the innermost line of the file ``path`` that led to ``error``."""
    if isinstance(error, SyntaxError) and error.filename == path:
        return error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == path]
    return lines[-1] if lines else None


def _reason(error: BaseException) -> str:
    """Returns the first line of an error, or for an unknown option the sentence of `config`."""
    text = str(error.args[0]) if error.args else ""
    unknown = re.search(r"""Key "(\w+)" does not exist|^'(\w+)'\n""", text)
    if unknown is None:
        return f"{type(error).__name__}: {text.partition(chr(10))[0]}"
    near = re.search(r'Did you mean "(\w+)"', text)
    hint = f"; did you mean {near[1]}?" if near else ""
    return f"unknown option {unknown[1] or unknown[2]}{hint}"


def _nested(name: str, value: str | None) -> dict[str, Any]:
    """Returns {"train": {"epochs": value}} for "train.epochs"."""
    nested: Any = value
    for key in reversed(name.split(".")):
        nested = {key: nested}
    return nested
