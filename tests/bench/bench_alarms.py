"""False alarms and delay of `level` and `change` and of their peers, on the same streams.

    python -m tests.bench.bench_alarms [--size small|full]

Labels are drawn independently, 0 or 1. Null: the share of runs with any alarm in so many labels
at a constant rate. Wobble: each day of 500 labels has its own rate, logit(.08) + N(0, .15).
Delay: labels after a step until the first alarm, median / 90th percentile; `never` means not
within the limit that the header names. `late` is a step after a long good time. A median means
nothing without the null beside it.

Tickets: 5 % of them are labelled; active means half of the labels at random and half where the
student's confidence says that it may be wrong (`streams`). After a covariate step there are more
of the tickets that it is bad at; after a concept step there are new errors everywhere, of which
the confidence knows nothing. Delays there are counted in labels of the budget, 5 % of the tickets.

The tolerance is .04 / .10 / .18 for a rate of .03 / .08 / .15; only `level`, betting and the
running mean know it. Exit code 1: a form for many runs and the shipped detector disagree, or a
figure is far from what it was.

Long because all rows of one table are measured here, so that no peer is compared across runs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from monitor.detectors.change import ChangeSettings
from monitor.detectors.level import Level, LevelSettings
from monitor.estimation.scores import Scores
from monitor.estimation.weights import share_out
from tests.bench.engines import (
    DELTA,
    WARNED,
    ChangeOnTickets,
    LevelOnTickets,
    change_on_labels,
    disagreements,
    level_on_labels,
    shipped_windows,
)
from tests.bench.peers import PEERS, STEP, Peer, chunk_3sd, latched, of_river
from tests.bench.streams import (
    LABELS,
    Floats,
    Plan,
    World,
    active_plan,
    base_world,
    concept,
    covariate,
    draw,
    uniform_plan,
    windows,
    wobble,
)

TOLERANCES = {0.03: 0.04, 0.08: 0.10, 0.15: 0.18}
STEPS = ((0.03, 0.06), (0.08, 0.12), (0.08, 0.16), (0.08, 0.24))
LATE = (0.16, 0.24)
#: microseconds a label from which a method is too slow for 200,000 of them
DEAR = 100.0
#: runs that are held in memory at once
AT_ONCE = 20
SEGMENTS = 100
#: the segment that goes bad is the tenth largest: 1.9 % of the traffic
BAD_SEGMENT = 9


class Size(NamedTuple):
    """How much is simulated."""

    null_labels: int
    late: int
    limit: int
    runs: int
    #: seconds for one cell of the table: slow methods get fewer runs
    seconds: float
    #: microseconds a label above which a method is left out
    dearest: float
    ticket_runs: int


SIZES = {
    "small": Size(20_000, 20_000, 10_000, 200, 0.2, DEAR, 60),
    "full": Size(200_000, 100_000, 20_000, 400, 8.0, np.inf, 400),
}


class Target(NamedTuple):
    """A figure that was promised."""

    name: str
    measured: float
    most: float


OURS = [
    Peer("level", lambda x, tau, since: latched(level_on_labels(x, tau), since), 0.1),
    Peer("change, slack 0", lambda x, _, since: latched(change_on_labels(x, 0.0), since), 0.1),
    Peer(
        "change, as shipped",
        lambda x, _, since: latched(change_on_labels(x, ChangeSettings().slack), since),
        0.1,
    ),
]


# --- labels -------------------------------------------------------------------------------------


def first_alarms(
    method: Peer, rates: Iterable[float], tolerance: float, since: int, runs: int, seed: int
) -> Floats:
    """First alarms of some runs over labels with these rates."""
    chance = np.fromiter(rates, dtype=float)
    parts = [
        method.first_alarm(draw(chance, min(AT_ONCE, runs - done), seed + done), tolerance, since)
        for done in range(0, runs, AT_ONCE)
    ]
    return np.concatenate(parts)


def affordable(method: Peer, labels: int, size: Size) -> int:
    """How many runs of so many labels a cell of the table may cost: four at least."""
    return max(4, min(size.runs, int(size.seconds / (1e-6 * method.cost * labels))))


def null_labels(method: Peer, size: Size) -> int:
    """Labels of a run in which nothing happens: 20,000 where a label costs a millisecond."""
    return size.null_labels if method.cost <= DEAR else 20_000


def null_share(method: Peer, rates: Floats, tolerance: float, size: Size) -> float:
    """The share of runs with any alarm although nothing happened."""
    runs = affordable(method, len(rates), size)
    return float(np.isfinite(first_alarms(method, rates, tolerance, 0, runs, 1000)).mean())


def delays(method: Peer, before: float, after: float, at: int, size: Size) -> Floats:
    """Labels from the step to the first alarm after it; infinite when the limit came first."""
    rates = np.repeat([before, after], [at, size.limit])
    runs = affordable(method, at, size)
    return first_alarms(method, rates, TOLERANCES[before], at, runs, 5000) - at + 1


class Row(NamedTuple):
    """One method's figures on labels."""

    name: str
    null: list[float]
    delay: list[Floats]
    seconds: float


