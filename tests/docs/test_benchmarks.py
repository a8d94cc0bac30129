"""The page about speed against the measured figures and the script's parts."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from benchmarks import accuracy_page, he_lines, he_plot
from benchmarks.dp_cases import CASES
from benchmarks.dp_engines import ENGINES
from benchmarks.dp_plot import PICTURE, picture
from benchmarks.dp_results import PAGE, page_with, read
from benchmarks.lines import RESULTS

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_table_is_the_result_file() -> None:
    """Nobody writes a figure by hand: the page is what the script makes of the lines."""
    assert page_with(TEXT, read()) == TEXT


def test_the_table_of_accuracy_is_the_result_file() -> None:
    """What models reach is written by the script as well, and every task is explained."""
    lines = accuracy_page.read(RESULTS / "accuracy.jsonl")
    assert accuracy_page.page_with(TEXT, lines) == TEXT
    explained = TEXT.partition("# What private models reach")[2].partition(accuracy_page.BEGIN)[0]
    assert set(re.findall(r"`([a-z0-9-]+)`", explained)) >= {line["task"] for line in lines}


def test_the_picture_is_the_result_file() -> None:
    """Drawn from the same lines, with a title and a description."""
    drawn = PICTURE.read_text(encoding="utf-8")
    assert drawn == picture(read())
    assert {"title", "desc"} <= {element.tag.rpartition("}")[2] for element in ET.fromstring(drawn).iter()}


def test_every_case_and_engine_is_explained_and_measured() -> None:
    """The page's own tables name them all; each case has figures for whoever must take part."""
    explained = TEXT.partition("## How it is measured")[0]
    named = set(re.findall(r"`([a-z0-9-]+)`", explained))
    assert named >= {case.name for case in CASES} | set(ENGINES)
    for case in CASES:
        measured = {figure.engine for figure in read() if figure.case == case.name}
        assert measured >= {"plain", "ours", "opacus-ghost", "opacus-hooks"}, case.name


def test_the_table_and_picture_of_encryption_are_the_result_file() -> None:
    """Whoever renews the lines renews both; every quantity that was promised is there, and as good as promised."""
    figures = he_lines.read()
    assert he_lines.page_with(TEXT, figures) == TEXT
    drawn = he_plot.PICTURE.read_text(encoding="utf-8")
    assert drawn == he_plot.picture(figures)
    assert {"title", "desc"} <= {element.tag.rpartition("}")[2] for element in ET.fromstring(drawn).iter()}
    sums = {(figure.quantity, figure.profile): figure for figure in figures}
    assert sums["upload_x_float32", "bfv-4096-public"].value <= 2.1
    assert sums["upload_x_float32", "bfv-2048-seeded"].value <= 1.05
    promised = {
        "server_ms_per_client": 100,
        "client_encrypt_ms": 3,
        "blind_logistic_epoch_s": 300,
        "inference_ms_per_sample": 1000,
    }
    for quantity, times in promised.items():
        assert all(figure.times and figure.times >= times for figure in figures if figure.quantity == quantity), (
            quantity
        )
    seeded = sums["client_encrypt_ms", "bfv-2048-seeded"]
    assert seeded.times is not None
    assert seeded.times >= 5
    (deviation,) = [figure for figure in figures if figure.quantity == "blind_logistic_max_abs_deviation"]
    assert deviation.value <= 1e-3
    (health,) = [figure for figure in figures if figure.quantity == "healthz_p99_ms"]
    assert health.value < 50
