"""The replays that sums under encryption are compared with: the shapes, the arithmetic, and how lines are told."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import he_usual
from benchmarks.he import CLIP, SITES, Ours, in_turns, noised_size
from benchmarks.he_lines import BEGIN, END, Figure, merged, page_with
from benchmarks.he_plot import picture

FIGURE = Figure(quantity="upload_x_float32", profile="some", value=2.0, baseline=90.0, told="how")
ALONE = Figure(quantity="upload_x_float32", profile="other", value=1.5, baseline=None, told="how")


def test_the_update_is_that_of_a_resnet_20() -> None:
    """97 tensors and 271,098 numbers, running statistics included."""
    shapes = he_usual.resnet20_shapes()
    assert len(shapes) == 97
    assert sum(int(np.prod(shape)) for shape in shapes) == 271_098


def test_the_usual_way_adds_right_and_ships_a_context_with_every_vector() -> None:
    """The replay is a working one: what it is compared with is its cost, not a straw man's."""
    context = he_usual.sum_context()
    layers = [np.linspace(-1, 1, 7), np.ones((2, 3))]
    vectors = he_usual.encrypted_layers(context, layers)
    pairs = he_usual.shipped(vectors)
    assert all(len(context_bytes) > len(vector) for vector, context_bytes in pairs)
    total = he_usual.added(vectors, vectors)
    assert np.array(total[0].decrypt()) == pytest.approx(2 * layers[0], abs=1e-6)
    loaded = he_usual.added(vectors, he_usual.received(pairs))
    assert len(loaded) == 2


def test_ours_adds_the_same_update_right() -> None:
    """Within half a step of 16 bits, clipped values aside."""
    layers = [np.random.default_rng(0).normal(0, 0.05, 500)]
    ours = Ours("bfv-2048-seeded", layers)
    assert ours.error() <= CLIP / 32767
    for _ in range(SITES + 1):
        ours.serve()
    assert noised_size("bfv-2048-seeded", 500, 2000).baseline is None


def test_the_tutorials_step_in_the_clear_is_its_own_formula() -> None:
    """From zero weights a chance is one half, whatever the polynomial."""
    rows, labels = np.array([[1.0, 2.0], [3.0, -1.0]]), np.array([1.0, 0.0])
    assert he_usual.tutorial_step_in_the_clear(rows, labels) == pytest.approx([-0.5, 0.75, 0.0])


def test_lines_say_how_many_times_less() -> None:
    """In the table and in the picture; what stands alone has no ratio and no bar."""
    assert FIGURE.times == 45
    assert ALONE.times is None
    page = page_with(f"before\n{BEGIN}old\n{END}after\n", [FIGURE, ALONE])
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert "| 2 | 90 | 45 |" in page
    assert picture([FIGURE, ALONE]).count("<rect") == 2
    assert len(in_turns(1, lambda: None, lambda: None)) == 2


def test_a_part_that_is_measured_again_leaves_the_other_lines_alone() -> None:
    """In their places; what was not there comes last, and what stands beside itself has no ratio."""
    again = Figure(quantity="upload_x_float32", profile="some", value=1.0, baseline=90.0, told="anew")
    health = Figure(quantity="healthz_p99_ms", profile="some", value=20.0, baseline=5.0, told="how")
    assert merged([FIGURE, ALONE], [health, again]) == [again, ALONE, health]
    assert health.times is None
