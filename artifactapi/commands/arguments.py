"""The command line of the commands with verbs; the daemon's options are tap's, from the same environment."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from typing import Any, NoReturn

from artifactapi.config import Config
from artifactapi.tap import OPTIONS, Options

DATABASE = ("data-dir", "database-url", "start-patience")
"""The daemon's options that are about its rows."""


class Parser(ArgumentParser):
    """Mistakes are one line on standard error, and exit status 1."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        """Exit with it."""
        raise SystemExit(f"artifactapi: {' '.join(message.split())}; see {self.prog} --help")


class Verbs:
    """The verbs of a noun."""

    def __init__(self, parser: Parser) -> None:
        self._parsers = parser.add_subparsers(metavar="VERB", dest="verb", required=True)

    def add(self, name: str, does: str, begin: Callable[[Namespace], Any]) -> Parser:
        """One more; `begin` is what `begin` of the arguments will be."""
        return complete(self._parsers.add_parser(name, help=does, description=does), begin)


def complete(parser: Parser, begin: Callable[[Namespace], Any]) -> Parser:
    """With the options that are about the database."""
    parser.set_defaults(begin=begin)
    about = parser.add_argument_group("where the rows are: options of the daemon")
    for option in OPTIONS:
        if option.name in DATABASE:
            about.add_argument(f"--{option.name}", metavar="X", help=f"{option.help} [{option.variable}]")
    return parser


def configuration(given: Namespace) -> Config:
    """The daemon's configuration, from these arguments and the environment. Exits if it makes no sense."""
    values = {name: getattr(given, name.replace("-", "_")) for name in DATABASE}
    options = Options()  # type: ignore[no-untyped-call]  # Twisted's
    options.parseOptions([f"--{name}={value}" for name, value in values.items() if value is not None])
    return options.config


def typed(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """An argument's type, from a function that raises ValueError."""

    def convert(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise ArgumentTypeError(str(error)) from None

    return convert


def text(given: str) -> str:
    """What can be sent to a database."""
    if not given.isprintable():
        raise ValueError("has characters that nothing here has")
    return given
