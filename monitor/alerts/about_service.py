"""Rules about what proctord lives on: events, answers, the teacher, money, deliveries."""

from __future__ import annotations

from collections.abc import Iterator

from monitor.alerts.figures import duration, money, utc
from monitor.alerts.hysteresis import Threshold, firing, since
from monitor.alerts.situation import Budget, Deliveries, Intake, Situation, TeacherHealth, Traffic
from monitor.estimation.wording import number, percent
from schemas.alerts import Condition
from schemas.signals import Severity

#: fewer messages, tickets or calls than this make no ratio
FEWEST = 20
#: and fewer events than this make no share of wrong clocks
FEWEST_CLOCKS = 100
DEAD_LETTERS = Threshold(raise_at=0.05, clear_below=0.02)
UNANSWERED = Threshold(raise_at=0.05, clear_below=0.02)
CLOCKS = Threshold(raise_at=0.05, clear_below=0.02)
#: from here on most of the traffic is not seen: worth waking somebody
BLIND = 0.5
TEACHER_FAILURES = Threshold(raise_at=0.5, clear_below=0.2)
ABSTENTIONS = Threshold(raise_at=0.2, clear_below=0.1)
BUDGET_LOW = Threshold(raise_at=0.8, clear_below=0.75)
BUDGET_SPENT = Threshold(raise_at=1.0, clear_below=0.95)
#: age of the oldest notification that waits, seconds
UNDELIVERED = Threshold(raise_at=600.0, clear_below=300.0)
#: event time that the watermark may lie behind while a backlog is read, seconds
BACKLOG = Threshold(raise_at=3600.0, clear_below=900.0)


def dead_letters_high(situation: Situation) -> Iterator[Condition]:
    """Messages come that proctord cannot read."""
    traffic = situation.traffic
    if traffic is None:
        return
    share = _share(traffic.dead_letters, traffic.events + traffic.dead_letters)
    name = "DeadLettersHigh"
    if DEAD_LETTERS.holds(share, firing=_fires(situation, name)):
        yield Condition(
            name=name,
            severity=_blind(share),
            since=since(situation, name, {}),
            summary=f"{percent(share)} of the messages of the last {duration(traffic.seconds)} "
            f"could not be read: {number(traffic.dead_letters)} of "
            f"{number(traffic.events + traffic.dead_letters)}; from {percent(DEAD_LETTERS.raise_at)} on "
            "something is wrong with the producer",
            proctord_does="Keeps each one, byte for byte, with the field at fault, and reads on.",
            you_do="Look at one and mend the producer. What was lost counts only if the producer "
            "publishes it again.",
        )


def clock_skew(situation: Situation) -> Iterator[Condition]:
    """Events say that they are from the future, or from long ago."""
    traffic = situation.traffic
    if traffic is None or traffic.events < FEWEST_CLOCKS:
        return
    share = (traffic.from_future + traffic.too_old) / traffic.events
    name = "ClockSkew"
    if CLOCKS.holds(share, firing=_fires(situation, name)):
        yield Condition(
            name=name,
            # many old ones are more often a backlog than a clock
            severity=_blind(traffic.from_future / traffic.events),
            since=since(situation, name, {}),
            summary=f"{percent(share)} of the events of the last {duration(traffic.seconds)} have "
            f"a time that cannot be right: {wrong_times(traffic)}; from "
            f"{percent(CLOCKS.raise_at)} on a producer's clock is wrong, or this machine's",
            proctord_does="Counts events from the future as of now, and windows close by the "
            "other events' times; by now, where most are from the future. What is too old comes "
            "after its windows closed, and is judged by nobody.",
            you_do="Compare the clocks of the producers and of this machine (`date -u`), and set "
            "them by NTP. If proctord reads an old backlog, raise max_past_seconds or wait.",
        )


def wrong_times(traffic: Traffic) -> str:
    """Return how many times could not be right, of how many; "" where all could."""
    found = [
        f"{number(count)} of {number(traffic.events)} are {what}"
        for count, what in ((traffic.from_future, "from the future"), (traffic.too_old, "too old"))
        if count
    ]
    return " and ".join(found)


