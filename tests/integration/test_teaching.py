"""The teacher on probation, on a real journal: drawn, checked, audited, asked again.

Long because each of the four is seen through the same loop, on the same house.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
import sqlalchemy as sa
from factories import START

from monitor.canaries import CanarySettings
from monitor.comparators import COMPARATORS
from monitor.estimation.standing import student_gold
from monitor.gold import GoldSettings
from monitor.loops.label import LabelLoop, LabelSettings
from monitor.loops.teaching import (
    Taught,
    TeachingSettings,
    doubt,
    teacher_generation,
    watch,
)
from monitor.sampling import SamplingPlan
from monitor.store import gold, labelling, planning, teachers
from monitor.teachers import Question, TeacherAnswer
from monitor.teachers.scripted import read_recorded
from schemas import tables
from schemas.contract import QualityContract
from schemas.journal import ensure_schema, insert, open_journal
from schemas.samples import Gold, Sample
from schemas.teachers import TeacherStanding

WEEK = 7 * 86400.0
EVERYBODY = GoldSettings(rate=1.0)


class Provider:
    """A teacher that answers by the text, as a provider's model does; `answer` may be replaced."""

    def __init__(self, answer: Callable[[str], str | None], name: str = "big") -> None:
        self.answer = answer
        self.name = name
        self.prompt_hash = "p1"
        self.asked: list[str] = []

    def most_it_can_cost(self, _question: Question) -> float:
        return 0.0

    def ask(self, question: Question) -> TeacherAnswer:
        self.asked.append(question.ticket_id)
        said = self.answer(question.text)
        abstained = "" if said is not None else "invalid"
        return TeacherAnswer(output=said, abstained=abstained, latency_ms=1.0, cost_usd=0.001)

    def close(self) -> None:
        pass


class House:
    """A journal, a teacher that labels it, and what the evaluator would do once a window."""

    def __init__(self, url: str, provider: Provider, **settings: object) -> None:
        self.engine = open_journal(url)
        ensure_schema(self.engine)
        self.provider = provider
        self.label = LabelLoop(
            self.engine,
            provider,
            COMPARATORS["label"],
            LabelSettings(
                owner="l",
                taxonomy=(),
                concurrency=1,
                batch=1000,
                daily_usd=100.0,
                comparator="label",
            ),
        )
        self.contract = QualityContract(tolerance=0.1, teacher_tolerance=0.1)
        self.settings = TeachingSettings(
            salt="test", random_rate=0.5, compare=COMPARATORS["label"], **settings
        )
        self.windows = 0
        self.now = START
        with self.engine.begin() as connection:
            planning.publish(connection, SamplingPlan(random_rate=0.5), START)

    def ask(self, answers: Iterable[tuple[str, str]], model: str = "m1") -> None:
        """Sample one window of tickets, each a text and the student's answer, and label it."""
        self.windows += 1
        window = START + 600.0 * self.windows
        self.now = max(self.now, window + 600.0)
        samples = [
            Sample(
                ticket_id=f"{model}-{self.windows}-{n}",
                at=window + n / 100,
                text=text,
                output=output,
                model=model,
                served_by="student",
                confidence=0.9,
                segments=("*",),
                reason="random",
                inclusion_probability=0.5,
                plan=1,
                stratum=0,
                window=window,
            )
            for n, (text, output) in enumerate(answers)
        ]
        with self.engine.begin() as connection:
            labelling.add_samples(connection, samples, self.now)
        self.answer_all()

    def answer_all(self) -> None:
        while self.label.once(self.now).labelled:
            pass

    def watch(self) -> Taught:
        with self.engine.begin() as connection:
            return watch(
                connection,
                judged_until=START + 600.0 * self.windows,
                contract=self.contract,
                settings=self.settings,
                now=self.now,
            )

    def check(self, truth: Callable[[str], str], share: float = 1.0, window: str = "") -> int:
        """Let people answer what waits for them, or a part of it."""
        rng = random.Random(1)
        with self.engine.begin() as connection:
            waiting = gold.waiting(connection, drawn_after=0.0, limit=100_000)
            answered = [
                one for one in waiting if rng.random() < share and window in one.draw.ticket_id
            ]
            for one in answered:
                self._write(connection, one.draw.ticket_id, truth(one.text))
        return len(answered)

    def volunteer(self, ticket_id: str, output: str) -> None:
        with self.engine.begin() as connection:
            self._write(connection, ticket_id, output)

    def _write(self, connection: sa.Connection, ticket_id: str, output: str) -> None:
        said = Gold(ticket_id=ticket_id, at=self.now, output=output, accepted=False, by="anna")
        connection.execute(
            insert(connection, tables.gold).values(
                ticket_id=ticket_id, at=said.at, body=msgspec.json.encode(said)
            )
        )

    @property
    def standing(self) -> TeacherStanding:
        with self.engine.begin() as connection:
            found = teachers.standing(connection)
        assert found is not None
        return found

    @property
    def generation(self) -> str:
        with self.engine.begin() as connection:
            return teacher_generation(connection)

    def rows(self, table: sa.Table) -> list[sa.Row]:
        with self.engine.begin() as connection:
            return list(connection.execute(sa.select(table)))


