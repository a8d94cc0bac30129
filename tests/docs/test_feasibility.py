"""What the page says of a quote's word is what was measured, by the rule as it is today."""

from __future__ import annotations

import json

from benchmarks.feasibility import FILE, summary
from privacy.jobs.feasibility import HOPELESS_CLARITY, LIKELY_CLARITY, word_of
from tests.support.sources import ROOT

PAGE = (ROOT / "docs" / "MODELS.md").read_text(encoding="utf-8")
LINES = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
FAMILIES = {"logistic": "linear", "mlp": "network"}


def test_the_table_is_the_result_file() -> None:
    """Nobody writes a figure by hand."""
    rows = summary(LINES)
    assert len(rows) == 12
    assert "\n".join(rows) in PAGE


def test_the_words_in_the_result_file_are_those_of_the_rule() -> None:
    """Measured anew, or at least sorted anew, whenever a threshold changes."""
    for line in LINES:
        family = FAMILIES[line["model"]]
        assert word_of(line["clarity"], LIKELY_CLARITY[family], HOPELESS_CLARITY[family]) == line["word"]


def test_the_thresholds_stand_on_the_page() -> None:
    """Both families, both of them."""
    for one, several, words in (
        (
            LIKELY_CLARITY["linear"],
            LIKELY_CLARITY["network"],
            "| `likely` | clarity {:.0f} and more | {:.0f} and more |",
        ),
        (HOPELESS_CLARITY["linear"], HOPELESS_CLARITY["network"], "| `hopeless` | below {:.0f} | below {:.0f} |"),
    ):
        assert words.format(one, several) in PAGE


def test_the_words_are_worth_something() -> None:
    """Where there is something to learn, most is kept of what is likely, and little of what is hopeless."""
    for model in FAMILIES:
        of = [line for line in LINES if line["model"] == model and line["signal"] == "clear"]
        likely = [share for line in of if line["word"] == "likely" for share in line["kept"]]
        hopeless = [share for line in of if line["word"] == "hopeless" for share in line["kept"]]
        assert sum(share > 0.8 for share in likely) > 0.9 * len(likely) > 45
        assert sum(share < 0.6 for share in hopeless) > 0.75 * len(hopeless) > 25
