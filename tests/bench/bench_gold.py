"""How many of people's answers does it take to know a student's error, and the teacher's?

`python tests/bench/bench_gold.py [--size small|full]`. A student that is wrong in 9.0 % of the
tickets is to be known to 1.0 point either way (95 %, one look). With people's answers alone that
takes 1.96^2 p (1 - p) / 0.01^2 of them. With a teacher that is asked about many tickets and is
itself checked by few people, it takes fewer: the better the teacher, the fewer.

Peers, in the same run: people's answers alone, drawn uniformly; the teacher taken at its word;
the score with the true rho, of which the line is the version with an estimated one; the same
without showing disagreements to people more often.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from monitor.canaries import CanarySettings
from monitor.detectors.level import Level, LevelSettings
from monitor.estimation.gold import Agreement, Checked, Mean, bounds, mean_loss
from monitor.estimation.scores import plain
from monitor.gold import DISAGREED

#: half of the width that is wanted, and the rate at which tickets are labelled
WANTED, PI = 0.01, 0.05
#: tickets whose label the teacher gave: its answers cost cents, people's cost minutes
LABELS = 20_000
STUDENT_ERROR = 0.09


class Mix(NamedTuple):
    """What tickets are like: shares of all traffic."""

    #: student and teacher agree, and both are wrong
    both: float
    #: they differ, and the teacher is wrong
    teacher: float
    #: they differ, and the student is wrong
    student: float

    @property
    def student_error(self) -> float:
        """Share of tickets in which the student is wrong."""
        return self.both + self.student

    @property
    def teacher_error(self) -> float:
        """Share of tickets in which the teacher is wrong."""
        return self.both + self.teacher


def mix(teacher_error: float) -> Mix:
    """Return a mix with this teacher: two of three of its errors, the student has learned."""
    both = teacher_error * 2 / 3
    return Mix(both, teacher_error - both, STUDENT_ERROR - both)


#: a teacher that is wrong in 25 %, mostly where the student is right
POOR = Mix(0.05, 0.20, 0.04)


class Sample(NamedTuple):
    """Labelled tickets, with what people would say of each. Shapes: [labels]."""

    pi: np.ndarray
    disagrees: np.ndarray
    student: np.ndarray
    teacher: np.ndarray


def draw(rng: np.random.Generator, shares: Mix, n: int, *, active: bool) -> Sample:
    """Return labelled tickets; `active`: errors are sampled more often, as a calibrated plan does."""
    kind = rng.choice(4, n, p=[*shares, 1 - sum(shares)])
    pi = np.full(n, PI)
    if active:
        # the plan knows the student's confidence: disagreements are twice as likely to be asked
        pi = np.where(kind < 3, 1.5 * PI, 0.75 * PI)
        kept = rng.random(n) < pi / pi.max()
        kind, pi = kind[kept], pi[kept]
    return Sample(
        pi,
        np.isin(kind, (1, 2)) * 1.0,
        np.isin(kind, (0, 2)) * 1.0,
        np.isin(kind, (0, 1)) * 1.0,
    )


def check(rng: np.random.Generator, sample: Sample, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Return which labels people answer, and how likely each was to be shown to them."""
    rho = np.minimum(1.0, rate * (1 + (DISAGREED - 1) * sample.disagrees))
    return rng.random(len(rho)) < rho, rho


def line(sample: Sample, shown: np.ndarray, rho: np.ndarray, loss: np.ndarray) -> Mean:
    """The product's estimate."""
    return mean_loss(_rows(sample, shown, rho), list(loss[shown]), _labels(sample))


def score(sample: Sample, shown: np.ndarray, rho: np.ndarray, loss: np.ndarray) -> Mean:
    """The same score with the true rho, each ticket for itself."""
    weight = 1 / sample.pi
    base = sample.disagrees if loss is sample.student else np.zeros(len(loss))
    x = base + shown * (loss - base) / rho
    mean = float(np.average(x, weights=weight))
    variance = float(np.sum((weight * (x - mean)) ** 2) / weight.sum() ** 2)
    return Mean(mean, variance, int(shown.sum()))


def _rows(sample: Sample, shown: np.ndarray, rho: np.ndarray) -> list[Checked]:
    columns = (1 / (sample.pi * rho), sample.disagrees, sample.student, sample.teacher)
    return [Checked(*row) for row in np.column_stack(columns)[shown].tolist()]


def _labels(sample: Sample) -> Agreement:
    return Agreement.of(zip(sample.disagrees.tolist(), sample.pi.tolist(), strict=True))


