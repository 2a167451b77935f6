"""Fixtures that more than one folder of tests uses."""

from tests.kafka_rig import apache_kafka, kafka

__all__ = ["apache_kafka", "kafka"]
