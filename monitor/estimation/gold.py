"""How often student and teacher are wrong by people's own answers, from few of those.

The teacher is asked about a sample of the traffic (S, with probability pi) and is not always
right. A person is asked about a draw of what the teacher labelled (G, with probability rho, which
is larger where the two disagree, because most errors lie there). With d_T the student's loss
against the teacher and d_G its loss against the person, the score of a ticket is

    x = g + S (d_T - g) / pi + S G (d_G - d_T) / (pi rho)

whose mean is the mean of d_G, whatever g, pi and rho are. Summed up with rho estimated, as the
share of the labels of the same disagreement that people answered, this is a line: the loss by
people's answers is regressed on the disagreement, and read off at the disagreement of all labels
(the generalized regression estimator). So a ticket that was drawn and that nobody answered takes
nothing away, as long as it is not the truth that keeps people from answering. The same line for
the teacher's own loss gives the teacher's error.

Sources: Robins, Rotnitzky & Zhao (1994) and Angelopoulos et al., arXiv 2301.09633 (the score);
Särndal, Swensson & Wretman (1992), Model Assisted Survey Sampling, ch. 6 (the line; consistent
whether or not the loss lies on one); Hirano, Imbens & Ridder (2003), Econometrica 71 (why an
estimated rho is better than the true one).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from monitor.estimation.asymp_cs import asymptotic_sequence
from monitor.estimation.beta_binomial import confidence_sequence
from monitor.estimation.scores import ROUNDING, Scores
from schemas.signals import Interval
from schemas.windows import Moments

#: fewer answers than this tell nothing that a person should act on
MIN_GOLD: Final = 100
#: answers at which the interval for any number of looks is narrowest
TUNED_FOR: Final = 1000


class Agreement(msgspec.Struct, frozen=True, array_like=True):
    """Sums over the labels that people may be asked about; `merge` adds two of them.

    >>> sums = Agreement.of([(0.0, 0.1), (1.0, 0.1), (0.0, 0.05)])
    >>> sums.n, sums.disagreement.estimate
    (3, 0.25)
    """

    n: int = 0
    #: sums of w and w d, with w = 1 / pi and d the disagreement
    weight: float = 0.0
    total: float = 0.0
    #: sums of w^2, w^2 d and w^2 d^2
    weight2: float = 0.0
    total2: float = 0.0
    squares2: float = 0.0

    @classmethod
    def of(cls, labels: Iterable[tuple[float, float]]) -> Agreement:
        """Return the sums of labels, each a disagreement and an inclusion probability."""
        found = np.array(list(labels), dtype=float).reshape(-1, 2)
        loss, weight = found[:, 0], 1 / found[:, 1]
        return cls(
            len(found),
            float(weight.sum()),
            float(weight @ loss),
            float(weight @ weight),
            float(weight**2 @ loss),
            float(weight**2 @ loss**2),
        )

    def merge(self, other: Agreement) -> Agreement:
        """The sums of both sets of labels."""
        mine, theirs = msgspec.structs.astuple(self), msgspec.structs.astuple(other)
        return Agreement(*(a + b for a, b in zip(mine, theirs, strict=True)))

    @property
    def disagreement(self) -> Mean:
        """Mean disagreement of the traffic that the labels were drawn from."""
        if not self.weight:
            return Mean(0.0, 0.0, 0)
        mean = self.total / self.weight
        spread = self.squares2 - 2 * mean * self.total2 + mean**2 * self.weight2
        return Mean(mean, max(0.0, spread) / self.weight**2, self.n)


class Mean(NamedTuple):
    """An estimated mean, the variance of the estimate, and the tickets that it rests on."""

    estimate: float
    variance: float
    n: int


class Checked(NamedTuple):
    """A ticket that was drawn for a person and that one answered; losses in [0, 1]."""

    #: 1 / (pi rho)
    weight: float
    #: the student's loss against the teacher, by which rho was chosen
    disagreement: float
    #: against the person's answer
    student: float
    teacher: float


def mean_loss(checked: Sequence[Checked], losses: Sequence[float], labels: Agreement) -> Mean:
    """Return the mean of a loss in the traffic that the labels speak for.

    Parameters
    ----------
    checked: the tickets that people answered.
    losses: of each of them, against the person's answer: the student's, the teacher's, or the
        student's less its disagreement, whose mean is by how much agreement overstates
        correctness.
    labels: sums over all labels that people might have been asked to check.

    Guarantee: consistent under any sampling plan; the bias is of the order of 1 / n. Assumption:
    whether a drawn ticket is answered does not depend on who is right, among tickets of the same
    disagreement. The variance is that of the line's residuals (a sandwich), with one right and
    one wrong answer added at either end.

    >>> rows = [Checked(20.0, 0.0, 0.0, 0.0)] * 90 + [Checked(5.0, 1.0, 1.0, 0.0)] * 24
    >>> rows += [Checked(5.0, 1.0, 0.0, 1.0)] * 8
    >>> labels = Agreement.of([(0.0, 1.0)] * 920 + [(1.0, 1.0)] * 80)
    >>> found = mean_loss(rows, [row.teacher for row in rows], labels)
    >>> round(found.estimate, 4)  # 8 of the 32 on which they differ, and they differ on 8 %
    0.02
    """
    if not checked or not labels.n:
        return Mean(0.0, 0.0, 0)
    weight = np.array([row.weight for row in checked])
    split = np.array([row.disagreement for row in checked])
    loss = np.array(losses, dtype=float)
    weight /= weight.mean()
    design = np.column_stack([np.ones(len(checked)), split])
    inverse = np.linalg.pinv(design.T @ (design * weight[:, None]))
    line = inverse @ design.T @ (weight * loss)
    everywhere = labels.disagreement
    at = np.array([1.0, everywhere.estimate])
    pull = weight * (design @ inverse @ at)
    noise = float(np.sum((pull * (loss - design @ line)) ** 2))
    noise += sum(_unseen(end, line, pull, split) for end in (0.0, 1.0))
    noise += float(line[1] ** 2) * everywhere.variance
    return Mean(float(line @ at), noise, len(checked))


def _unseen(end: float, line: np.ndarray, pull: np.ndarray, split: np.ndarray) -> float:
    """Return the noise of one right and one wrong answer more, of the kind at one `end`.

    Where no error was seen yet the residuals are 0, and the interval would have no width
    (Agresti & Coull, 1998, add answers for the same reason).
    """
    near = pull[np.abs(split - end) <= 0.5]
    if not len(near):
        return 0.0
    expected = float(np.clip(line[0] + line[1] * end, 0.0, 1.0))
    return float(np.mean(near) ** 2) * (expected**2 + (1 - expected) ** 2)


def audit_score(
    probability: float, loss: float, *, tolerance: float, typical: float, at: float
) -> Scores:
    """Return the teacher's loss on one checked ticket as a score that `level` can bet on.

    Parameters
    ----------
    probability: pi rho, that of the ticket being labelled and shown to a person.
    loss: the teacher's, against the person's answer.
    tolerance: the teacher's mean loss that was accepted.
    typical: the usual pi rho of an agreement: a scale, fixed beforehand.
    at: when it was answered, seconds UTC.

    A ticket that was more likely to be drawn moves the score less: y = tau + w (d - tau) with
    w = typical / (pi rho). Summed over the draw, the excess of y over the tolerance has the mean
    of the excess of d over all traffic, so that bets on y are fair exactly where the teacher is
    within its tolerance, however tickets were drawn.

    >>> audit_score(0.2, 1.0, tolerance=0.1, typical=0.05, at=0.0).values
    ((0.325, 1),)
    """
    weight = typical / probability
    # in steps, so that tickets of one plan share a block of bets
    deepest = 2.0 ** max(0, math.ceil(math.log2(weight) - ROUNDING))
    return Scores(
        at=at,
        values=((tolerance + weight * (loss - tolerance), 1),),
        labels=1,
        lowest=tolerance * (deepest - 1),
    )


def bounds(
    checked: Sequence[Checked], losses: Sequence[float], labels: Agreement
) -> Interval | None:
    """Return `mean_loss` with bounds that hold however often one looks; None: too few answers.

    Exact where every label was equally likely to be checked and the losses are 0 or 1, so that
    they can be counted (`confidence_sequence`); asymptotic else.
    """
    if len(checked) < MIN_GOLD:
        return None
    alike = len({row.weight for row in checked}) == 1
    if alike and len({row.disagreement for row in checked}) > 1 and set(losses) <= {0.0, 1.0}:
        return confidence_sequence(sum(losses), len(losses))
    mean = mean_loss(checked, losses, labels)
    # a student's loss less its disagreement may be negative
    return _around(mean, lowest=-1.0 if min(losses) < 0 else 0.0)


def agreement_bounds(labels: Agreement) -> Interval | None:
    """Return the disagreement of labels with bounds for any number of looks; None: too few labels.

    Asymptotic, by the variance of the weighted mean.

    >>> found = agreement_bounds(Agreement.of([(0.0, 0.1)] * 900 + [(1.0, 0.1)] * 100))
    >>> print(f"{found.estimate:.3f}, {found.lower:.3f} to {found.upper:.3f}")
    0.100, 0.071 to 0.129
    """
    if labels.n < MIN_GOLD:
        return None
    return _around(labels.disagreement, lowest=0.0)


def _around(mean: Mean, *, lowest: float) -> Interval:
    """Return a mean in [`lowest`, 1] with bounds for any number of looks: to [0, 1] and back."""
    share = (mean.estimate - lowest) / (1 - lowest)
    variance = mean.n * mean.variance / (1 - lowest) ** 2
    moments = Moments(mean.n, mean.n * share, mean.n * (variance + share**2))
    found = asymptotic_sequence(moments, mean.n, tightest_at=TUNED_FOR)
    return Interval(*(lowest + (1 - lowest) * x for x in msgspec.structs.astuple(found)))