@pytest.fixture
def house(url: str) -> Iterable[Callable[..., House]]:
    houses: list[House] = []

    def build(provider: Provider, **settings: object) -> House:
        houses.append(House(url, provider, **settings))
        return houses[-1]

    yield build
    for one in houses:
        one.label.close()
        one.engine.dispose()


def texts(count: int, start: int = 0) -> list[str]:
    return [f"ticket number {n}" for n in range(start, start + count)]


def number(text: str) -> int:
    return int(text.rsplit(" ", maxsplit=1)[1])


def truth(text: str) -> str:
    return "abc"[number(text) % 3]


def wrong_in(share: float) -> Callable[[str], str]:
    """A teacher that is wrong in one ticket of so many."""
    every = round(1 / share)
    return lambda text: "z" if number(text) % every == 0 else truth(text)


# --- gold ------------------------------------------------------------------------------------


def test_people_are_asked_about_a_share_of_agreements_and_twice_that_of_the_rest(
    house: Callable[..., House],
) -> None:
    shop = house(Provider(truth), gold=GoldSettings(rate=0.1))
    shop.ask([(text, truth(text)) for text in texts(800)])
    shop.ask([(text, "other") for text in texts(800, 800)])
    shop.watch()
    drawn = shop.rows(tables.gold_draw)
    agreed = [row for row in drawn if row.disagreement == 0]
    assert 50 <= len(agreed) <= 110
    assert 115 <= len(drawn) - len(agreed) <= 205
    assert {row.gold_probability for row in agreed} == {0.1}


def test_a_second_look_draws_nothing_twice(house: Callable[..., House]) -> None:
    shop = house(Provider(truth), gold=GoldSettings(rate=0.3))
    shop.ask([(text, truth(text)) for text in texts(200)])
    shop.watch()
    before = (shop.rows(tables.gold_draw), shop.rows(tables.agreement))
    shop.watch()
    assert (shop.rows(tables.gold_draw), shop.rows(tables.agreement)) == before


def test_a_teacher_is_verified_by_enough_answers_of_people(house: Callable[..., House]) -> None:
    shop = house(Provider(wrong_in(0.04)), gold=EVERYBODY)
    shop.ask([(text, truth(text)) for text in texts(90)])
    shop.watch()
    shop.check(truth)
    shop.watch()
    assert shop.standing.state == "not enough gold"
    assert not shop.standing.verified
    shop.ask([(text, truth(text)) for text in texts(110, 90)])
    shop.watch()
    shop.check(truth)
    shop.watch()
    standing = shop.standing
    assert standing.verified, standing.reason
    assert standing.error is not None
    assert standing.error.estimate == pytest.approx(0.04)
    assert standing.error.lower < 0.04 < standing.error.upper
    assert (standing.drawn, standing.answered, standing.volunteered) == (200, 200, 0)


