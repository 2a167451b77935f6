"""Which pairs the teacher is asked about, and how likely each of them was to be chosen.

The choice is a keyed hash of the ticket's id: a replay asks about the same tickets, and nobody
who writes tickets can tell which will be looked at without the salt.

One number u in [0, 1) decides for a ticket. Below the floor it is drawn `random`: that is a
uniform sample of a student's traffic, whatever else is planned. Above the floor and below the
ticket's own probability it is drawn `risky`: because the student is likely to be wrong there, or
because its segment matters more. Both count in the estimates, with the ticket's probability.
Labels that training asks for are drawn with a number of their own, and count in none.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from functools import cached_property, lru_cache
from typing import NamedTuple, Protocol

import msgspec

from schemas.samples import Pair, SampleReason
from schemas.windows import strata_key

#: share of a rate that no ticket's probability falls below, however sure the student is of it:
#: a calibration that has become wrong must be able to show itself
FLOOR_SHARE = 0.5

#: levels of risk that a student's tickets are told apart by, at most
MOST_LEVELS = 16

#: confidences are taken for at least this far from 0 and 1
SUREST = 1e-6


class Stratum(NamedTuple):
    """Tickets of which the same is expected, and that are drawn with the same probability."""

    #: probability that the student is wrong, of a model fitted on earlier labels; None: there is
    #: no such model yet
    expected: float | None
    #: probability of being drawn, `random` or `risky`, in (0, 1]
    probability: float


class Risk(msgspec.Struct, frozen=True, kw_only=True):
    """How likely one student is to be wrong, by its confidence and its answer.

    Logistic in the log-odds of the confidence, with an offset for each class, cut into a few
    levels: tickets of a level are alike to the estimates, so that they can be counted.
    `estimation.calibration` fits it.

    >>> risk = Risk(at=0.0, labels=400, intercept=-2.0, slope=-1.0, unknown=-2.5,
    ...             edges=(-3.0,), levels=(0.02, 0.2), spread=0.2)
    >>> risk.level(0.9, "refund"), risk.level(0.5, "refund"), risk.level(None, "refund")
    (0, 1, 1)
    """

    #: when it was fitted, seconds UTC, and on how many labels
    at: float
    labels: int
    #: log-odds of an error = intercept + slope * log-odds of the confidence + offset of the class
    intercept: float
    slope: float
    #: log-odds of an error where the student states no confidence, without the class's offset
    unknown: float
    #: by the student's answer; 0 for the others
    offsets: dict[str, float] = {}
    #: log-odds at which the next level begins, ascending
    edges: tuple[float, ...] = ()
    #: probability of an error in each level, one more than there are edges
    levels: tuple[float, ...]
    #: mean of sqrt(g (1 - g)) over the traffic it was fitted on: what makes the mean probability
    #: of a ticket the rate
    spread: float

    def level(self, confidence: float | None, output: str) -> int:
        """Return the level that a ticket lies in: an index into `levels`."""
        if confidence is None:
            odds = self.unknown
        else:
            odds = self.intercept + self.slope * log_odds(confidence)
        return bisect_right(self.edges, odds + self.offsets.get(output, 0.0))


def log_odds(confidence: float) -> float:
    """Return the log-odds of a confidence, which may state 0 or 1.

    >>> log_odds(0.5), log_odds(1.0) == log_odds(0.9999999)
    (0.0, True)
    """
    kept = min(max(confidence, SUREST), 1 - SUREST)
    return math.log(kept / (1 - kept))


class SamplingPlan(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """How much is asked, of which tickets: one version, as it stands in the journal.

    The secret of the draw is no part of it.

    Raises
    ------
    ValueError: a rate is no probability, or a segment's lies below that of all traffic.

    >>> plan = SamplingPlan(random_rate=0.05, segment_rates={"channel=mail": 0.2})
    >>> plan.strata("m1")
    (Stratum(expected=None, probability=0.05), Stratum(expected=None, probability=0.2))
    """

    #: 1 and up in the journal; each pair is counted under the version that it met
    version: int = 0
    #: when it was published, seconds UTC, and why: words for people
    at: float = 0.0
    reason: str = ""
    #: mean probability with which a ticket is drawn for the estimates
    random_rate: float
    #: the same for segments of which more is asked; the highest of a ticket's segments counts
    segment_rates: dict[str, float] = {}
    #: probability of the extra draw while a retraining wants labels; it is made only where the
    #: other did not choose
    requested_rate: float = 0.0
    #: steps by which these rates were lowered for want of money, and the money of a day it was
    #: worked out for, US dollars
    thinned: int = 0
    daily_usd: float = 0.0
    #: what is known of students' errors; of the others all tickets are alike
    students: dict[str, Risk] = {}

    def __post_init__(self) -> None:
        for name in ("random_rate", "requested_rate"):
            rate = getattr(self, name)
            if not 0 <= rate <= 1:
                raise ValueError(f"{name} is {rate}; it must lie in [0, 1]")
        for segment, rate in self.segment_rates.items():
            if not self.random_rate <= rate <= 1:
                raise ValueError(
                    f"the rate of {segment} is {rate}; it must lie in [random_rate, 1], "
                    f"which is [{self.random_rate}, 1]"
                )

    @cached_property
    def rates(self) -> tuple[float, ...]:
        """The distinct rates, ascending: that of all traffic first."""
        return tuple(sorted({self.random_rate, *self.segment_rates.values()}))

    @cached_property
    def _rated(self) -> dict[str, int]:
        """Segments by the index of their rate."""
        return {segment: self.rates.index(rate) for segment, rate in self.segment_rates.items()}

    def floor(self, model: str) -> float:
        """Return the probability with which any ticket of a student is drawn `random`."""
        risk = self.students.get(model)
        alike = risk is None or len(risk.levels) == 1
        return self.random_rate if alike else self.random_rate * FLOOR_SHARE

    def strata(self, model: str) -> tuple[Stratum, ...]:
        """Return the strata of a student's tickets: `stratum` gives an index into them.

        A ticket is drawn with a probability in proportion to sqrt(g (1 - g)), the standard
        deviation of its loss, which makes the variance of the estimate least; mixed with the
        uniform draw, for when g is wrong.

        Source: Zrnic & Candes, arXiv 2403.03208.
        """
        # students that nothing is known of share one table, or a flood of names would fill memory
        return self._known.get(model, self._alike)

    @cached_property
    def _alike(self) -> tuple[Stratum, ...]:
        return tuple(Stratum(None, rate) for rate in self.rates)

    @cached_property
    def _known(self) -> dict[str, tuple[Stratum, ...]]:
        return {
            model: tuple(
                Stratum(g, min(1.0, rate * _weight(g, risk.spread)))
                for rate in self.rates
                for g in risk.levels
            )
            for model, risk in self.students.items()
        }

    def stratum(self, pair: Pair) -> int:
        """Return the stratum of a student's pair."""
        risk = self.students.get(pair.model)
        rated = self._rated
        rate = max([rated.get(segment, 0) for segment in pair.segments]) if rated else 0
        if risk is None:
            return rate
        return rate * len(risk.levels) + risk.level(pair.confidence, pair.output)


