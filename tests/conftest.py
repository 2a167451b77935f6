"""Fixtures that more than one folder of tests uses, and how many examples hypothesis tries."""

from hypothesis import settings

from tests.kafka_rig import apache_kafka, kafka
from tests.postgres_rig import postgres

__all__ = ["apache_kafka", "kafka", "postgres"]

# A desk wants an answer in seconds. `make test` asks for the thorough one.
settings.register_profile("desk", max_examples=20, deadline=None)
settings.register_profile("thorough", max_examples=200, deadline=None)
settings.load_profile("desk")