def test_a_teacher_beyond_its_tolerance_pages_once_and_stays_out(
    house: Callable[..., House],
) -> None:
    shop = house(Provider(wrong_in(0.25)), gold=EVERYBODY)
    signals = []
    for part in range(4):
        shop.ask([(text, truth(text)) for text in texts(100, 100 * part)])
        shop.watch()
        shop.check(truth)
        signals += shop.watch().signals
    pages = [one for one in signals if one.severity == "page"]
    assert [(one.metric, one.model) for one in pages] == [("teacher_error", shop.generation)]
    assert "teacher" in pages[0].sentence
    assert shop.standing.state == "out"
    assert "25.0 %" in shop.standing.reason


def test_a_contract_without_a_teacher_tolerance_verifies_nobody(
    house: Callable[..., House],
) -> None:
    shop = house(Provider(truth), gold=EVERYBODY)
    shop.contract = QualityContract(tolerance=0.1)
    shop.ask([(text, truth(text)) for text in texts(200)])
    shop.watch()
    shop.check(truth)
    assert shop.watch().signals == ()
    assert shop.standing.state == "no tolerance"
    assert "no teacher_tolerance" in shop.standing.reason
    shop.contract = QualityContract(tolerance=0.1, teacher_tolerance=0.05)
    shop.watch()
    assert shop.standing.verified, "the same answers count under a contract that came later"


def test_a_stricter_contract_weighs_the_old_answers_anew(house: Callable[..., House]) -> None:
    shop = house(Provider(wrong_in(0.1)), gold=EVERYBODY)
    shop.contract = QualityContract(tolerance=0.1, teacher_tolerance=0.2)
    shop.ask([(text, truth(text)) for text in texts(1000)])
    shop.watch()
    shop.check(truth)
    shop.watch()
    assert shop.standing.verified
    shop.contract = QualityContract(tolerance=0.1, teacher_tolerance=0.02)
    (page,) = shop.watch().signals
    assert page.severity == "page"
    assert shop.standing.state == "out"


def test_answers_still_count_when_nobody_is_drawn_any_more(house: Callable[..., House]) -> None:
    shop = house(Provider(truth), gold=EVERYBODY)
    shop.ask([(text, truth(text)) for text in texts(120)])
    shop.watch()
    shop.check(truth)
    shop.settings = msgspec.structs.replace(shop.settings, gold=GoldSettings(rate=0.0))
    shop.ask([(text, truth(text)) for text in texts(50, 120)])
    shop.watch()
    assert (shop.standing.drawn, shop.standing.answered) == (120, 120)
    assert shop.standing.verified


def test_what_people_say_unasked_is_counted_apart(house: Callable[..., House]) -> None:
    shop = house(Provider(truth), gold=GoldSettings(rate=0.2))
    shop.ask([(text, truth(text)) for text in texts(600)])
    shop.watch()
    drawn = {row.ticket_id for row in shop.rows(tables.gold_draw)}
    others = [f"m1-1-{n}" for n in range(600) if f"m1-1-{n}" not in drawn]
    for ticket_id in others[:50]:
        shop.volunteer(ticket_id, "the teacher is wrong, they say")
    shop.check(truth)
    shop.ask([("ticket number 1", "b")])
    shop.watch()
    assert shop.standing.volunteered == 50
    assert shop.standing.answered == len(drawn)
    assert shop.standing.error is not None
    assert shop.standing.error.estimate == 0.0


def test_a_person_who_says_production_was_right_says_so_of_the_teacher_too(
    house: Callable[..., House],
) -> None:
    shop = house(Provider(truth), gold=EVERYBODY)
    shop.ask([("ticket number 0", "a"), ("ticket number 1", "z")])
    shop.watch()
    with shop.engine.begin() as connection:
        for n in (0, 1):
            yes = Gold(ticket_id=f"m1-1-{n}", at=shop.now, output=None, accepted=True, by="anna")
            connection.execute(
                insert(connection, tables.gold).values(
                    ticket_id=yes.ticket_id, at=yes.at, body=msgspec.json.encode(yes)
                )
            )
    taught = shop.watch()
    assert taught.correct == {"m1": [1.0, 1.0]}
    losses = {
        row.ticket_id: (row.student_loss, row.teacher_loss) for row in shop.rows(tables.gold_draw)
    }
    assert losses == {"m1-1-0": (0.0, 0.0), "m1-1-1": (0.0, 1.0)}


