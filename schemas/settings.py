"""Reading `proctord.toml`: how both programs take their settings from one file.

Each program has a settings class that names the tables it needs. What stands in the
environment (`PROCTORD_TEACHER__BATCH=16`) wins over the file. A key that nobody knows is refused
with the nearest one that exists, in the file as in the environment: a mistyped limit that is
silently ignored is a limit that is not kept. Paths are relative to the file's directory, so that
a command means the same journal wherever it is called from.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
)

from schemas.contract import QualityContract
from schemas.environment import overlay
from schemas.errors import ConfigError


class Section(BaseModel):
    """One table of the file: unknown keys are refused, values do not change later."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,  # a path that nobody wrote is relative to the file, too
    )


def beside(path: Path, info: ValidationInfo) -> Path:
    """Return the path as seen from where the process runs; pydantic's way to validate one."""
    return _home(info) / path


def _home(info: ValidationInfo) -> Path:
    """Directory of the settings file; of settings without a file, wherever the process runs."""
    return info.context or Path()


#: a path; one that is not absolute is relative to the settings file's directory
FilePath = Annotated[Path, AfterValidator(beside)]

#: an SQLAlchemy URL of an SQLite file that is not absolute: all before the path, and the path
_SQLITE_FILE = re.compile(r"(sqlite(?:\+\w+)?:///)(?!/|:memory:|file:)(.+)")


def _url_beside(url: str, info: ValidationInfo) -> str:
    found = _SQLITE_FILE.fullmatch(url)
    return f"{found[1]}{_home(info) / found[2]}" if found else url


class JournalSettings(Section):
    """`[journal]`: the database in which the two programs meet."""

    #: an SQLAlchemy URL: `sqlite:///proctord.db`, `postgresql+psycopg://user@host/db`
    url: Annotated[str, AfterValidator(_url_beside)] = "sqlite:///proctord.db"


def table_of(
    struct: type[msgspec.Struct], *, paths: Iterable[str] = (), but: str = ""
) -> PlainValidator:
    """Return the validator of a table whose keys are the fields of a core's settings.

    The cores know nothing of files: their settings are msgspec types, and this is how such a
    type becomes a table. Unknown keys are refused, numbers may be written as text.

    Parameters
    ----------
    paths: keys that are paths, relative to the settings file; of a table within it, `table.key`.
    but: the word that may stand in place of such a path.
    """

    def read(table: Any, info: ValidationInfo) -> msgspec.Struct:
        if isinstance(table, struct):
            return table
        if not isinstance(table, Mapping):
            raise ValueError("a table is wanted here; in the environment, one as JSON")  # noqa: TRY004 - pydantic tells a ValueError in words
        known = set(struct.__struct_fields__)
        unknown = [f"`{name}`{_meant(name, known)}" for name in table if name not in known]
        if unknown:
            raise ValueError(f"no such key: {', '.join(unknown)}")
        for path in paths:
            table = _placed(table, path.split("."), _home(info), but)
        try:
            return msgspec.convert(table, struct, strict=False, dec_hook=_decode)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from error

    return PlainValidator(read)


def _decode(kind: type, value: Any) -> Any:
    """Make what msgspec knows no way to: paths."""
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(kind)


def _placed(table: Mapping[str, Any], keys: list[str], home: Path, but: str) -> Mapping[str, Any]:
    key, *deeper = keys
    value = table.get(key)
    if deeper and isinstance(value, Mapping):
        return {**table, key: _placed(value, deeper, home, but)}
    if deeper or not isinstance(value, str) or value in {"", but}:
        return table
    return {**table, key: str(home / value)}


#: `[contract]`: the quality loss that was accepted; `schemas.contract` describes its keys
ContractTable = Annotated[QualityContract, table_of(QualityContract)]


class ProgramSettings(BaseModel):
    """The tables that one program reads. Tables of the other program are left alone."""

    model_config = ConfigDict(
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,  # a mistyped key must not print the secret beside it
        arbitrary_types_allowed=True,  # the contract is a msgspec type
    )

    journal: JournalSettings = JournalSettings()
    contract: ContractTable = Field(description="no default: somebody has to accept a loss")


S = TypeVar("S", bound=ProgramSettings)


class Document(msgspec.Struct, frozen=True):
    """A settings file as it was read, with what the environment says instead."""

    tables: dict[str, Any]
    #: what to call it where something is wrong with it
    where: str
    #: the directory that its paths are relative to
    home: Path


def read_file(path: Path) -> Document:
    """Parse a TOML file, and put the environment's settings over it.

    Raises
    ------
    ConfigError: the file cannot be read, is not TOML, or a variable cannot be put into it.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}",
            next_step="name the file with `--config FILE`, or write one: see deploy/proctord.toml",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    tables, variables = overlay(tables, os.environ)
    where = f"{path} with {', '.join(variables)} of the environment" if variables else str(path)
    # absolute: a training child has a directory of its own
    return Document(tables, where, path.absolute().parent)


def load_settings(cls: type[S], document: Document) -> S:
    """Build one program's settings.

    Raises
    ------
    ConfigError: naming each key at fault, what is wrong with it and, if it can be guessed, the
        key that was meant.
    """
    # a table that nobody wrote is read like an empty one: its paths are relative to the file, too
    whole: dict[str, Any] = {
        n: {} for n, field in cls.model_fields.items() if isinstance(field.default, Section)
    }
    try:
        return cls.model_validate(whole | document.tables, context=document.home)
    except ValidationError as error:
        faults = "\n".join(f"  {_explain(cls, e)}" for e in error.errors(include_input=False))
        raise ConfigError(
            f"{document.where} cannot be used:\n{faults}",
            next_step="mend it, then `proctord check-config`",
        ) from error


def refuse_unknown(document: Document, programs: Iterable[type[ProgramSettings]]) -> None:
    """Refuse tables that no program knows.

    Raises
    ------
    ConfigError: naming each of them, with the nearest known name.
    """
    known = {name for program in programs for name in program.model_fields}
    faults = [
        f"`[{name}]`: no such table{_meant(name, known)}"
        for name in document.tables
        if name not in known
    ]
    if faults:
        lines = "\n".join(f"  {fault}" for fault in faults)
        raise ConfigError(f"{document.where} names what proctord does not know:\n{lines}")


def _explain(cls: type[BaseModel], error: Mapping[str, Any]) -> str:
    path = [str(part) for part in error["loc"]]
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        return f"`{'.'.join(path)}`: no such key{_meant(path[-1], _keys(cls, path[:-1]))}"
    return f"`{'.'.join(path)}`: {message}"


def _keys(cls: type[BaseModel], path: list[str]) -> set[str]:
    model: Any = cls
    for part in path:
        field = getattr(model, "model_fields", {}).get(part)
        model = field.annotation if field else None
    return set(getattr(model, "model_fields", {}))


def _meant(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean `{near[0]}`?" if near else f"; known: {', '.join(sorted(known))}"
