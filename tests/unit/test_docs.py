"""The prose is held against the code: what exists is described, what is described exists."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest
from pydantic import BaseModel

from monitor.canaries import CanarySettings
from monitor.config import ChannelTable, MonitorSettings
from monitor.drift import DriftSettings, EmbedderSettings
from monitor.gold import GoldSettings
from monitor.pipeline import PipelineSettings
from monitor.sources.kafka_settings import KafkaSettings
from monitor.teachers.http_settings import HttpTeacherSettings
from retrain.config import RetrainSettings
from schemas.contract import QualityContract
from schemas.environment import overlay
from schemas.settings import Document, load_settings, refuse_unknown

HOUSE = Path(__file__).parents[2]
README = (HOUSE / "README.md").read_text(encoding="utf-8")
ANNOTATED = (HOUSE / "deploy" / "proctord.toml").read_text(encoding="utf-8")
#: set by the composition root from [task]
DERIVED = {"taxonomy"}


def test_the_annotated_settings_are_settings() -> None:
    secrets = dict.fromkeys(re.findall(r'_env = "(\w+)"', ANNOTATED), "s3cret")
    assert "PROCTORD_SALT" in secrets
    overlaid = overlay(tomllib.loads(ANNOTATED), secrets)
    assert not overlaid.variables
    file = Document(overlaid.tables, "deploy/proctord.toml", HOUSE)
    refuse_unknown(file, (MonitorSettings, RetrainSettings))
    assert load_settings(MonitorSettings, file).source.kind == "kafka"
    assert load_settings(RetrainSettings, file).retrain.lane == "default"


def keys() -> set[str]:
    found: set[str] = set()
    for program in (MonitorSettings, RetrainSettings):
        for field in program.model_fields.values():
            kind = field.annotation
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                found |= set(kind.model_fields)
    for struct in (
        QualityContract,
        GoldSettings,
        CanarySettings,
        DriftSettings,
        EmbedderSettings,
        PipelineSettings,
        KafkaSettings,
        HttpTeacherSettings,
    ):
        found |= set(struct.__struct_fields__)
    return (found | set(ChannelTable.model_fields)) - DERIVED


@pytest.mark.parametrize("key", sorted(keys()))
def test_each_key_is_explained(key: str) -> None:
    known = {"group_instance_id", "sasl_password_env", "ssl_cafile", "channels", "file"}
    assert key in ANNOTATED or key in known, f"{key} is missing in deploy/proctord.toml"


def commands() -> list[str]:
    from monitor.__main__ import app

    plain = [c.name or c.callback.__name__ for c in app.registered_commands]
    groups = [
        f"{group.name} {c.name or c.callback.__name__}"
        for group in app.registered_groups
        for c in group.typer_instance.registered_commands
    ]
    return plain + groups


@pytest.mark.parametrize("command", commands())
def test_each_command_is_in_the_readme(command: str) -> None:
    assert f"`{command}`" in README


def test_the_readme_names_no_command_that_is_not_there() -> None:
    named = set(re.findall(r"`proctord ([a-z-]+)", README))
    known = {command.split()[0] for command in commands()}
    assert named <= known, named - known


def test_the_tree_of_the_readme_is_the_tree() -> None:
    for folder in re.findall(r"^ {0,2}([a-z]+)/ ", README, flags=re.MULTILINE):
        places = (HOUSE / folder, HOUSE / "monitor" / folder, HOUSE / "retrain" / folder)
        assert any(place.is_dir() for place in places), folder


def test_the_readmes_example_settings_work() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", README, flags=re.DOTALL)
    tables = tomllib.loads("\n".join(line.strip() for line in example.splitlines()))
    settings = load_settings(MonitorSettings, Document(tables, "README.md", HOUSE))
    assert msgspec.to_builtins(settings.contract)["tolerance"] == 0.10