Estimate = Callable[[Sample, np.ndarray, np.ndarray, np.ndarray], Mean]


class Row(NamedTuple):
    """What many runs of one estimate came to."""

    answers: float
    half_width: float
    bias: float
    #: the standard error of that bias
    bias_error: float
    coverage: float
    #: share of runs in which the band for any number of looks ever missed the truth
    missed: float


def measure(
    shares: Mix,
    rate: float,
    runs: int,
    *,
    who: str = "student",
    active: bool = False,
    estimate: Estimate = line,
    labels: int = LABELS,
    looks: int = 0,
) -> Row:
    """Simulate; `looks`: so many looks at the band while answers come in."""
    rng = np.random.default_rng(8)
    truth = shares.student_error if who == "student" else shares.teacher_error
    found, missed = [], 0
    for _ in range(runs):
        sample = draw(rng, shares, labels, active=active)
        shown, rho = check(rng, sample, rate)
        found.append(estimate(sample, shown, rho, getattr(sample, who)))
        missed += _ever_missed(sample, shown, rho, who, truth, looks)
    off = np.array([one.estimate - truth for one in found])
    half = 1.96 * np.sqrt([one.variance for one in found])
    return Row(
        float(np.mean([one.n for one in found])),
        float(half.mean()),
        float(off.mean()),
        float(off.std() / math.sqrt(runs)),
        float((np.abs(off) <= half).mean()),
        missed / runs,
    )


def _ever_missed(
    sample: Sample, shown: np.ndarray, rho: np.ndarray, who: str, truth: float, looks: int
) -> bool:
    """Whether one of so many bands, from the first answers to the last, misses the truth."""
    for part in np.linspace(0.1, 1.0, looks):
        upto = int(part * len(rho))
        cut = Sample(*(column[:upto] for column in sample))
        rows = _rows(cut, shown[:upto], rho[:upto])
        band = bounds(rows, [getattr(row, who) for row in rows], _labels(cut))
        if band is not None and not band.lower <= truth <= band.upper:
            return True
    return False


def answers_needed(shares: Mix, factor: float = DISAGREED) -> float:
    """Return how many of people's answers make the interval as narrow as it is wanted.

    From the variance of the estimate: of the two kinds' errors, by their answers, and of the
    share of disagreements, by the labels. What the product adds for errors it has not seen yet
    makes it a little more.
    """
    differ = shares.teacher + shares.student
    wrong = {False: shares.both / (1 - differ), True: shares.student / differ}
    drawn = {False: 1 - differ, True: factor * differ}
    falls = sum(
        share**2 * wrong[kind] * (1 - wrong[kind]) * sum(drawn.values()) / drawn[kind]
        for kind, share in ((False, 1 - differ), (True, differ))
    )
    stays = (wrong[True] - wrong[False]) ** 2 * differ * (1 - differ) / LABELS
    return falls / ((WANTED / 1.96) ** 2 - stays)


def best_split(shares: Mix) -> float:
    """Return the fewest answers that any split between the two kinds takes."""
    return min(answers_needed(shares, factor) for factor in np.geomspace(0.5, 16, 61))


def alone(error: float) -> float:
    """Return the same number for people's answers alone, drawn uniformly."""
    return 1.96**2 * error * (1 - error) / WANTED**2


class Weeks(NamedTuple):
    """What many teachers' canaries came to."""

    #: share of teachers that were called changed
    found: float
    #: weeks after which half, and nine of ten, of those that are ever found were
    median: float
    ninetieth: float


