"""What the page says of a quote's word is what was measured, by the rule as it is today."""

from __future__ import annotations

import json
from dataclasses import fields

from benchmarks import glm_feasibility
from benchmarks.feasibility import FILE, summary
from privacy.jobs.feasibility import (
    HOPELESS_CLARITY,
    HOPELESS_TABLE,
    HOPELESS_WIDENING,
    LIKELY_CLARITY,
    LIKELY_TABLE,
    LIKELY_WIDENING,
    word_of,
)
from tests.support.sources import ROOT

PAGE = (ROOT / "docs" / "MODELS.md").read_text(encoding="utf-8")
LINES = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
GLM_LINES, SEVERAL_LINES = (
    [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for file in (glm_feasibility.FILE, glm_feasibility.SEVERAL_FILE)
)
WORDS = ("likely", "doubtful", "hopeless")
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


def test_the_table_of_coefficients_is_its_result_file() -> None:
    """Of GLM jobs, by the thresholds that stand above it."""
    assert glm_feasibility.page_with(PAGE, glm_feasibility.FILE, GLM_LINES) == PAGE
    assert glm_feasibility.page_with(PAGE, glm_feasibility.SEVERAL_FILE, SEVERAL_LINES) == PAGE
    for words in (
        f"| `likely` | {LIKELY_TABLE:.0f} and more | {LIKELY_WIDENING} at most |",
        f"| `hopeless` | below {HOPELESS_TABLE:.0f} | above {HOPELESS_WIDENING:.0f} |",
    ):
        assert words in PAGE


def test_the_words_of_coefficients_are_those_of_the_rule() -> None:
    """Planned anew, so that another share, noise or threshold is found; measured anew where it is."""
    for line in GLM_LINES + SEVERAL_LINES:
        case = glm_feasibility.Case(**{one.name: line[one.name] for one in fields(glm_feasibility.Case)})
        assert glm_feasibility.told_of(case) == {n: line[n] for n in ("clarity", "expected_widening", "word")}


def test_the_words_of_coefficients_are_worth_something() -> None:
    """What is likely is told, with intervals that noise hardly widens; what is hopeless is not told."""
    assert {line["family"] for line in GLM_LINES} == set(glm_feasibility.FAMILIES)
    for kind in glm_feasibility.KINDS:
        by_word = {word: [line for line in GLM_LINES if (line["kind"], line["word"]) == (kind, word)] for word in WORDS}
        told = {word: sum(o["told"] for o in of) / sum(o["runs"] for o in of) for word, of in by_word.items()}
        assert told["likely"] > 0.97
        assert 0.3 < told["doubtful"] < 0.9
        assert told["hopeless"] < 0.1
        widths = sorted(line["widening"] for line in by_word["likely"])
        assert widths[len(widths) // 2] < 1.5
        assert widths[int(0.9 * len(widths))] < 2.5
        assert min(map(len, by_word.values())) > 20


def test_the_words_hold_where_people_have_several_rows() -> None:
    """Every family, each way of counting: what is likely is told, and hardly wider than the clustered fit's."""
    assert {(line["family"], line["counted"]) for line in SEVERAL_LINES} == {
        (case.family, case.counted) for case in glm_feasibility.several_cases()
    }
    for family in glm_feasibility.SEVERAL:
        likely = [line for line in SEVERAL_LINES if (line["family"], line["word"]) == (family, "likely")]
        assert sum(line["told"] for line in likely) > 0.97 * sum(line["runs"] for line in likely)
        widths = sorted(line["widening"] for line in likely)
        assert len(widths) > 5
        assert widths[len(widths) // 2] < 1.5
        assert widths[int(0.9 * len(widths))] < 2.5


def test_a_wide_hazard_is_not_called_likely() -> None:
    """Of all hazards that noise made more than 2.2 times as wide, or drowned, none."""
    hazards = [line for line in SEVERAL_LINES if line["family"] == "hazard"]
    wide = [line for line in hazards if line["widening"] is None or line["widening"] > 2.2]
    assert len(wide) > 20
    assert "likely" not in {line["word"] for line in wide}