def measure(method: Peer, size: Size) -> Row:
    """All columns of one method."""
    started = time.process_time()
    n = null_labels(method, size)
    null = [null_share(method, np.full(n, p), tau, size) for p, tau in TOLERANCES.items()]
    null.append(null_share(method, wobble(0.08, n, 0.15), TOLERANCES[0.08], size))
    delay = [delays(method, p0, p1, STEP, size) for p0, p1 in STEPS]
    delay += [delays(method, 0.08, p1, size.late, size) for p1 in LATE]
    return Row(method.name, null, delay, time.process_time() - started)


def shown(delay: Floats) -> str:
    """Median / 90th percentile, `never` where the limit came first."""
    known = delay[~np.isnan(delay)]
    if not len(known):
        return "all early"
    at = np.quantile(known, [0.5, 0.9], method="higher")
    return "/".join(f"{value:.0f}" if np.isfinite(value) else "never" for value in at)


def median(delay: Floats) -> float:
    """Median of the runs whose alarm did not come before the step."""
    known = delay[~np.isnan(delay)]
    return float(np.quantile(known, 0.5, method="higher")) if len(known) else np.inf


def table(methods: Iterable[Peer], size: Size) -> list[Row]:
    """Measure on labels, and print each row when it is there."""
    print(
        f"\nlabels. null: share of runs with an alarm in {size.null_labels:,} labels (up to "
        f"{size.runs} runs, fewer of slow methods; KSWIN: in 20,000); delay: median/p90 labels, "
        f"limit {size.limit:,}; late: after {size.late:,} good labels"
    )
    heads = ["null .03", "null .08", "null .15", "wobble"]
    heads += [f"{p0:.2f}>{p1:.2f}" for p0, p1 in STEPS] + [f"late {p1:.2f}" for p1 in LATE]
    print(f"{'method':<26}" + "".join(f"{head:>12}" for head in [*heads, "s"]))
    rows = []
    for method in methods:
        row = measure(method, size)
        cells = [f"{share:.3f}" for share in row.null] + [shown(delay) for delay in row.delay]
        cells.append(f"{row.seconds:.1f}")
        print(f"{row.name:<26}" + "".join(f"{cell:>12}" for cell in cells), flush=True)
        rows.append(row)
    return rows


def at_the_tolerance(size: Size) -> dict[float, float]:
    """Share of runs in which `level` pages while the rate is exactly what is tolerated."""
    return {
        tau: null_share(OURS[0], np.full(size.null_labels, tau), tau, size)
        for tau in TOLERANCES.values()
    }


# --- tickets ------------------------------------------------------------------------------------


class Course(NamedTuple):
    """Windows of a world under a plan."""

    world: World
    plan: Plan
    windows: int


Form = LevelOnTickets | ChangeOnTickets


def on_tickets(
    build: Callable[[int], Form], needed: float, courses: list[Course], size: Size
) -> Floats:
    """Number of windows after which each run alarms; infinite when it does not."""
    form, window = build(size.ticket_runs), 0
    first = np.full(size.ticket_runs, np.inf)
    for seed, course in enumerate(courses, 11):
        for seen in windows(course.world, course.plan, course.windows, size.ticket_runs, seed):
            window += 1
            evidence = form.step(course.plan, seen)
            first = np.where(np.isinf(first) & (evidence >= np.log(needed)), window, first)
            if np.isfinite(first).all():
                return first
    return first