def test_the_newest_word_of_a_person_holds(house: Callable[..., House]) -> None:
    shop = house(Provider(truth), gold=EVERYBODY)
    shop.ask([("ticket number 0", "a")])
    shop.watch()
    shop.check(lambda _: "z")
    assert shop.watch().correct == {"m1": [0.0]}
    later = Gold(ticket_id="m1-1-0", at=shop.now + 60, output="a", accepted=False, by="bo")
    with shop.engine.begin() as connection:
        connection.execute(
            sa.update(tables.gold).values(at=later.at, body=msgspec.json.encode(later))
        )
    assert shop.watch().correct == {"m1": [1.0]}
    assert shop.watch().correct == {}
    (row,) = shop.rows(tables.gold_draw)
    assert (row.student_loss, row.teacher_loss) == (0.0, 0.0)


def test_tickets_that_nobody_answered_in_time_are_shown_and_cost_the_verification(
    house: Callable[..., House],
) -> None:
    shop = house(Provider(truth), gold=GoldSettings(rate=1.0, patience_days=7.0))
    shop.ask([(text, truth(text)) for text in texts(500)])
    shop.watch()
    shop.check(truth, share=0.3)
    shop.watch()
    shop.now += 8 * 86400.0
    shop.ask([("ticket number 1", "b")])
    shop.watch()
    standing = shop.standing
    assert standing.unanswered > 300
    assert standing.state == "unsure"
    assert "stayed unanswered" in standing.reason


# --- generations -------------------------------------------------------------------------------


def test_another_prompt_is_another_teacher(house: Callable[..., House]) -> None:
    shop = house(Provider(truth), gold=EVERYBODY, canaries=CanarySettings(count=20))
    shop.ask([(text, truth(text)) for text in texts(120)])
    shop.watch()
    shop.check(truth)
    shop.watch()
    first = shop.generation
    assert shop.standing.verified
    shop.provider.prompt_hash = "p2"
    shop.provider.answer = lambda text: truth(text) if number(text) % 2 else "z"
    shop.ask([(text, truth(text)) for text in texts(10, 120)])
    shop.watch()
    assert shop.generation != first
    assert (shop.standing.change, shop.standing.follows) == ("named", first)
    assert not shop.standing.verified
    shop.answer_all()
    assert shop.watch().signals == (), "who changed the prompt knows that answers change"
    with shop.engine.begin() as connection:
        newest = teachers.rounds(connection, first, 1)[0]
    assert (newest.answers, newest.changed) == (20, 10)


def test_a_teacher_that_comes_back_keeps_what_people_said_of_it(
    house: Callable[..., House],
) -> None:
    shop = house(Provider(truth), gold=EVERYBODY, canaries=CanarySettings(count=0))
    shop.ask([(text, truth(text)) for text in texts(120)])
    shop.watch()
    shop.check(truth)
    shop.watch()
    first = shop.generation
    shop.provider.name = "other"
    shop.ask([(text, truth(text)) for text in texts(10, 120)])
    shop.watch()
    assert not shop.standing.verified
    shop.provider.name = "big"
    shop.ask([(text, truth(text)) for text in texts(10, 130)])
    shop.watch()
    assert shop.generation == first
    assert shop.standing.verified


def test_answers_about_the_teacher_before_are_no_evidence_against_this_one(
    house: Callable[..., House],
) -> None:
    shop = house(Provider(lambda _: "z"), gold=EVERYBODY, canaries=CanarySettings(count=0))
    shop.ask([(text, truth(text)) for text in texts(300)])
    shop.watch()
    shop.provider.name, shop.provider.answer = "better", truth
    shop.ask([(text, truth(text)) for text in texts(150, 300)])
    shop.watch()
    assert shop.check(truth, window="m1-2-") == 150
    shop.watch()
    assert shop.check(truth) == 300
    assert shop.watch().signals == (), "every answer of the last one was wrong"
    assert (shop.standing.drawn, shop.standing.answered) == (150, 150)
    assert shop.standing.verified


