"""Reading `proctord.toml`: each fault is named, and no secret is."""

from __future__ import annotations

import sys
from operator import attrgetter
from pathlib import Path

import pytest

from monitor.config import MonitorSettings
from retrain.config import RetrainSettings
from schemas.environment import overlay
from schemas.errors import ConfigError
from schemas.settings import Document, load_settings, refuse_unknown

GOOD = {
    "contract": {"tolerance": 0.1},
    "teacher": {"kind": "scripted", "file": "answers.jsonl"},
}


HOME = Path("/etc/shop")


def document(**tables: object) -> Document:
    return Document({**GOOD, **tables}, "proctord.toml", HOME)


def load(**tables: object) -> MonitorSettings:
    return load_settings(MonitorSettings, document(**tables))


def load_with(variables: dict[str, str], **tables: object) -> MonitorSettings:
    """Read a file below an environment, as both programs do."""
    overlaid = overlay({**GOOD, **tables}, variables)
    whole = Document(overlaid.tables, " ".join(overlaid.variables), HOME)
    refuse_unknown(whole, (MonitorSettings, RetrainSettings))
    return load_settings(MonitorSettings, whole)


def test_defaults_come_with_the_least_that_must_be_said() -> None:
    settings = load()
    assert settings.source.kind == "jsonl"
    assert settings.contract.tolerance == 0.1


def test_one_file_serves_both_programs() -> None:
    file = document(registry={"root": "/srv/students"})
    assert load_settings(RetrainSettings, file).registry.root == Path("/srv/students")
    assert load_settings(MonitorSettings, file).task.comparator == "label"