def canaries(runs: int, *, changed: float, weeks: int = 52) -> Weeks:
    """Ask canaries week by week, of which the same tickets waver again and again.

    `changed`: the share that gets another answer for good, from the first week on; beside it, one
    ticket in ten is answered this way or that.
    """
    rng = np.random.default_rng(6)
    settings = CanarySettings()
    found = []
    for _ in range(runs):
        wavers = np.zeros(settings.count)
        wavers[: settings.count // 10] = 10 * settings.noise
        other = rng.random(settings.count) < changed
        level = Level(LevelSettings(tolerance=settings.noise))
        for week in range(weeks):
            differs = other | (rng.random(settings.count) < wavers)
            level.update([plain((differs * 1.0).tolist(), at=float(week))])
            if level.latched:
                found.append(week + 1)
                break
    late = [float(x) for x in np.quantile(found, (0.5, 0.9))] if found else [math.inf] * 2
    return Weeks(len(found) / runs, *late)


def show(title: str, row: Row, promise: str = "") -> None:
    """Print one line."""
    print(
        f"  {title:<50} {row.answers:6.0f} answers  +- {100 * row.half_width:4.2f}  bias "
        f"{100 * row.bias:+5.2f} (+- {100 * row.bias_error:4.2f})  covers {row.coverage:5.1%}"
        f"  {promise}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=("small", "full"), default="full")
    full = parser.parse_args().size == "full"
    runs = 600 if full else 100

    print(f"answers that it takes to know a student's error of 9 % to a point, {LABELS:,} labels:")
    print(f"  people's answers alone: {alone(STUDENT_ERROR):,.0f}")
    needed = {}
    for error, shares in {**{e: mix(e) for e in (0.01, 0.02, 0.03, 0.05)}, 0.25: POOR}.items():
        needed[error] = answers_needed(shares)
        least = best_split(shares)
        print(
            f"  with a teacher that is wrong in {error:.0%}: {needed[error]:,.0f} "
            f"(at the best split between agreements and disagreements: {least:,.0f})"
        )
        assert needed[error] < 1.04 * least
        assert needed[error] < alone(STUDENT_ERROR), "the teacher's labels are worth something"
    flat = answers_needed(mix(0.02), factor=1.0)
    print(f"  the same at 2 %, disagreements shown as often as agreements: {flat:,.0f}")

    print(f"the estimate at about 900 answers, teacher wrong in 2 %, {runs} runs each:")
    rate = 900 / (LABELS * (1 + (DISAGREED - 1) * (mix(0.02).teacher + mix(0.02).student)))
    word = measure(mix(0.02), rate, runs, estimate=taken_at_its_word)
    rows = {
        "line, uniform": measure(mix(0.02), rate, runs),
        "line, active": measure(mix(0.02), rate, runs, active=True),
        "line, uniform, the teacher's own error": measure(mix(0.02), rate, runs, who="teacher"),
        "line, active, the teacher's own error": measure(
            mix(0.02), rate, runs, who="teacher", active=True
        ),
        "line, uniform, teacher wrong in 26 %": measure(Mix(0.17, 0.09, 0.04), rate, runs),
        "score with the true rho, uniform": measure(mix(0.02), rate, runs, estimate=score),
        "score with the true rho, active": measure(
            mix(0.02), rate, runs, estimate=score, active=True
        ),
    }
    for title, row in rows.items():
        show(title, row)
    show("the teacher taken at its word", word, "<- biased: the teacher is wrong too")

    early = measure(mix(0.02), rate / 6, runs)
    show("line, uniform, early", early)
    band = measure(mix(0.02), rate, runs // 2, looks=10)
    worse = measure(Mix(0.17, 0.09, 0.04), rate, runs // 2, looks=10)
    print(f"  10 looks at the band: it ever misses in {band.missed:.1%} of runs (limit 5 %)")
    print(f"  the same, teacher wrong in 26 %: {worse.missed:.1%}")

    first = rows["line, uniform"]
    assert first.half_width <= WANTED, "T8: a student's error to a point, with 900 answers"
    assert first.answers <= 900
    print(f"200 canaries, one in ten wavers so that 5 % differ by chance, a year, {runs} teachers:")
    quiet = canaries(runs, changed=0.0)
    print(f"  the same teacher: called another one in {quiet.found:.1%} (limit 1 %)")
    for share in (0.05, 0.10, 0.20):
        weeks = canaries(runs, changed=share)
        print(
            f"  another answer to {share:.0%} of the tickets: found in {weeks.found:.1%}, after "
            f"{weeks.median:.0f} weeks (nine of ten: {weeks.ninetieth:.0f})"
        )
    assert quiet.found <= 0.01 + 3 * math.sqrt(0.01 / runs)
    assert canaries(20, changed=0.20) == Weeks(1.0, 1.0, 1.0)

    assert needed[0.02] < flat, "disagreements are worth more"
    for title, row in rows.items():
        assert abs(row.bias) < 4 * row.bias_error + 5e-4, title
        assert row.coverage > 0.92 - 0.5 / math.sqrt(runs), title
    assert abs(word.bias) > 5 * word.bias_error, "what a teacher is taken at its word for"
    assert max(band.missed, worse.missed) <= 0.05 + 2 / math.sqrt(runs // 2) * 0.22


def taken_at_its_word(sample: Sample, shown: np.ndarray, rho: np.ndarray, loss: np.ndarray) -> Mean:
    """Disagreement, called error."""
    del shown, rho, loss
    return _labels(sample).disagreement


if __name__ == "__main__":
    main()
