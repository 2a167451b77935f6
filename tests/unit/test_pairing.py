from array import array
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.pairing import Pairing, Waiting, WaitingAnswer, WaitingTicket, join
from monitor.seen import Seen, identity


def ticket(ticket_id: str = "t", at: float = 0.0, text: str = "hello") -> WaitingTicket:
    return WaitingTicket(
        ticket_id=ticket_id, at=at, text=text, text_length=len(text), segments=("*",)
    )


def answer(ticket_id: str = "t", at: float = 0.0, output: str = "refund") -> WaitingAnswer:
    return WaitingAnswer(
        ticket_id=ticket_id,
        at=at,
        output=output,
        model="m1",
        served_by="student",
        confidence=0.9,
        latency_ms=None,
        cost_usd=None,
        counted_as=output,
    )


def ids(halves: list[Waiting]) -> list[str]:
    return sorted(half.ticket_id for half in halves)


# --- halves that wait ----------------------------------------------------------------------


def test_the_pair_of_two_halves_has_the_times_of_both() -> None:
    pair = join(ticket(at=10.0), answer(at=12.5))
    assert (pair.asked_at, pair.answered_at, pair.text, pair.output) == (
        10.0,
        12.5,
        "hello",
        "refund",
    )


def test_what_met_its_half_before_the_checkpoint_is_never_written() -> None:
    pairing = Pairing(10)
    pairing.put(ticket())
    pairing.remove("t")
    assert pairing.take() == ((), ())


def test_what_is_written_is_redacted_and_removed_when_it_is_finished() -> None:
    pairing = Pairing(10)
    pairing.put(ticket("a", text="I am jo@example.org"))
    pairing.put(answer("b", output="write to al@example.org"))
    added, removed = pairing.take()
    assert ([getattr(half, "text", None) for half in added], removed) == (
        ["I am <EMAIL_1>", None],
        (),
    )
    assert [half.output for half in added if isinstance(half, WaitingAnswer)] == [
        "write to <EMAIL_1>"
    ]
    pairing.remove("a")
    assert pairing.take() == ((), ("a",))


def test_an_id_that_waits_again_is_removed_and_added() -> None:
    pairing = Pairing(10, [ticket("a", at=1.0)])
    pairing.remove("a")
    pairing.put(ticket("a", at=2.0))
    added, removed = pairing.take()
    assert ([half.at for half in added], removed) == ([2.0], ("a",))


def test_halves_expire_by_event_time_and_not_at_the_very_moment() -> None:
    pairing = Pairing(10, [ticket("old", 1.0)])
    pairing.put(answer("fresh", 1.0))
    pairing.put(ticket("young", 2.0))
    assert ids(pairing.expire(2.0)) == ["fresh", "old"]
    assert (len(pairing), pairing.take().removed) == (1, ("old",))


@pytest.mark.parametrize(
    ("cap", "arrivals", "evicted"),
    [
        # one goes for each that comes: the oldest of those that wait, not the first that came
        (4, [3, 0, 2, 1, 5, 4], {0, 1}),
        # one that is older than all who wait is let in: it may meet its half at once
        (4, [3, 4, 2, 1, 0], {1}),
        # a sixteenth of the cap goes at once
        (32, range(33), {0, 1}),
    ],
)
def test_the_oldest_go_when_too_many_wait(
    cap: int, arrivals: Sequence[int], evicted: set[int]
) -> None:
    pairing = Pairing(cap)
    gone = sum(pairing.put(ticket(str(number), float(number))) for number in arrivals)
    assert {number for number in arrivals if not pairing.get(str(number))} == evicted
    assert gone == len(evicted)


def test_which_are_the_oldest_does_not_depend_on_a_restart() -> None:
    tickets = [ticket(str(n), float(-n % 5)) for n in range(8)]
    through, restarted = Pairing(8), Pairing(8, reversed(tickets))
    for half in tickets:
        through.put(half)
    through.put(ticket("new"))
    restarted.put(ticket("new"))
    everyone = [str(n) for n in range(8)]
    assert [bool(through.get(n)) for n in everyone] == [bool(restarted.get(n)) for n in everyone]


# --- tickets that are finished ---------------------------------------------------------------


def test_identities_are_spread_and_stable() -> None:
    assert len({identity(f"t-{n}") for n in range(5000)}) == 5000
    assert identity("t-1") == identity("t-1") != 0


@given(st.lists(st.integers(1, 40), unique=True, max_size=40), st.integers(1, 20), st.data())
def test_the_table_holds_what_a_list_of_the_newest_holds(
    values: list[int], cap: int, data: st.DataObject
) -> None:
    # small integers share their first slots: probes run long, and over the end of the table
    seen, journal = Seen(cap), dict[int, bytes]()
    for value in values:
        seen.add(value)
        if data.draw(st.booleans()):
            changed, dropped = seen.take()
            for sequence in dropped:
                del journal[sequence]
            journal.update(changed)
            seen = Seen(cap, journal.items())
        newest = values[: values.index(value) + 1][-len(seen) :]
        assert [v for v in range(1, 41) if v in seen] == sorted(newest)
        assert min(cap, len(newest)) - max(1, cap // 8) < len(seen) <= cap


def test_a_full_block_is_written_once() -> None:
    seen = Seen(80)  # blocks of 10
    for value in range(1, 15):
        seen.add(value)
    assert [(number, len(body) // 8) for number, body in seen.take()[0]] == [(0, 10), (1, 4)]
    seen.add(15)
    assert [(number, len(body) // 8) for number, body in seen.take()[0]] == [(1, 5)]
    assert seen.take() == ((), ())


def test_a_lower_cap_drops_the_oldest_blocks() -> None:
    blocks = [(number, array("Q", [number + 1]).tobytes()) for number in range(5)]
    seen = Seen(2, blocks)
    assert [value in seen for value in range(1, 6)] == [False, False, False, True, True]
    assert seen.take() == ((), (0, 1, 2))