def _weight(risk: float, spread: float) -> float:
    return FLOOR_SHARE + (1 - FLOOR_SHARE) * math.sqrt(risk * (1 - risk)) / spread


class _Hasher(Protocol):
    def copy(self) -> _Hasher: ...
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


@lru_cache(maxsize=16)
def _lane(salt: str, reason: str) -> _Hasher:
    """Return the keyed hash of one lane, ready to be copied: keying costs as much as hashing."""
    key = hashlib.blake2b(salt.encode()).digest()
    return hashlib.blake2b(key=key, digest_size=8, person=reason.encode())


def draw(salt: str, lane: str, ticket_id: str) -> float:
    """Return the ticket's uniform number in [0, 1) for one lane (BLAKE2b, RFC 7693, keyed)."""
    hasher = _lane(salt, lane).copy()
    hasher.update(ticket_id.encode())
    # 53 bits fill a float's mantissa; 64 would round the largest up to 1.0
    return (int.from_bytes(hasher.digest(), "big") >> 11) * 2.0**-53


class Choice(NamedTuple):
    """Why a pair is asked about, and with what probability it was drawn for that reason."""

    reason: SampleReason
    probability: float


class Sampler:
    """A plan with the secret of its draw: places pairs and chooses among them.

    Attributes
    ----------
    plan: as it stands in the journal.

    >>> sampler = Sampler(SamplingPlan(random_rate=1.0), "secret")
    >>> sampler.choose("t-1", "m1", 0)
    Choice(reason='random', probability=1.0)
    """

    def __init__(self, plan: SamplingPlan, salt: str) -> None:
        self.plan = plan
        self._salt = salt
        # floor and strata at one look-up: `choose` is called for each pair
        self._alike = (plan.random_rate, plan.strata(""))
        self._known = {name: (plan.floor(name), plan.strata(name)) for name in plan.students}

    def place(self, pair: Pair) -> tuple[str, int]:
        """Return where windows count a student's pair: the key of `strata`, and the stratum."""
        plan = self.plan
        return strata_key(plan.version, pair.model), plan.stratum(pair)

    def choose(self, ticket_id: str, model: str, stratum: int) -> Choice | None:
        """Return why this student's pair is sampled, and how likely that was; None: it is not.

        The probability is that of being drawn for that reason, so each reason's samples can be
        weighted (Horvitz and Thompson, 1952) without the others'. Estimates from `random` and
        `risky` together need the sum of the two: the stratum's.
        """
        floor, strata = self._known.get(model, self._alike)
        drawn = strata[stratum].probability
        number = draw(self._salt, "random", ticket_id)
        if number < floor:
            return Choice("random", floor)
        if number < drawn:
            return Choice("risky", drawn - floor)
        wanted = self.plan.requested_rate
        if wanted and draw(self._salt, "requested", ticket_id) < wanted:
            return Choice("requested", (1 - drawn) * wanted)
        return None