def test_labels_of_before_its_time_are_not_drawn(house: Callable[..., House]) -> None:
    shop = house(Provider(truth), gold=EVERYBODY, canaries=CanarySettings(count=0))
    shop.ask([(text, truth(text)) for text in texts(20)])
    shop.watch()
    later = msgspec.structs.replace(shop.standing, generation="later", since=shop.now + 3600)
    with shop.engine.begin() as connection:
        teachers.save(connection, later)
    shop.ask([(text, truth(text)) for text in texts(20, 20)])
    shop.watch()
    assert shop.generation == "later"
    assert len(shop.rows(tables.gold_draw)) == 20, "the first 20, drawn before"


# --- canaries ----------------------------------------------------------------------------------


def with_canaries(house: Callable[..., House], **settings: object) -> House:
    shop = house(Provider(truth), canaries=CanarySettings(count=200, **settings))
    shop.ask([(text, truth(text)) for text in texts(200)])
    shop.watch()
    assert len(shop.rows(tables.canary)) == 200
    return shop


def next_week(shop: House) -> Taught:
    """Let a week pass: the canaries are asked, answered and judged."""
    shop.now += WEEK
    shop.watch()
    shop.answer_all()
    return shop.watch()


def test_canaries_are_asked_weekly_under_names_of_their_own(house: Callable[..., House]) -> None:
    shop = with_canaries(house)
    shop.provider.asked.clear()
    shop.now += WEEK / 2
    shop.watch()
    shop.answer_all()
    assert shop.provider.asked == []
    shop.now += WEEK / 2
    shop.watch()
    shop.watch()
    shop.answer_all()
    assert len(shop.provider.asked) == 200
    assert all(asked.startswith("canary-") for asked in shop.provider.asked)
    asked = [row for row in shop.rows(tables.sample) if row.reason == "sentinel"]
    assert {(row.model, row.state) for row in asked} == {("canary", "labelled")}
    assert shop.watch().signals == ()


def test_canaries_are_asked_at_once_when_the_student_is_found_out_of_bounds(
    house: Callable[..., House],
) -> None:
    shop = with_canaries(house)
    shop.provider.asked.clear()
    with shop.engine.begin() as connection:
        for _ in range(3):
            doubt(connection, shop.now)
    assert not shop.watch().canaries_answered
    shop.answer_all()
    assert len(shop.provider.asked) == 200, "a round under way is enough"
    assert shop.watch().canaries_answered
    assert not shop.watch().canaries_answered
    with shop.engine.begin() as connection:
        doubt(connection, shop.now + 3600.0)
    shop.answer_all()
    assert len(shop.provider.asked) == 200, "an hour later they would say the same"


def test_a_teacher_that_changed_without_saying_so_is_found_out(
    house: Callable[..., House],
) -> None:
    shop = with_canaries(house)
    for _ in range(3):
        assert next_week(shop).signals == ()
    first = shop.generation
    shop.provider.answer = lambda text: truth(text) if number(text) % 5 else "z"
    (signal,) = next_week(shop).signals
    assert (signal.metric, signal.severity, signal.model) == ("canary", "page", first)
    assert shop.generation != first
    assert (shop.standing.change, shop.standing.follows) == ("silent", first)
    with shop.engine.begin() as connection:
        newest = teachers.rounds(connection, first, 1)[0]
    assert (newest.answers, newest.changed) == (200, 40)


def test_canaries_that_another_prompt_answered_say_nothing_of_the_silent_kind(
    house: Callable[..., House],
) -> None:
    shop = with_canaries(house)
    first = shop.generation
    shop.provider.prompt_hash = "p2"
    shop.provider.answer = lambda text: truth(text) if number(text) % 5 else "z"
    assert next_week(shop).signals == ()
    assert shop.generation == first, "no window with its labels was judged yet"
    with shop.engine.begin() as connection:
        newest = teachers.rounds(connection, first, 1)[0]
    assert (newest.answers, newest.changed) == (200, 40)


