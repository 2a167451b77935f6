"""How to reach Kafka: the settings, and the consumer's options that they become."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from schemas.errors import ConfigError, DependencyDownError
from schemas.events import Stream

#: The most bytes, as they were compressed, that one fetch brings: of one partition, so that one
#: fetch has something of each, and of all.
PARTITION_BYTES: Final = 128 * 1024
FETCH_BYTES: Final = 4 * 1024 * 1024
#: Seconds to wait for a broker before the loop is told; it asks again.
CONNECT: Final = 5.0


class KafkaSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the topics are, and how to log in."""

    bootstrap_servers: tuple[str, ...]
    group_id: str
    #: the topic of each stream; they must have equally many partitions, keyed by ticket id
    topics: dict[Stream, str]
    #: where partitions begin that the journal has no position of: `earliest`, `latest`, or the
    #: first record stamped at or after these epoch seconds; None: refuse, for a person to say
    start: Literal["earliest", "latest"] | float | None = None
    #: only where the process keeps its name over restarts (a StatefulSet's pod, a host)
    group_instance_id: str | None = None
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    sasl_username: str | None = None
    #: the environment variable, or the file, that holds the password
    sasl_password_env: str | None = None
    sasl_password_file: Path | None = None
    #: the certificate authority to trust instead of the system's
    ssl_cafile: Path | None = None


def options(settings: KafkaSettings) -> dict[str, Any]:
    """Return the consumer's options; those that look odd guard against something measured."""
    from kafka.coordinator.assignors.range import RangePartitionAssignor

    return {
        "bootstrap_servers": list(settings.bootstrap_servers),
        "client_id": "proctord",
        "group_id": settings.group_id,
        "group_instance_id": settings.group_instance_id,
        # Bytes only: a deserializer that raises makes poll() spin for ever.
        # Range gives the same partition numbers of all topics to one member, when their counts
        # are equal and all members subscribe to all of them: a ticket and its answer meet.
        # Cooperative-sticky balances each topic's partitions freely and does not promise that.
        "partition_assignment_strategy": [RangePartitionAssignor],
        "enable_auto_commit": False,
        # a silent reset would lose or repeat a stretch of traffic; `KafkaSource` decides instead
        "auto_offset_reset": "none",
        "isolation_level": "read_committed",
        "allow_auto_create_topics": False,
        "max_partition_fetch_bytes": PARTITION_BYTES,
        "fetch_max_bytes": FETCH_BYTES,
        # A broker answers one fetch at a time: while it waits for news of one partition, the
        # others cannot be fetched. With the default of 500 ms a backlog stops and goes.
        "fetch_max_wait_ms": 50,
        # the default of 30 s leaves us waiting long after the broker is back
        "reconnect_backoff_max_ms": 1000,
        "metadata_max_age_ms": 30_000,
        "session_timeout_ms": 10_000,
        "heartbeat_interval_ms": 3000,
        "bootstrap_timeout_ms": int(CONNECT * 1000),
        "security_protocol": settings.security_protocol,
        "sasl_mechanism": settings.sasl_mechanism,
        "sasl_plain_username": settings.sasl_username,
        "sasl_plain_password": _password(settings),
        "ssl_cafile": str(settings.ssl_cafile) if settings.ssl_cafile else None,
    }


def _password(settings: KafkaSettings) -> str | None:
    """Read the password when it is used, so that a new one needs no restart."""
    if settings.sasl_password_file:
        try:
            return settings.sasl_password_file.read_text().strip()
        except OSError as error:
            raise ConfigError(f"cannot read the Kafka password: {error}") from error
    if settings.sasl_password_env:
        password = os.environ.get(settings.sasl_password_env)
        if not password:
            raise ConfigError(f"the environment has no {settings.sasl_password_env}")
        return password
    return None


def check_codecs() -> None:
    """Refuse to read without all codecs: poll() spins for ever at a batch it cannot unpack."""
    from kafka.codec import has_lz4, has_snappy, has_zstd

    have = {"lz4": has_lz4(), "snappy": has_snappy(), "zstd": has_zstd()}
    missing = ",".join(codec for codec, there in have.items() if not there)
    if missing:
        raise ConfigError(
            f"kafka-python lacks {missing}: batches in it cannot be read",
            next_step=f"pip install 'kafka-python[{missing}]'",
        )


def explained(error: Exception, settings: KafkaSettings) -> ConfigError | DependencyDownError:
    """Say in our words what hinders: the settings, or the broker."""
    from kafka.errors import KafkaConfigurationError

    if isinstance(error, (KafkaConfigurationError, OSError)):
        return ConfigError(f"Kafka cannot be set up: {error}")
    servers = ", ".join(settings.bootstrap_servers)
    return DependencyDownError(
        f"Kafka at {servers}: {error}", next_step="see that it runs, and what it lets us do"
    )