def answers_missing(situation: Situation) -> Iterator[Condition]:
    """Tickets are asked and no answer is seen: production stands, or its events get lost."""
    traffic = situation.traffic
    if traffic is None:
        return
    share = _share(traffic.unanswered, traffic.tickets)
    name = "AnswersMissing"
    if UNANSWERED.holds(share, firing=_fires(situation, name)):
        yield Condition(
            name=name,
            severity=_blind(share),
            since=since(situation, name, {}),
            summary=f"{percent(share)} of the tickets had no answer within the grace: "
            f"{_unanswered(traffic)}",
            proctord_does="Counts them as unanswered. They cannot be sampled: what quality says "
            "is of the answered ones only.",
            you_do="See whether customers wait in vain, or only the answer events are missing.",
        )


def events_stale(situation: Situation) -> Iterator[Condition]:
    """Nothing is read: nothing comes, or we stand still, or are far behind."""
    if not situation.intake:
        return
    wording = _stuck(situation) or _silent(situation) or _behind(situation)
    if wording is not None:
        severity, summary, you_do = wording
        yield Condition(
            name="EventsStale",
            severity=severity,
            since=since(situation, "EventsStale", {}),
            summary=summary,
            proctord_does="Judges nothing it has not read; findings of before stand. It takes up "
            "where it stopped.",
            you_do=you_do,
        )


def teacher_unavailable(situation: Situation) -> Iterator[Condition]:
    """The teacher cannot be asked, so there are no new labels."""
    teacher = situation.teacher
    name = "TeacherUnavailable"
    if teacher is None or not _unavailable(teacher, firing=_fires(situation, name)):
        return
    closed = since(situation, name, {})
    error = f"; the last failure: {teacher.last_error}" if teacher.last_error else ""
    yield Condition(
        name=name,
        severity="warn",
        since=closed if teacher.open_since is None else min(closed, teacher.open_since),
        summary=f"teacher {teacher.name} does not answer: {number(teacher.failures)} of "
        f"{number(teacher.calls)} "
        f"calls of the last hour failed{error}",
        proctord_does="Asks again by itself. Samples wait for it; without labels, quality loss is "
        "not noticed, while windows and drift are still watched.",
        you_do="Check the teacher's service, key and quota.",
    )


def teacher_abstains(situation: Situation) -> Iterator[Condition]:
    """The teacher answers, but too often with nothing that is valid."""
    teacher = situation.teacher
    if teacher is None:
        return
    answered = teacher.calls - teacher.failures
    share = _share(teacher.abstentions, answered)
    name = "TeacherAbstains"
    if ABSTENTIONS.holds(share, firing=_fires(situation, name)):
        yield Condition(
            name=name,
            severity="warn",
            since=since(situation, name, {}),
            summary=f"teacher {teacher.name} abstained on {percent(share)} of {number(answered)} "
            "tickets "
            "of the last hour",
            proctord_does="Leaves these tickets out. Quality is then known of the rest only, "
            "which may be the easier ones.",
            you_do="See whether the taxonomy lacks a label, or the model behind the teacher "
            "was changed.",
        )


def teacher_budget_low(situation: Situation) -> Iterator[Condition]:
    """Most of the day's money is gone."""
    yield from _budget(
        situation,
        "TeacherBudgetLow",
        BUDGET_LOW,
        does="Goes on until the cap. Nothing above it is ever spent.",
    )


def teacher_budget_spent(situation: Situation) -> Iterator[Condition]:
    """The day's money is gone: no labels until midnight UTC."""
    yield from _budget(
        situation,
        "TeacherBudgetSpent",
        BUDGET_SPENT,
        does="Asks nothing more until midnight UTC. Until then quality loss is not noticed; "
        "samples wait.",
    )