def ticket_delay(
    build: Callable[[int], Form], needed: float, plan: Plan, after: World, size: Size
) -> Floats:
    """Labels of the budget from a step, after 5,000 of them, to the alarm."""
    calm = Course(base_world(0.08), plan, STEP // LABELS)
    raised = Course(after, plan, size.limit // 4 // LABELS)
    first = on_tickets(build, needed, [calm, raised], size) - calm.windows
    return np.where(first <= 0, np.nan, first * LABELS)


def ticket_null(
    build: Callable[[int], Form], needed: float, courses: list[Course], size: Size
) -> float:
    """Share of runs with any alarm."""
    return float(np.isfinite(on_tickets(build, needed, courses, size)).mean())


class TicketFigures(NamedTuple):
    """What was measured on tickets."""

    delay: dict[tuple[str, str], Floats]
    null: dict[tuple[str, str], float]
    switch: dict[str, float]


FORMS: dict[str, tuple[Callable[[int], Form], float]] = {
    "level": (lambda runs: LevelOnTickets(runs, 0.10), 1 / DELTA),
    "change, slack 0": (lambda runs: ChangeOnTickets(runs, 0.0), WARNED),
    "change, as shipped": (
        lambda runs: ChangeOnTickets(runs, ChangeSettings().slack),
        WARNED,
    ),
}


def tickets(size: Size) -> TicketFigures:
    """Everything that needs a sampling plan."""
    base = base_world(0.08)
    plans = {"uniform": uniform_plan(0.10), "active": active_plan(base)}
    after = {"covariate .16": covariate(base, 0.16), "concept .16": concept(base, 0.16)}
    steady = size.null_labels // LABELS
    figures = TicketFigures({}, {}, {})
    for name, (build, needed) in FORMS.items():
        for kind, plan in plans.items():
            figures.null[name, kind] = ticket_null(
                build, needed, [Course(base, plan, steady)], size
            )
        for step, world in after.items():
            figures.delay[name, step] = ticket_delay(build, needed, plans["active"], world, size)
        figures.delay[name, "uniform .16"] = ticket_delay(
            build, needed, plans["uniform"], after["concept .16"], size
        )
        half = [Course(base, plan, steady // 2) for plan in plans.values()]
        figures.switch[name] = ticket_null(build, needed, half, size)
    figures.switch.update(_switched_peers(base, plans["active"], size))
    return figures


def _switched_peers(base: World, active: Plan, size: Size) -> dict[str, float]:
    """Peers know no weights: to them the labels that are asked for are the traffic."""
    half = size.null_labels // 2
    rates = np.repeat([0.08, active.rate_among_labels(base)], half)
    return {
        peer.name: null_share(peer, rates, 0.10, size)
        for peer in PEERS
        if peer.cost <= size.dearest
    }


def ticket_table(figures: TicketFigures, size: Size) -> None:
    """Print what was measured on tickets."""
    print(
        f"\ntickets, 5 % labelled ({size.ticket_runs} runs). null: {size.null_labels:,} labels at "
        ".08; delay: median/p90 labels; switch: share of runs with an alarm when only the "
        "sampling policy changes"
    )
    steps = ["uniform .16", "covariate .16", "concept .16"]
    heads = ["null unif.", "null active", *steps, "switch"]
    print(f"{'method':<26}" + "".join(f"{head:>15}" for head in heads))
    for name in FORMS:
        cells = [f"{figures.null[name, kind]:.3f}" for kind in ("uniform", "active")]
        cells += [shown(figures.delay[name, step]) for step in steps]
        cells.append(f"{figures.switch[name]:.3f}")
        print(f"{name:<26}" + "".join(f"{cell:>15}" for cell in cells))
    for name in figures.switch:
        if name not in FORMS:
            print(
                f"{name:<26}"
                + "".join(f"{c:>15}" for c in ["-"] * 5 + [f"{figures.switch[name]:.3f}"])
            )


# --- segments -----------------------------------------------------------------------------------


class SegmentFigures(NamedTuple):
    """100 segments, the traffic of a segment falling with its rank."""

    #: share of runs in which any of the streams pages though all are at the tolerance
    any_page: float
    #: alarms a run of the peers at a rate of .08, below the tolerance
    peers: dict[str, float]
    #: segment labels from the step in one segment until it pages, and until the peers do
    delay: dict[str, Floats]


def segments(size: Size) -> SegmentFigures:
    """One segment goes from .08 to .24; and none does."""
    share = 1 / np.arange(1, SEGMENTS + 1)
    counts = (size.null_labels * share / share.sum()).astype(int)
    names = [f"segment={rank}" for rank in range(SEGMENTS)]
    weights = share_out(dict(zip(names, counts.tolist(), strict=True)))
    runs = max(20, size.runs // 4)
    paged = np.zeros(runs, dtype=bool)
    streams = [("*", size.null_labels), *zip(names, counts.tolist(), strict=True)]
    for seed, (name, labels) in enumerate(streams):
        needed = 1 / (weights.of(name) * DELTA)
        for start in range(0, runs, AT_ONCE):
            part = draw(np.full(labels, 0.10), min(AT_ONCE, runs - start), 1000 * seed + start)
            paged[start : start + AT_ONCE] |= np.isfinite(level_on_labels(part, 0.10, needed))
    return SegmentFigures(
        float(paged.mean()),
        _segment_peers(counts, size),
        _segment_delays(weights.of(names[9]), size),
    )


def _segment_peers(counts: np.ndarray, size: Size) -> dict[str, float]:
    from river.drift import ADWIN

    rules = {"chunk 500, mean + 3 sd": chunk_3sd, "ADWIN default": of_river(ADWIN)}
    runs = 2 if size.runs < 400 else 10
    return {
        name: sum(
            float(np.isfinite(rule(draw(np.full(n, 0.08), runs, seed), 0.10, 0)).sum())
            for seed, n in enumerate(counts.tolist())
            if n > STEP or name == "ADWIN default"
        )
        / runs
        for name, rule in rules.items()
    }


def _segment_delays(weight: float, size: Size) -> dict[str, Floats]:
    from river.drift import ADWIN

    at, runs = 1000, size.runs
    losses = draw(np.repeat([0.08, 0.24], [at, 2000]), runs, 77)
    paged = latched(level_on_labels(losses, 0.10, 1 / (weight * DELTA)), at)
    alone = latched(level_on_labels(losses, 0.10, 1 / DELTA), at)
    return {
        "level, as one of 100": paged - at + 1,
        "level, alone": alone - at + 1,
        "ADWIN default": of_river(ADWIN)(losses, 0.10, at) - at + 1,
    }


def segment_table(figures: SegmentFigures, size: Size) -> None:
    """Print what was measured on segments."""
    print(
        f"\n{SEGMENTS} segments and all traffic, {size.null_labels:,} labels: runs in which any "
        f"pages at p = tau: {figures.any_page:.3f}"
    )
    for name, alarms in figures.peers.items():
        print(f"  {name}: {alarms:.1f} false alarms a run at .08")
    for name, delay in figures.delay.items():
        print(f"  .08 > .24 in one segment, labels of it, {name}: {shown(delay)}")


# --- cost ---------------------------------------------------------------------------------------


class CostFigures(NamedTuple):
    """What a label costs, how large a state is, and what order does to the evidence."""

    microseconds: dict[str, float]
    state_bytes: int
    difference: float


def cost() -> CostFigures:
    """Time in blocks of 50 labels; state after 2,000 blocks; the same block in another order."""
    from river.drift import ADWIN

    base = base_world(0.08)
    timed, largest = {}, 0
    for kind, plan in {"uniform": uniform_plan(0.10), "active": active_plan(base)}.items():
        seen = shipped_windows(plan, list(windows(base, plan, 2000, 1, 3)), 0)
        blocks = [_merged(seen[start : start + 5]) for start in range(0, len(seen), 5)]
        labels = sum(block.labels for block in blocks)
        level = Level(LevelSettings(tolerance=0.10))
        started = time.process_time()
        level.update(blocks)  # 50 labels each
        timed[f"level, {kind}"] = 1e6 * (time.process_time() - started) / labels
        largest = max(largest, len(level.state()))
    adwin, values = ADWIN(), draw(np.full(20_000, 0.08), 1, 5)[0].tolist()
    started = time.process_time()
    for value in values:
        adwin.update(value)
    timed["ADWIN"] = 1e6 * (time.process_time() - started) / len(values)
    return CostFigures(timed, largest, _order_matters(seen[:5]))


def _merged(parts: list[Scores]) -> Scores:
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.merge(part)
    return whole


def _order_matters(parts: list[Scores]) -> float:
    """Difference of the evidence between windows in turn and all partitions at once."""
    in_turn, at_once = Level(LevelSettings(tolerance=0.10)), Level(LevelSettings(tolerance=0.10))
    in_turn.update([parts[0], *parts[1:]])
    at_once.update([_merged(parts[::-1])])
    return abs(in_turn.log_e - at_once.log_e)


# --- judgement ----------------------------------------------------------------------------------


def targets(
    rows: list[Row],
    at_tau: dict[float, float],
    of_tickets: TicketFigures,
    of_segments: SegmentFigures,
    costs: CostFigures,
) -> list[Target]:
    """What was promised, beside what was measured."""
    level, change = rows[0], rows[1]
    tenth, d = max(change.null[:3]), of_tickets.delay
    return [
        *(Target(f"T1 false pages at p = tau {tau}", p, 0.01) for tau, p in at_tau.items()),
        Target("T1 false pages under wobble", level.null[3], 0.0),
        Target("T2 .08>.16 uniform", median(level.delay[2]), 720),
        Target("T2 .08>.24 uniform", median(level.delay[3]), 175),
        Target("T2 .08>.16 active, covariate", median(d["level", "covariate .16"]), 500),
        Target("T2 .08>.16 active, concept", median(d["level", "concept .16"]), 660),
        Target("T2 late .16", median(level.delay[4]), 950),
        Target("T2 late .24", median(level.delay[5]), 220),
        Target("T3 false warnings of change, slack 0", tenth, 0.10),
        Target("T3 .08>.16", median(change.delay[2]), 320),
        Target("T3 .08>.24", median(change.delay[3]), 100),
        Target("T3 .08>.12", median(change.delay[1]), 950),
        Target("T3 .03>.06", median(change.delay[0]), 760),
        Target("T4 false warnings, active", of_tickets.null["change, slack 0", "active"], 0.10),
        Target("T4 .08>.16 covariate", median(d["change, slack 0", "covariate .16"]), 210),
        Target("T4 .08>.16 concept", median(d["change, slack 0", "concept .16"]), 290),
        Target("T5 policy switch, level", of_tickets.switch["level"], 0.01),
        Target("T5 policy switch, change", of_tickets.switch["change, as shipped"], 0.01),
        Target("T10 any false page, 100 segments", of_segments.any_page, 0.01),
        Target("T10 segment labels", median(of_segments.delay["level, as one of 100"]), 230),
        Target("T11 us a label, uniform", costs.microseconds["level, uniform"], 1.0),
        Target("T11 us a label, active", costs.microseconds["level, active"], 1.0),
        Target("T11 bytes of state", costs.state_bytes, 300),
        Target("T11 difference by order", costs.difference, 1e-9),
    ]


def complaints_about(found: list[Target]) -> list[str]:
    """Figures that are far from where they were when this was written.

    A figure may miss its target by noise, and one that is far *below* it is as wrong.
    """
    complaints = []
    for name, measured, most in found:
        low, high = 0.0, most + 0.04
        if most > 1 and "bytes" not in name:
            low, high = 0.6 * most, 1.35 * most
        if name.startswith("T11 us"):
            continue
        if not low <= measured <= high:
            complaints.append(f"{name}: {measured:.3g} is not in [{low:.3g}, {high:.3g}]")
    return complaints


def main() -> int:
    """Print the tables; say what is wrong with them."""
    parser = argparse.ArgumentParser(description="False alarms and delay, with peers.")
    parser.add_argument("--size", choices=SIZES, default="small")
    size = SIZES[parser.parse_args().size]
    rows = table([m for m in [*OURS, *PEERS] if m.cost <= size.dearest], size)
    of_tickets, of_segments, costs = tickets(size), segments(size), cost()
    ticket_table(of_tickets, size)
    segment_table(of_segments, size)
    found = targets(rows, at_the_tolerance(size), of_tickets, of_segments, costs)
    print("\ntargets")
    for target in found:
        verdict = "met" if target.measured <= target.most else "MISSED"
        print(f"{target.name:<40}{target.measured:>10.4g}  at most {target.most:<8.4g}{verdict}")
    complaints = disagreements() + complaints_about(found)
    for complaint in complaints:
        print(f"WRONG: {complaint}")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
