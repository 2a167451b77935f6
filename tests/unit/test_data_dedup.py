"""Near-duplicates end in one cluster, and only they do."""

from __future__ import annotations

import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from retrain.data.dedup import THRESHOLD, canonical, cluster, jaccard, shingles

WORDS = [
    "where",
    "is",
    "my",
    "order",
    "the",
    "shoes",
    "are",
    "late",
    "and",
    "too",
    "small",
    "please",
    "help",
]


def made_texts(seed: int, count: int) -> list[str]:
    """Texts of few words, some of them an earlier one and a word.

    Made from a seed: hypothesis drawing each word takes ten times as long.
    """
    draw = random.Random(seed)
    texts = [" ".join(draw.choices(WORDS, k=draw.randint(1, 12)))]
    for _ in range(count - 1):
        begin = draw.choice(texts) + " " if draw.random() < 0.4 else ""
        texts.append(begin + " ".join(draw.choices(WORDS, k=1 if begin else draw.randint(1, 12))))
    return texts


TEXTS = st.builds(made_texts, st.integers(0, 2**32), st.integers(1, 20))


@given(TEXTS)
def test_each_pair_above_the_threshold_shares_a_cluster(texts: list[str]) -> None:
    names = cluster(texts)
    grams = [shingles(canonical(text)) for text in texts]
    for one, other in itertools.combinations(range(len(texts)), 2):
        if jaccard(grams[one], grams[other]) >= THRESHOLD:
            assert names[one] == names[other], (texts[one], texts[other])


@given(TEXTS)
def test_the_name_of_a_cluster_does_not_depend_on_the_order_of_the_rows(
    texts: list[str],
) -> None:
    turned = texts[::-1]
    assert dict(zip(texts, cluster(texts), strict=True)) == dict(
        zip(turned, cluster(turned), strict=True)
    )


def test_a_chain_of_near_duplicates_is_one_cluster_although_its_ends_differ() -> None:
    start = "i would like to know when my parcel with the brown boots will be delivered to me"
    steps = [
        start,
        start + " at home",
        start + " at home, thanks",
        start + " at home, thanks a lot",
    ]
    assert jaccard(shingles(steps[0]), shingles(steps[-1])) < THRESHOLD
    assert len(set(cluster(steps))) == 1


def test_different_questions_stay_apart() -> None:
    texts = ["where is my refund", "where is my parcel", "cancel my order", "change my address"]
    assert len(set(cluster(texts))) == len(texts)


def test_an_empty_text_has_a_cluster_of_its_own() -> None:
    one, two = cluster(["", "hello there"])
    assert one != two


def test_no_text_makes_no_cluster() -> None:
    assert cluster([]) == []
