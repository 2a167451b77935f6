from __future__ import annotations

import numpy as np
import pytest

from monitor.drift.topics import EDGES, MOST_CELLS, Vectors, fit_map

DIMENSIONS = 24


def about(rng: np.random.Generator, topic: int, n: int) -> Vectors:
    """Texts about one thing: unit vectors near an axis."""
    return unit(np.eye(DIMENSIONS)[topic] + 0.15 * rng.normal(size=(n, DIMENSIONS)))


def unit(vectors: np.ndarray) -> Vectors:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def mixed(rng: np.random.Generator, topics: range, n: int) -> tuple[Vectors, list[str]]:
    which = rng.integers(topics.start, topics.stop, size=n)
    vectors = unit(np.eye(DIMENSIONS)[which] + 0.15 * rng.normal(size=(n, DIMENSIONS)))
    return vectors, [f"about {topic}" for topic in which]


def test_each_topic_has_cells_of_its_own_that_are_named_by_one_of_its_texts() -> None:
    rng = np.random.default_rng(1)
    made = fit_map(*mixed(rng, range(6), 300), name="m")
    for topic in range(6):
        counts = made.read(about(rng, topic, 50))["topics"].counts
        named = {made.words()[cell] for cell in counts}
        assert named == {f"tickets like “about {topic}”"}


def test_the_same_texts_give_the_same_map() -> None:
    one, two = (fit_map(*mixed(np.random.default_rng(2), range(4), 300), name="m") for _ in "ab")
    assert one == two


@pytest.mark.parametrize(("texts", "cells"), [(10, 1), (100, 8), (500, MOST_CELLS)])
def test_few_texts_make_few_cells(texts: int, cells: int) -> None:
    rng = np.random.default_rng(3)
    made = fit_map(unit(rng.normal(size=(texts, DIMENSIONS))), ["x"] * texts, name="m")
    assert 0 < len(made.examples) <= cells
    assert len(made.examples) >= 0.8 * cells


def test_new_texts_of_the_old_kind_are_spread_over_the_bins_as_their_edges_say() -> None:
    # by the texts that made the cells themselves, many more would be far away
    rng = np.random.default_rng(4)
    noise = unit(rng.normal(size=(2000, DIMENSIONS)))
    reading = fit_map(noise[:1000], ["x"] * 1000, name="m").read(noise[1000:])["novelty"]
    shares = [reading.counts[str(i)] / reading.n for i in range(len(EDGES) + 1)]
    expected = np.diff([0.0, *EDGES, 1.0])
    # the edges rest on 200 texts: five standard errors of both
    assert np.abs(shares - expected).max() < 5 * np.sqrt(0.25 / 200 + 0.25 / 1000)


def test_texts_of_a_new_kind_are_unlike_any_before() -> None:
    rng = np.random.default_rng(5)
    made = fit_map(*mixed(rng, range(6), 300), name="m")
    reading = made.read(about(rng, 9, 40))["novelty"]
    assert reading.counts == {str(len(EDGES)): 40}


def test_one_text_again_and_again_is_one_cell() -> None:
    made = fit_map(np.repeat(unit(np.ones((1, 8))), 50, axis=0), ["hello"] * 50, name="m")
    assert made.examples == ("hello",)


def test_no_text_is_no_reading() -> None:
    made = fit_map(*mixed(np.random.default_rng(6), range(4), 100), name="m")
    empty = made.read(np.zeros((0, DIMENSIONS), dtype=np.float32))
    assert [reading.n for reading in empty.values()] == [0, 0]


def test_an_example_is_the_beginning_of_a_text_on_one_line() -> None:
    long = "my parcel\nnever came and " + "nobody answers " * 20
    made = fit_map(np.repeat(unit(np.ones((1, 8))), 50, axis=0), [long] * 50, name="m")
    assert made.examples == ("my parcel never came and nobody answers nobody …",)
