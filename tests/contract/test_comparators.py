"""What every comparator promises, and what each one means by equal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.comparators import COMPARATORS, Comparator
from monitor.comparators.label import canonical_label

#: Texts that break careless code: lone surrogates, NUL, tags, right-to-left, combining marks,
#: characters that grow when folded, one long line.
NASTY = (
    "",
    " \t\n",
    "\x00",
    "\ud800",
    "a\udfffb",
    "\U000e0041\U000e0042",
    "\u202eevil",
    "e\u0301",
    "\u0345",
    "\ufb03\u0149\u1e9e",
    "\ufdfa" * 50,
    "👩‍👩‍👧‍👦",
    "()[]{}|\\^$.*+?",
    "word " * 20_000,
    "_-" * 50_000,
)

every_comparator = pytest.mark.parametrize(
    "comparator", COMPARATORS.values(), ids=COMPARATORS.keys()
)
#: any code points, surrogates included
texts = st.text(st.characters(codec=None, exclude_categories=()), max_size=40)


@every_comparator
@given(text=texts)
def test_a_text_agrees_with_itself(comparator: Comparator, text: str) -> None:
    assert comparator(text, text) == 0.0


@every_comparator
@given(answer=texts, label=texts)
def test_a_loss_lies_between_0_and_1_and_is_the_same_in_either_order(
    comparator: Comparator, answer: str, label: str
) -> None:
    loss = comparator(answer, label)
    assert 0.0 <= loss <= 1.0
    assert loss == comparator(label, answer)


@every_comparator
def test_no_text_is_too_nasty(comparator: Comparator) -> None:
    for answer in NASTY:
        assert comparator(answer, answer) == 0.0
        for label in NASTY:
            assert 0.0 <= comparator(answer, label) <= 1.0


@every_comparator
def test_different_words_are_a_loss_of_1(comparator: Comparator) -> None:
    assert comparator("refund please", "shoe too small") == 1.0


@pytest.mark.parametrize(
    ("name", "answer", "label", "loss", "why"),
    [
        ("label", "Lost_Card", "lost card", 0, "case and separators are spelling"),
        ("label", "lost\u2011card", "lost-card", 0, "a non-breaking hyphen is a hyphen"),
        ("label", "\uff2c\uff2f\uff33\uff34 card", "lost card", 0, "full-width is spelling"),
        ("label", "STRASSE", "straße", 0, "caseless, not lower case"),
        ("label", "-lost__card ", "lost card", 0, "separators at the ends are nothing"),
        ("label", "lostcard", "lost card", 1, "a missing separator is another label"),
        ("label", "", "lost card", 1, "no answer is wrong"),
        ("exact", "caf\u00e9", "cafe\u0301", 0, "one accent, two encodings"),
        ("exact", "a  b\n", "a b", 0, "white space is layout"),
        ("exact", "a b", "a, b", 1, "punctuation counts"),
        ("exact", "\u2460", "1", 1, "compatibility forms are other characters"),
        ("token_f1", "a b c d", "a b", 1 / 3, "recall 1, precision 1/2"),
        ("token_f1", "a a a a", "a", 3 / 5, "repeating a word does not help"),
        ("token_f1", "b a", "a b", 0, "order is not seen"),
        ("token_f1", "Refund!", "refund", 0, "punctuation and case are not words"),
        (
            "token_f1",
            "返金してください",
            "返金をお願い",
            1 - 6 / 14,
            "unspaced scripts by character",
        ),
        ("token_f1", "👍", "👎", 1, "texts without words are compared whole"),
        ("token_f1", "👍", "👍", 0, "and can be equal"),
        ("token_f1", "", "?", 1, "nothing is not a question mark"),
    ],
)
def test_what_counts_as_equal(name: str, answer: str, label: str, loss: float, why: str) -> None:
    assert COMPARATORS[name](answer, label) == pytest.approx(loss), why


@given(text=texts)
def test_the_canonical_spelling_of_a_label_is_its_own(text: str) -> None:
    assert canonical_label(canonical_label(text)) == canonical_label(text)
