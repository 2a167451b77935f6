"""Reading `proctord.toml`: how both programs take their settings from one file.

Each program has a settings class that names the tables it needs. What stands in the
environment (`PROCTORD_TEACHER__MODEL=...`) wins over the file. A key that nobody knows is
refused with the nearest one that exists, in the file as in the environment: a mistyped limit
that is silently ignored is a limit that is not kept. `[contract]` is read from the file alone.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from schemas.contract import QualityContract
from schemas.errors import ConfigError

PREFIX = "PROCTORD_"

#: Variables that start like a setting and are none: tests, tools and the place of the file.
RESERVED = frozenset(
    {"PROCTORD_CONFIG", "PROCTORD_DATA", "PROCTORD_KAFKA_HOME", "PROCTORD_POSTGRES_BIN"}
)


class Section(BaseModel):
    """One table of the file: unknown keys are refused, values do not change later."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class JournalSettings(Section):
    """`[journal]`: the database in which the two programs meet."""

    #: an SQLAlchemy URL: `sqlite:///proctord.db`, `postgresql+psycopg://user@host/db`
    url: str = "sqlite:///proctord.db"


def table_of(struct: type[msgspec.Struct]) -> PlainValidator:
    """Return the validator of a table whose keys are the fields of a core's settings.

    The cores know nothing of files: their settings are msgspec types, and this is how such a
    type becomes a table. Unknown keys are refused, numbers may be written as text.
    """

    def read(table: Any) -> msgspec.Struct:
        if isinstance(table, struct):
            return table
        known = set(struct.__struct_fields__)
        unknown = [f"`{name}`{_meant(name, known)}" for name in table if name not in known]
        if unknown:
            raise ValueError(f"no such key: {', '.join(unknown)}")
        try:
            return msgspec.convert(table, struct, strict=False)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from error

    return PlainValidator(read)


#: `[contract]`: the quality loss that was accepted; `schemas.contract` describes its keys
ContractTable = Annotated[QualityContract, table_of(QualityContract)]


class ProgramSettings(BaseSettings):
    """The tables that one program reads. Tables of the other program are left alone."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,  # a mistyped key must not print the secret beside it
        arbitrary_types_allowed=True,  # the contract is a msgspec type
    )

    journal: JournalSettings = JournalSettings()
    contract: ContractTable = Field(description="no default: somebody has to accept a loss")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Rank the environment above the file; nothing else is read."""
        del settings_cls, dotenv_settings, file_secret_settings
        return (env_settings, init_settings)


S = TypeVar("S", bound=ProgramSettings)


def read_file(path: Path) -> dict[str, Any]:
    """Parse a TOML file.

    Raises
    ------
    ConfigError: the file cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}",
            next_step="name the file with `--config FILE`, or write one: see deploy/proctord.toml",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error


def load_settings(cls: type[S], tables: Mapping[str, Any], where: str) -> S:
    """Build one program's settings from parsed tables and the environment.

    Raises
    ------
    ConfigError: naming each key at fault, what is wrong with it and, if it can be guessed, the
        key that was meant.
    """
    try:
        return cls(**dict(tables))
    except ValidationError as error:
        faults = "\n".join(f"  {_explain(cls, e)}" for e in error.errors(include_input=False))
        raise ConfigError(
            f"{where} cannot be used:\n{faults}", next_step="mend it, then `proctord check-config`"
        ) from error


def refuse_unknown(
    tables: Mapping[str, Any], programs: Iterable[type[ProgramSettings]], where: str
) -> None:
    """Refuse tables and environment variables that no program knows.

    Raises
    ------
    ConfigError: naming each of them, with the nearest known name.
    """
    known = {name for program in programs for name in program.model_fields}
    faults = [
        f"`[{name}]`: no such table{_meant(name, known)}" for name in tables if name not in known
    ]
    for variable in os.environ:
        if not variable.startswith(PREFIX) or variable in RESERVED:
            continue
        table = variable.removeprefix(PREFIX).split("__")[0].lower()
        if table == "contract":
            faults.append(f"{variable}: what was accepted stands in the file alone")
        elif table not in known:
            faults.append(f"{variable} in the environment: no such table{_meant(table, known)}")
    if faults:
        lines = "\n".join(f"  {fault}" for fault in faults)
        raise ConfigError(f"{where} names what proctord does not know:\n{lines}")


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