def test_chance_changes_of_answers_are_no_change_of_teacher(house: Callable[..., House]) -> None:
    shop = with_canaries(house)
    rng = random.Random(5)
    shop.provider.answer = lambda text: "z" if rng.random() < 0.04 else truth(text)
    for _ in range(12):
        assert next_week(shop).signals == ()


def test_an_abstention_where_there_was_an_answer_is_a_change(house: Callable[..., House]) -> None:
    shop = with_canaries(house)
    shop.provider.answer = lambda text: truth(text) if number(text) % 5 else None
    (signal,) = next_week(shop).signals
    assert signal.severity == "page"


def test_canaries_wait_for_money_and_their_round_with_them(house: Callable[..., House]) -> None:
    shop = with_canaries(house)
    shop.now += WEEK
    shop.watch()
    for _ in range(3):
        shop.now += WEEK
        assert shop.watch().signals == ()
    asked = [row for row in shop.rows(tables.sample) if row.reason == "sentinel"]
    assert len(asked) == 200, "a round is not asked again while it waits"


def test_fewer_canaries_are_kept_where_money_is_short(house: Callable[..., House]) -> None:
    shop = house(Provider(truth), canaries=CanarySettings(count=200))
    shop.contract = QualityContract(tolerance=0.1, daily_teacher_usd=0.1)
    shop.ask([(text, truth(text)) for text in texts(200)])
    shop.watch()
    assert len(shop.rows(tables.canary)) == 35


# --- real tickets ------------------------------------------------------------------------------


class Recorded(NamedTuple):
    """A real ticket, with what a real teacher said of it and what is right."""

    text: str
    teacher: str
    gold: str


def banking77() -> list[Recorded]:
    folder = os.environ.get("PROCTORD_DATA")
    if folder is None:
        pytest.skip("PROCTORD_DATA names no folder with banking77_teacher.jsonl.gz")
    rows = read_recorded(Path(folder) / "banking77_teacher.jsonl.gz")
    found = [Recorded(r.text, r.teacher.label, r.gold) for r in rows if r.teacher.label and r.gold]
    random.Random(4).shuffle(found)
    return found


def a_student_of(ticket: Recorded, rng: random.Random) -> str:
    """Agrees with its teacher on nine tickets of ten, right or wrong: it learned from it."""
    if ticket.teacher != ticket.gold:
        return ticket.gold if rng.random() < 0.25 else ticket.teacher
    return ticket.teacher if rng.random() < 0.94 else "something else"


@pytest.mark.parametrize("rate", [0.25, 1.0])
def test_a_real_teacher_is_measured_and_agreement_with_it_found_to_overstate(
    house: Callable[..., House], rate: float
) -> None:
    tickets = banking77()
    right = {ticket.text: ticket.gold for ticket in tickets}
    says = {ticket.text: ticket.teacher for ticket in tickets}
    shop = house(Provider(lambda text: says[text]), gold=GoldSettings(rate=rate))
    rng = random.Random(1)
    asked = [(ticket, a_student_of(ticket, rng)) for ticket in tickets if rng.random() < 0.25]
    pages = []
    for start in range(0, len(asked), 300):
        shop.ask([(ticket.text, output) for ticket, output in asked[start : start + 300]])
        shop.watch()
        shop.check(lambda text: right[text])
        pages += [one for one in shop.watch().signals if one.severity == "page"]
    standing = shop.standing
    wrong = sum(ticket.teacher != ticket.gold for ticket in tickets) / len(tickets)
    assert standing.error is not None
    assert standing.error.lower < wrong < standing.error.upper
    assert standing.error.estimate == pytest.approx(0.257, abs=0.03)
    assert len(pages) == 1
    assert standing.state == "out", "10 % was accepted"
    with shop.engine.begin() as connection:
        checked = gold.checked(connection, standing.generation, "m1")
        labels = gold.agreement(connection, standing.generation, "m1")
    student = student_gold("m1", checked, labels)
    assert student.error is not None
    assert student.error.lower < 0.24 < student.error.upper
    assert student.disagreement is not None
    assert student.disagreement.estimate == pytest.approx(0.11, abs=0.02)
    assert "agreement overstates correctness by 1" in student.sentence
    print(f"\n{standing.reason}\n{student.sentence}")
