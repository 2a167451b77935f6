"""Which pairs the teacher is asked about, and how likely each of them was to be chosen.

The choice is a keyed hash of the ticket's id: a replay asks about the same tickets, and nobody
who writes tickets can tell which will be looked at without the salt.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Protocol

import msgspec

from schemas.samples import SampleReason


class SamplingPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How much to sample.

    Raises
    ------
    ValueError: a rate is no probability.
    """

    #: secret key of the hash: changing it changes every choice
    salt: str
    #: probability of the uniform draw, which the estimates rest on
    random_rate: float
    #: probability of the extra draw while a retraining wants labels; it is made only where the
    #: uniform draw did not choose, with a hash of its own
    requested_rate: float = 0.0

    def __post_init__(self) -> None:
        for name in ("random_rate", "requested_rate"):
            rate = getattr(self, name)
            if not 0 <= rate <= 1:
                raise ValueError(f"{name} is {rate}; it must lie in [0, 1]")


class _Hasher(Protocol):
    def copy(self) -> _Hasher: ...
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


@lru_cache(maxsize=16)
def _lane(salt: str, reason: str) -> _Hasher:
    """Return the keyed hash of one lane, ready to be copied: keying costs as much as hashing."""
    key = hashlib.blake2b(salt.encode()).digest()
    return hashlib.blake2b(key=key, digest_size=8, person=reason.encode())


def draw(salt: str, reason: SampleReason, ticket_id: str) -> float:
    """Return the ticket's uniform number in [0, 1) for one lane (BLAKE2b, RFC 7693, keyed)."""
    hasher = _lane(salt, reason).copy()
    hasher.update(ticket_id.encode())
    # 53 bits fill a float's mantissa; 64 would round the largest up to 1.0
    return (int.from_bytes(hasher.digest(), "big") >> 11) * 2.0**-53


def choose(plan: SamplingPlan, ticket_id: str) -> tuple[SampleReason, float] | None:
    """Return why this ticket's pair is sampled and with what probability; None: it is not.

    The probability is that of being drawn for that reason, so each reason's samples can be
    weighted (Horvitz and Thompson, 1952) without the other's.

    >>> everything = SamplingPlan(salt="s", random_rate=1.0)
    >>> choose(everything, "t-1")
    ('random', 1.0)
    >>> choose(SamplingPlan(salt="s", random_rate=0.0, requested_rate=1.0), "t-1")
    ('requested', 1.0)
    """
    rate = plan.random_rate
    if draw(plan.salt, "random", ticket_id) < rate:
        return "random", rate
    if plan.requested_rate and draw(plan.salt, "requested", ticket_id) < plan.requested_rate:
        return "requested", (1 - rate) * plan.requested_rate
    return None
