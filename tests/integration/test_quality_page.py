"""What `proctord quality` says of students and segments."""

from __future__ import annotations

from monitor.estimation.quality import QualityEstimate
from monitor.quality_page import StudentQuality, lines
from schemas.signals import Interval


def estimate(segment: str, n: int = 800) -> QualityEstimate:
    return QualityEstimate(
        segment=segment,
        model="0123456789abcdef",
        at=1780387200.0,
        n=n,
        lifetime=Interval(0.08, 0.06, 0.11) if n else None,
        recent_n=min(n, 500),
        recent=Interval(0.09, 0.07, 0.12) if n else None,
        tolerance=0.1,
        log_e=0.0,
        state="unsure" if n else "not enough labels",
    )


def student(*segments: QualityEstimate, **more: object) -> StudentQuality:
    fields = {
        "model": "0123456789abcdef",
        "serves": True,
        "segments": segments,
        "standing": {},
        "together": 1.25,
    }
    return StudentQuality(**fields | more)  # type: ignore[arg-type]


def test_a_student_is_named_with_each_segment_its_intervals_and_limit() -> None:
    page = lines([student(estimate("*"), estimate("channel=mail"))])
    assert page[0] == (
        "student 0123456789ab, serves; judged up to 2026-06-02 08:00:00 UTC; "
        "nothing speaks against it in all segments together"
    )
    assert page[1] == (
        "  all traffic              last 500 labels 9.0 % (95 % interval 7.0 to 12.0 %, one look); "
        "all 800 8.0 % (95 % interval 6.0 to 11.0 %, any number of looks); limit 10.0 %; unsure"
    )
    assert page[2].startswith("  channel=mail ")


def test_a_name_from_outside_reaches_no_terminal_raw() -> None:
    evil = "channel=\x1b[2J\x07mail\nstudent forged, serves"
    page = lines([student(estimate(evil), model="m\x1b[1m1")])
    assert len(page) == 3
    assert not any(set(line) & set("\x1b\x07\n") for line in page)
    assert page[1].startswith("  channel=[2Jmail student forged, serves last 500")


def test_what_stands_out_among_segments_is_said_once() -> None:
    standing = {"channel=mail": "stands out", "channel=chat": "not enough labels"}
    page = lines(
        [student(estimate("channel=mail"), estimate("channel=chat", 0), standing=standing)]
    )
    assert page[1].endswith("unsure, stands out")
    assert page[2] == "  channel=chat             no labels yet"


def test_an_empty_journal_says_so() -> None:
    assert lines([]) == ["no window was judged yet"]
