"""What stands in the environment wins over the file: `PROCTORD_TEACHER__HTTP__MODEL=small`.

A variable becomes a key before anything is checked, so that it is refused like a key of the file
where nobody knows it. Upper and lower case are one. Lists and tables are written as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from schemas.errors import ConfigError

PREFIX: Final = "PROCTORD_"

#: Variables that start like a setting and are none: tests, tools and the place of the file.
RESERVED: Final = frozenset(
    {"PROCTORD_CONFIG", "PROCTORD_DATA", "PROCTORD_KAFKA_HOME", "PROCTORD_POSTGRES_BIN"}
)


class Overlaid(NamedTuple):
    """The tables of a file, with what the environment says instead."""

    tables: dict[str, Any]
    #: the variables that were taken, as they are spelt
    variables: tuple[str, ...]


def overlay(tables: Mapping[str, Any], environ: Mapping[str, str]) -> Overlaid:
    """Put the environment's settings into a file's tables.

    A variable that the file names (`salt_env = "PROCTORD_SALT"`) holds a secret and is no setting.

    Raises
    ------
    ConfigError: a variable of `[contract]`, which is read from the file alone; or one that wants
        to put a key where there is no table.

    >>> overlay({"sampling": {"active": True}}, {"PROCTORD_SAMPLING__RANDOM_RATE": "0.2"}).tables
    {'sampling': {'active': True, 'random_rate': '0.2'}}
    """
    merged = _copied(tables)
    taken = sorted(_settings(tables, environ))  # a table as a whole before its keys
    for variable in taken:
        path = variable.upper().removeprefix(PREFIX).lower().split("__")
        if path[0] == "contract":
            raise ConfigError(
                f"{variable} in the environment: what was accepted stands in the file alone",
                next_step="unset it, and write it under [contract]",
            )
        _put(merged, path, _value(environ[variable]), variable)
    return Overlaid(merged, tuple(taken))


def _settings(tables: Mapping[str, Any], environ: Mapping[str, str]) -> Iterator[str]:
    ours = [name for name in environ if name.upper().startswith(PREFIX)]
    # a variable may say which variable holds a secret, as the file may
    secrets = {*_named(tables), *(environ[name] for name in ours if name.upper().endswith("_ENV"))}
    return (name for name in ours if name not in secrets and name.upper() not in RESERVED)


def _named(table: Mapping[str, Any]) -> Iterator[str]:
    """Yield the variables that keys like `key_env` name, in this table and below."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _named(value)
        elif key.endswith("_env") and isinstance(value, str):
            yield value


def _put(table: dict[str, Any], path: list[str], value: Any, variable: str) -> None:
    *parents, key = path
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{variable} in the environment: `{parent}` is no table")
    if isinstance(value, dict) and isinstance(table.get(key), dict):
        for name, inner in value.items():
            _put(table[key], [name], inner, variable)
    else:
        table[key] = value


def _value(text: str) -> Any:
    """Read JSON where it is a list or a table; what a number may be is the key's to say."""
    if text.lstrip()[:1] not in {"[", "{"}:
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text  # a text may begin with a brace: where a table is wanted it is refused


def _copied(table: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _copied(value) if isinstance(value, Mapping) else value for key, value in table.items()
    }