@pytest.mark.parametrize(
    ("prose", "tables", "told"),
    [
        ("a key that is mistyped", {"task": {"comparater": "label"}}, "did you mean `comparator`"),
        ("a key of a core's settings", {"pipeline": {"windw_seconds": 1}}, "`window_seconds`"),
        ("a key of the contract", {"contract": {"tolernce": 0.1}}, "did you mean `tolerance`"),
        ("a tolerance of 300 %", {"contract": {"tolerance": 3}}, "between 0 and 1"),
        (
            "a tolerance of traffic that is no segment",
            {"contract": {"tolerance": 0.1, "segments": {"tier=gold": 0.05}}},
            "`tier` is not in pipeline.segment_by",
        ),
        ("a comparator that is none", {"task": {"comparator": "vibes"}}, "known: label"),
        ("a label twice", {"task": {"labels": ["a", "a"]}}, "twice"),
        ("kafka without a table", {"source": {"kind": "kafka"}}, "[source.kafka]"),
        ("http without a table", {"teacher": {"kind": "http"}}, "[teacher.http]"),
        ("recorded answers without a file", {"teacher": {"kind": "scripted"}}, "`file`"),
        (
            "a channel's name that no key can hold",
            {"alerts": {"channels": {"c" * 61: {"kind": "stdout"}}}},
            "at most 60 characters",
        ),
        ("a rate of 200 %", {"sampling": {"random_rate": 2}}, "sampling.random_rate"),
        ("slices that cut a window", {"drift": {"slice_seconds": 900}}, "pipeline.window_seconds"),
        ("a season too short", {"drift": {"reference": 24}}, "reference is 24"),
        ("text for a number", {"evaluation": {"tick_seconds": "often"}}, "evaluation.tick_seconds"),
    ],
)
def test_a_fault_is_named_with_its_key(prose: str, tables: dict, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(**tables)
    assert told in str(refused.value), prose
    assert refused.value.exit_code == 78


def test_nobody_accepts_a_loss_by_default() -> None:
    with pytest.raises(ConfigError, match="contract"):
        load_settings(MonitorSettings, Document({"teacher": GOOD["teacher"]}, "f", HOME))


def test_a_table_that_nobody_knows_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(ConfigError, match="did you mean `teacher`"):
        refuse_unknown(document(teachr={}), (MonitorSettings, RetrainSettings))


SERVER = {"base_url": "https://api.example.com/v1", "model": "large"}
HTTP = {"kind": "http", "http": SERVER}


@pytest.mark.parametrize(
    ("variable", "text", "path", "value"),
    [
        ("PROCTORD_SAMPLING__RANDOM_RATE", "0.2", "sampling.random_rate", 0.2),
        ("proctord_sampling__random_rate", "0.2", "sampling.random_rate", 0.2),
        ("PROCTORD_SAMPLING__ACTIVE", "false", "sampling.active", False),
        ("PROCTORD_PIPELINE__MAX_SEGMENTS", "7", "pipeline.max_segments", 7),
        ("PROCTORD_PIPELINE__SEGMENT_BY", '["tier"]', "pipeline.segment_by", ("tier",)),
        ("PROCTORD_GOLD__RATE", "0.5", "gold.rate", 0.5),
        ("PROCTORD_CANARIES__COUNT", "0", "canaries.count", 0),
        ("PROCTORD_DRIFT__SLACK", "0.4", "drift.slack", 0.4),
        ("PROCTORD_DRIFT", '{"slack": 0.4}', "drift.slack", 0.4),
        ("PROCTORD_TEACHER__HTTP__MODEL", "small", "teacher.http.model", "small"),
        ("PROCTORD_TEACHER__HTTP", '{"model": "small"}', "teacher.http.model", "small"),
        (
            "PROCTORD_TEACHER__HTTP__INSTRUCTIONS",
            "{no JSON",
            "teacher.http.instructions",
            "{no JSON",
        ),
    ],
)
def test_a_variable_wins_over_the_file_in_every_table(
    variable: str, text: str, path: str, value: object
) -> None:
    settings = load_with({variable: text}, teacher=HTTP, sampling={"random_rate": 0.1})
    assert attrgetter(path)(settings) == value


@pytest.mark.parametrize(
    ("variable", "text", "told"),
    [
        ("PROCTORD_SAMPLIN__RANDOM_RATE", "0.2", "did you mean `sampling`"),
        ("proctord_samplin__random_rate", "0.2", "did you mean `sampling`"),
        ("PROCTORD_SAMPLING__RANDM_RATE", "0.2", "did you mean `random_rate`"),
        ("PROCTORD_PIPELINE__WINDW_SECONDS", "600", "did you mean `window_seconds`"),
        ("PROCTORD_GOLD__RAT", "0.2", "did you mean `rate`"),
        ("PROCTORD_TEACHER__HTTP", '{"modl": 1}', "no such key: `modl`; did you mean `model`?"),
        ("PROCTORD_TEACHER__HTTP", "large", "a table is wanted"),
        ("PROCTORD_TEACHER__HTTP__MODEL__NAME", "large", "`model` is no table"),
        ("PROCTORD_CONTRACT__TOLERANCE", "0.9", "file alone"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(variable: str, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_with({variable: text}, teacher=HTTP)
    assert told in str(refused.value)
    assert variable in str(refused.value)


def test_a_variable_that_holds_a_secret_of_the_file_is_no_setting() -> None:
    settings = load_with({"PROCTORD_SALT": "s3cret"}, sampling={"salt_env": "PROCTORD_SALT"})
    assert settings.sampling.salt_env == "PROCTORD_SALT"
    with pytest.raises(ConfigError, match="no such table"):
        load_with({"PROCTORD_SALT": "s3cret"})
    named = {"PROCTORD_SAMPLING__SALT_ENV": "PROCTORD_SALT", "PROCTORD_SALT": "s3cret"}
    assert load_with(named).sampling.salt_env == "PROCTORD_SALT"


def test_paths_are_relative_to_the_settings_file() -> None:
    kafka = {
        "bootstrap_servers": ["k:9092"],
        "group_id": "g",
        "topics": {},
        "sasl_password_file": "kafka.pw",
        "ssl_cafile": "/etc/ssl/ca.pem",
    }
    teacher = {**HTTP, "file": "answers.jsonl", "http": {**SERVER, "key_file": "key"}}
    settings = load(
        source={"kafka": kafka},
        teacher=teacher,
        sampling={"salt_file": "salt"},
        drift={"embedder": {"model": "encoder"}},
    )
    assert settings.source.root == HOME / "events"  # though nobody wrote it
    assert settings.source.kafka is not None
    assert settings.source.kafka.sasl_password_file == HOME / "kafka.pw"
    assert settings.source.kafka.ssl_cafile == Path("/etc/ssl/ca.pem")
    assert settings.teacher.file == HOME / "answers.jsonl"
    assert settings.teacher.http is not None
    assert settings.teacher.http.key_file == str(HOME / "key")
    assert settings.sampling.salt_file == HOME / "salt"
    assert settings.drift.embedder is not None
    assert settings.drift.embedder.model == str(HOME / "encoder")


@pytest.mark.parametrize(
    ("written", "python", "base"),
    [
        ({}, sys.executable, "scratch"),
        ({"python": "python3.11", "teaching": {"base": "scratch"}}, "python3.11", "scratch"),
        (
            {"python": "venv/bin/python", "teaching": {"base": "m"}},
            "/etc/shop/venv/bin/python",
            "/etc/shop/m",
        ),
    ],
)
def test_the_retraining_program_finds_its_files_the_same_way(
    written: dict[str, object], python: str, base: str
) -> None:
    settings = load_settings(RetrainSettings, document(retrain=written))
    assert settings.registry.root == HOME / "registry"
    assert str(settings.retrain.python) == python
    assert settings.retrain.teaching.base == base


@pytest.mark.parametrize(
    ("url", "journal"),
    [
        (None, "sqlite:////etc/shop/proctord.db"),
        ("sqlite:///data/j.db", "sqlite:////etc/shop/data/j.db"),
        ("sqlite:////var/j.db", "sqlite:////var/j.db"),
        ("sqlite://", "sqlite://"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("postgresql+psycopg://proctord@db/proctord", "postgresql+psycopg://proctord@db/proctord"),
    ],
)
def test_the_journal_is_the_same_wherever_a_command_is_called(
    url: str | None, journal: str
) -> None:
    assert load(**({} if url is None else {"journal": {"url": url}})).journal.url == journal


def test_no_fault_repeats_a_value_that_may_be_a_secret() -> None:
    with pytest.raises(ConfigError) as refused:
        load(teacher={"kind": "http", "http": {"base_url": 1, "api_key": "hunter2"}})
    assert "hunter2" not in str(refused.value)