def notifications_failing(situation: Situation) -> Iterator[Condition]:
    """A channel does not take notifications; told through the others, where there are any."""
    name = "NotificationsFailing"
    for queue in situation.deliveries:
        labels = {"channel": queue.channel}
        fires = firing(situation, name, labels) is not None
        if queue.given_up or UNDELIVERED.holds(_age(situation, queue), firing=fires):
            error = f"; the last error: {queue.last_error}" if queue.last_error else ""
            yield Condition(
                name=name,
                severity="page",
                labels=labels,
                since=since(situation, name, labels),
                summary=f"channel {queue.channel} takes no notifications: {number(queue.waiting)} wait, "
                f"the oldest for {duration(_age(situation, queue))}; {number(queue.given_up)} were given "
                f"up during the last day{error}",
                proctord_does="Tries each again for 24 h, at growing intervals. The alerts stand "
                "in the journal whatever happens to their notifications.",
                you_do="Check the receiver, then read here what it was not told.",
            )


# --- facts -----------------------------------------------------------------------------------


def _share(part: int, whole: int) -> float:
    """Return part of whole; 0 where there are too few to speak of a share."""
    return part / whole if whole >= FEWEST else 0.0


def _fires(situation: Situation, name: str) -> bool:
    return firing(situation, name, {}) is not None


def _blind(share: float) -> Severity:
    return "page" if share >= BLIND else "warn"


def _unanswered(traffic: Traffic) -> str:
    return (
        f"{number(traffic.unanswered)} of {number(traffic.tickets)} in {duration(traffic.seconds)}"
    )


def _unavailable(teacher: TeacherHealth, *, firing: bool) -> bool:
    failures = _share(teacher.failures, teacher.calls)
    return teacher.open_since is not None or TEACHER_FAILURES.holds(failures, firing=firing)


def _age(situation: Situation, queue: Deliveries) -> float:
    return 0.0 if queue.oldest_at is None else situation.now - queue.oldest_at


def _budget(
    situation: Situation, name: str, threshold: Threshold, *, does: str
) -> Iterator[Condition]:
    budget = situation.budget
    # a cap of 0 is a wish, not a shortage
    if budget is None or budget.cap_usd <= 0:
        return
    if threshold.holds(budget.spent_usd / budget.cap_usd, firing=_fires(situation, name)):
        yield Condition(
            name=name,
            severity="warn",
            since=since(situation, name, {}),
            summary=_spent(budget),
            proctord_does=does,
            you_do="If this comes every day, raise daily_teacher_usd in the contract, or lower "
            "the sampling rate.",
        )


def _spent(budget: Budget) -> str:
    return (
        f"the teacher has cost {money(budget.spent_usd)} of {money(budget.cap_usd)} on "
        f"{budget.day} (UTC), reservations included"
    )


Wording = tuple[Severity, str, str]


def _idle(situation: Situation, intake: Intake) -> bool:
    limit = Threshold(raise_at=situation.stale_after, clear_below=situation.stale_after / 2)
    age = situation.now - intake.advanced_at
    return limit.holds(age, firing=_fires(situation, "EventsStale"))


def _stuck(situation: Situation) -> Wording | None:
    """Records wait and a shard does not take them in."""
    stuck = [i for i in situation.intake if i.behind > 0 and _idle(situation, i)]
    if not stuck:
        return None
    shards = ", ".join(str(i.shard) for i in stuck[:8]) + (" and more" if stuck[8:] else "")
    summary = (
        f"{len(stuck)} of {len(situation.intake)} shards stand still while messages wait: "
        f"shard {shards}, the first since {utc(min(i.advanced_at for i in stuck))}"
    )
    return "page", summary, "Look at the consumers' log; start the one that stands again."


def _silent(situation: Situation) -> Wording | None:
    """No shard has taken anything in, and nothing is known to wait."""
    if not all(_idle(situation, intake) for intake in situation.intake):
        return None
    newest = max(intake.advanced_at for intake in situation.intake)
    summary = f"no event has come for {duration(situation.now - newest)}, since {utc(newest)}"
    you_do = "See whether production publishes; if quiet hours are usual, raise stale_seconds."
    return "warn", summary, you_do


def _behind(situation: Situation) -> Wording | None:
    """Events are read, but old ones."""
    marks = [i.watermark for i in situation.intake if i.watermark is not None and i.behind > 0]
    age = situation.now - min(marks, default=situation.now)
    if not BACKLOG.holds(age, firing=_fires(situation, "EventsStale")):
        return None
    summary = f"proctord reads events of {duration(age)} ago and is catching up"
    return "warn", summary, "Nothing if it was down. If it falls further behind, add consumers."
