"""Which changes people are told of, and why not of the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.alerts.rules import BY_NAME
from monitor.alerts.stages import AlertSettings, Change, reconcile
from schemas.alerts import Alert, Condition, Notification
from schemas.signals import Severity

SETTINGS = AlertSettings(instance="shop", channels=("stdout", "pager"))
HOUR = 3600.0


def condition(
    name: str = "QualityOutOfBounds", severity: Severity = "page", **labels: str
) -> Condition:
    return Condition(
        name=name,
        severity=severity,
        labels=labels,
        since=0.0,
        summary="s",
        proctord_does="p",
        you_do="y",
        momentary=name.startswith("Student"),
    )


class Journal:
    """Rows and an outbox in memory, as the store keeps them."""

    def __init__(self, settings: AlertSettings = SETTINGS) -> None:
        self.settings = settings
        self.rows: dict[int, Alert] = {}
        self.outbox: dict[str, Notification] = {}

    def turn(self, now: float, *conditions: Condition) -> list[Change]:
        rows = [a for a in self.rows.values() if a.state == "firing" or a.condition.momentary]
        changes = reconcile(conditions, rows, now, self.settings, lambda _ended: "it ended")
        for change in changes:
            self._write(change)
        return changes

    def _write(self, change: Change) -> None:
        alert = change.alert
        if change.kind == "opened":
            firing = {a.dedup_key for a in self.rows.values() if a.state == "firing"}
            assert alert.dedup_key not in firing
            alert = msgspec.structs.replace(alert, alert_id=len(self.rows) + 1)
        self.rows[alert.alert_id] = alert
        for notification in change.notifications:
            assert notification.idempotency_key not in self.outbox
            self.outbox[notification.idempotency_key] = notification

    def told(self) -> list[tuple[str, str]]:
        return [(n.condition.name, n.state) for n in self.outbox.values() if n.channel == "stdout"]


def words(changes: Iterable[Change]) -> list[tuple[str, str, bool]]:
    return [(change.kind, change.reason, bool(change.notifications)) for change in changes]


STORIES: list[tuple[str, Sequence[tuple[float, Sequence[Condition], tuple[str, str, bool]]]]] = [
    (
        "a new alert is told at once, goes on in silence, and its end is told",
        [
            (0.0, [condition()], ("opened", "new", True)),
            (60.0, [condition()], ("updated", "told 1 min ago; repeated after 4 h", False)),
            (120.0, [], ("resolved", "over", True)),
        ],
    ),
    (
        "it is told again after four hours, and then not for another four",
        [
            (0.0, [condition()], ("opened", "new", True)),
            (4 * HOUR - 1, [condition()], ("updated", "told 3 h ago; repeated after 4 h", False)),
            (4 * HOUR, [condition()], ("updated", "goes on; last told 4 h ago", True)),
            (5 * HOUR, [condition()], ("updated", "told 1 h ago; repeated after 4 h", False)),
            (8 * HOUR, [condition()], ("updated", "goes on; last told 4 h ago", True)),
            (12 * HOUR, [condition()], ("updated", "goes on; last told 4 h ago", True)),
        ],
    ),
    (
        "what ends before it was told of ends in silence",
        [
            (
                0.0,
                [condition("AnswersMissing", "warn")],
                ("opened", "seen for 0 s; told after 2 min", False),
            ),
            (
                60.0,
                [condition("AnswersMissing", "warn")],
                ("updated", "seen for 1 min; told after 2 min", False),
            ),
            (200.0, [], ("resolved", "over before anybody was told", False)),
        ],
    ),
    (
        "what lasts longer than the hold is told then",
        [
            (
                0.0,
                [condition("AnswersMissing", "warn")],
                ("opened", "seen for 0 s; told after 2 min", False),
            ),
            (120.0, [condition("AnswersMissing", "warn")], ("updated", "new", True)),
        ],
    ),
    (
        "a warning that becomes a page is told at once, and only once",
        [
            (0.0, [condition("RetrainingFailed", "warn")], ("opened", "new", True)),
            (
                60.0,
                [condition("RetrainingFailed", "page")],
                ("updated", "rose from warn to page", True),
            ),
            (
                120.0,
                [condition("RetrainingFailed", "warn")],
                ("updated", "told 1 min ago; repeated after 4 h", False),
            ),
            (
                180.0,
                [condition("RetrainingFailed", "page")],
                ("updated", "told 2 min ago; repeated after 4 h", False),
            ),
        ],
    ),
]


@pytest.mark.parametrize("story", [s[1] for s in STORIES], ids=[s[0] for s in STORIES])
def test_a_story_of_one_alert(
    story: Sequence[tuple[float, Sequence[Condition], tuple[str, str, bool]]],
) -> None:
    journal = Journal()
    for now, conditions, expected in story:
        assert words(journal.turn(now, *conditions)) == [expected], now


def test_a_page_mutes_the_warning_of_the_same_segment_only() -> None:
    journal = Journal()
    changes = journal.turn(
        0.0,
        condition(lane="l", segment="a"),
        condition("QualityWarning", "warn", lane="l", segment="a"),
        condition("QualityWarning", "warn", lane="l", segment="b"),
    )
    assert words(changes) == [
        ("opened", "new", True),
        ("opened", "muted by QualityOutOfBounds", False),
        ("opened", "new", True),
    ]


def test_a_warning_that_was_told_is_called_off_even_while_it_is_muted() -> None:
    journal = Journal()
    journal.turn(0.0, condition("QualityWarning", "warn", lane="l", segment="a"))
    [_, off] = journal.turn(60.0, condition(lane="l", segment="a"))
    assert (off.kind, off.reason, len(off.notifications)) == ("resolved", "over", 2)


def test_a_muted_warning_is_told_once_the_page_is_over() -> None:
    journal = Journal()
    warning = condition("QualityWarning", "warn", lane="l", segment="a")
    journal.turn(0.0, condition(lane="l", segment="a"), warning)
    assert words(journal.turn(60.0, warning)) == [
        ("updated", "new", True),
        ("resolved", "over", True),
    ]


def test_a_condition_that_wavers_is_told_once() -> None:
    journal = Journal()
    stale = condition("EventsStale", "warn")
    for turn in range(40):
        journal.turn(30.0 * turn, *([stale] if turn % 2 == 0 else []))
    assert journal.told() == [("EventsStale", "firing")]
    journal.turn(30.0 * 40 + BY_NAME["EventsStale"].keep)
    assert journal.told() == [("EventsStale", "firing"), ("EventsStale", "resolved")]


def test_an_alert_that_is_kept_up_still_mutes() -> None:
    journal = Journal()
    unavailable = condition("TeacherUnavailable", "warn")
    abstains = condition("TeacherAbstains", "warn")
    journal.turn(0.0, unavailable)
    journal.turn(600.0, unavailable, abstains)
    # the hold of the abstentions is over, the greater alert has been gone for a minute only
    journal.turn(1200.0, unavailable, abstains)
    [muted] = journal.turn(1260.0, abstains)
    assert muted.reason == "muted by TeacherUnavailable"


def test_news_is_told_once_and_is_over_at_once() -> None:
    journal = Journal()
    promoted = condition("StudentPromoted", "info", version="3")
    [change] = journal.turn(0.0, promoted)
    assert (change.alert.state, change.alert.ended_at) == ("resolved", 0.0)
    assert [n.state for n in change.notifications] == ["firing", "firing"]
    assert journal.turn(30.0, promoted) == []
    assert journal.turn(60.0) == []
    assert journal.told() == [("StudentPromoted", "firing")]


def test_news_of_another_promotion_is_other_news() -> None:
    journal = Journal()
    journal.turn(0.0, condition("StudentPromoted", "info", version="3"))
    [change] = journal.turn(
        9.0,
        condition("StudentPromoted", "info", version="3"),
        condition("StudentPromoted", "info", version="4"),
    )
    assert change.alert.condition.labels == {"version": "4"}


def test_an_alert_that_comes_back_is_a_new_one() -> None:
    journal = Journal()
    for now, conditions in ((0.0, [condition()]), (60.0, []), (120.0, [condition()]), (180.0, [])):
        journal.turn(now, *conditions)
    assert [state for _, state in journal.told()] == ["firing", "resolved", "firing", "resolved"]
    assert len(journal.rows) == 2


def test_the_channel_that_fails_is_told_of_through_the_others() -> None:
    [change] = Journal().turn(0.0, condition("NotificationsFailing", channel="pager"))
    assert [n.channel for n in change.notifications] == ["stdout"]


def test_the_only_channel_is_told_of_its_own_failure() -> None:
    alone = msgspec.structs.replace(SETTINGS, channels=("pager",))
    [change] = Journal(alone).turn(0.0, condition("NotificationsFailing", channel="pager"))
    assert [n.channel for n in change.notifications] == ["pager"]


def test_without_a_channel_nobody_is_told_and_nobody_counts_as_told() -> None:
    [change] = Journal(msgspec.structs.replace(SETTINGS, channels=())).turn(0.0, condition())
    assert change.reason == "no channel is configured"
    assert (change.alert.told, change.notifications) == (0, ())


def test_two_conditions_of_one_identity_make_one_alert() -> None:
    [change] = Journal().turn(0.0, condition(), condition())
    assert change.kind == "opened"


def test_an_alert_of_a_rule_that_was_removed_ends() -> None:
    journal = Journal()
    journal.turn(0.0, condition("RuleOfOld"))
    assert words(journal.turn(60.0)) == [("resolved", "over", True)]


def test_the_keys_name_alert_start_state_count_and_channel() -> None:
    [change] = Journal().turn(1.5, condition())
    key = condition().dedup_key("shop")
    assert [n.idempotency_key for n in change.notifications] == [
        f"{key}:1.500:firing:0:stdout",
        f"{key}:1.500:firing:0:pager",
    ]


def test_the_commands_of_the_rule_go_with_it() -> None:
    [change] = Journal().turn(0.0, condition())
    assert change.notifications[0].commands == BY_NAME["QualityOutOfBounds"].commands


def test_a_turn_that_is_done_again_after_a_rollback_says_the_same() -> None:
    assert Journal().turn(7.0, condition()) == Journal().turn(7.0, condition())


NAMES = st.sampled_from(sorted(BY_NAME))
SEGMENTS = st.sampled_from(["a", "b"])
SEVERITIES = st.sampled_from(["page", "warn"])
TURNS = st.lists(
    st.tuples(
        st.floats(min_value=1.0, max_value=3 * HOUR),
        st.lists(st.tuples(NAMES, SEGMENTS, SEVERITIES), max_size=5),
    ),
    max_size=12,
)


@given(TURNS)
def test_every_told_alert_is_called_off_once_and_none_is_told_of_out_of_order(
    turns: list[tuple[float, list[tuple[str, str, Severity]]]],
) -> None:
    journal, now = Journal(), 0.0
    for step, found in turns:
        now += step
        journal.turn(now, *(condition(n, severity, segment=s) for n, s, severity in found))
    journal.turn(now + HOUR)
    states: dict[tuple[str, float], list[str]] = {}
    for notice in journal.outbox.values():
        if notice.channel == "stdout" and not notice.condition.momentary:
            states.setdefault((notice.dedup_key, notice.started_at), []).append(notice.state)
    for heard in states.values():
        assert heard[-1] == "resolved"
        assert set(heard[:-1]) == {"firing"}
    assert all(alert.state == "resolved" for alert in journal.rows.values())
