"""The harness of `make bench-dp`: medians and ratios as promised, and peers that train what they say."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import dp_timing
from benchmarks.dp_cases import CASES, LEARNING_RATE, LOGISTIC, MLP, Network, made_up
from benchmarks.dp_engines import BASELINE, ENGINES, takes_part
from benchmarks.dp_plot import picture
from benchmarks.dp_results import Figure, keep, page_with, read, table
from benchmarks.peers.fused import step_by_hand
from benchmarks.peers.networks import criterion_of, module_of, tensors_of


def _figure(case: str, engine: str, slowdown: float) -> Figure:
    return Figure(case=case, engine=engine, samples_per_s=1000 / slowdown, slowdown_vs_plain=slowdown, peak_rss_mb=300)


def _both(case: str) -> list[Figure]:
    return [_figure(case, "plain", 1), _figure(case, "ours", 1.25)]


def test_a_slowdown_is_the_median_of_ratios_within_a_round() -> None:
    """Not the ratio of medians: a machine that slows down for both in one round must not count."""
    rates = {"plain": [100.0, 10.0, 100.0, 90.0, 80.0], "ours": [50.0, 5.0, 20.0, 45.0, 10.0]}
    found = dp_timing.rated(rates, "plain")
    assert found["ours"].slowdown == 2.0
    assert found["ours"].samples_per_s == 20.0
    assert found["plain"].slowdown == 1.0


@pytest.mark.parametrize("names", ["ab", "abc", "abcdefg"])
def test_everybody_goes_first_and_last_equally_often(names: str) -> None:
    """An order that stays would favour a place."""
    orders = [dp_timing.turned(names, number) for number in range(2 * len(names))]
    for place in (0, -1):
        assert Counter(order[place] for order in orders) == dict.fromkeys(names, 2)
    assert all(sorted(order) == list(names) for order in orders)


def test_a_window_is_filled_and_rates_count_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock of our own: steps fill the window, rounds alternate, a rate is samples over processor time."""
    now = 0.0
    calls: list[str] = []

    def contestant(name: str, cost: float) -> dp_timing.Steps:
        def steps(count: int) -> None:
            nonlocal now
            now += count * cost
            calls.append(name)

        return steps

    monkeypatch.setattr(dp_timing.time, "process_time", lambda: now)
    contestants = {"plain": contestant("plain", 0.25), "ours": contestant("ours", 0.5)}
    assert dp_timing.steps_for(contestants["ours"], 4.0) == 8
    rates = dp_timing.take_turns(contestants, batch=16, window=4.0, rounds=5)
    assert rates == {"plain": [64.0] * 5, "ours": [32.0] * 5}
    assert calls[-10:] == ["plain", "ours", "ours", "plain", "ours", "plain", "plain", "ours", "plain", "ours"]


def test_a_median_of_few_is_refused() -> None:
    """At least five rounds."""
    with pytest.raises(ValueError, match="at least 5"):
        dp_timing.take_turns({}, batch=1, window=1.0, rounds=4)


def test_every_case_has_its_engines() -> None:
    """By-hand training where somebody would write it, the loader where there is a data path, the others everywhere."""
    for case in CASES:
        present = {engine for engine in ENGINES if takes_part(engine, case)} - {"jax-privacy"}
        expected = {"plain", "ours", "opacus-ghost", "opacus-hooks"}
        expected |= {"plain-fused"} if case.network in (LOGISTIC, MLP) else set()
        expected |= {"plain-dataloader"} if case.end_to_end else set()
        assert present == expected, case.name


def test_results_keep_what_was_not_measured_again(tmp_path: Path) -> None:
    """A run of one case replaces its lines only, in the order of the cases."""
    path = tmp_path / "dp.jsonl"
    keep(_both("mlp-256"), path)
    keep(_both("logistic-1024"), path)
    keep([_figure("mlp-256", "plain", 1)], path)
    assert [(figure.case, figure.engine) for figure in read(path)] == [
        ("logistic-1024", "plain"),
        ("logistic-1024", "ours"),
        ("mlp-256", "plain"),
    ]


def test_the_table_shows_each_figure_in_its_place() -> None:
    """A row for each case; the baseline as a rate, the others as slowdowns; nothing where nobody took part."""
    lines = table(_both("mlp-256")).splitlines()
    cells = [cell.strip() for cell in lines[2].split("|")]
    assert cells[1:3] == ["mlp-256", "1,000 (300)"]
    assert cells[2 + [engine for engine in ENGINES if engine != BASELINE].index("ours") + 1] == "1.25 (300)"
    assert cells.count("") == 2 + len(ENGINES) - 2


def test_a_page_without_a_place_is_refused() -> None:
    """The table is never lost silently."""
    with pytest.raises(ValueError, match="no place"):
        page_with("# Nothing\n", _both("mlp-256"))


def test_the_picture_has_a_dot_for_each_figure() -> None:
    """Well-formed, with a title and a description, and placed on a logarithmic scale."""
    figures = [*_both("mlp-256"), _figure("mlp-256", "opacus-hooks", 60)]
    tree = ET.fromstring(picture(figures))
    tags = [element.tag.rpartition("}")[2] for element in tree.iter()]
    assert {"title", "desc"} <= set(tags)
    dots = [float(element.attrib["cx"]) for element in tree.iter() if element.tag.endswith("circle")][3:]
    assert len(dots) == len(figures)
    assert sorted(dots) == [dots[0], dots[2], dots[1]]


@pytest.mark.parametrize("network", [LOGISTIC, MLP], ids=lambda network: network.name)
def test_by_hand_is_the_same_training(network: Network) -> None:
    """Two steps without autograd leave the weights where torch's own leave them."""
    rows, labels = tensors_of(network, made_up(network, 32))
    module, by_hand = module_of(network), [parameter.detach() for parameter in module_of(network).parameters()]
    optimizer, step = torch.optim.SGD(module.parameters(), lr=LEARNING_RATE), step_by_hand(network, by_hand, 32)
    for _ in range(2):
        optimizer.zero_grad()
        criterion_of(network)(module(rows), labels).backward()
        optimizer.step()
        step(rows, labels)
    start = [parameter.detach() for parameter in module_of(network).parameters()]
    for expected, found, before in zip(module.parameters(), by_hand, start, strict=True):
        assert not torch.equal(found, before)
        np.testing.assert_allclose(found.numpy(), expected.detach().numpy(), rtol=1e-5, atol=1e-7)
