"""The notebooks of the tutorials run as they stand, against a gateway that really trains, and say what they say."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.support import notebooks
from tests.support.tutorials import FOLDER, executed

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_gives_what_it_shows(path: Path) -> None:
    """Cell by cell, but for names and for figures that noise makes new. `make tutorials` refreshes what it shows."""
    kept, ran = notebooks.read(path), executed(path)
    for before, after in zip(notebooks.code_of(kept), notebooks.code_of(ran), strict=True):
        assert notebooks.masked(after) == notebooks.masked(before), "".join(after["source"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_was_run_from_the_first_cell_to_the_last(path: Path) -> None:
    """In order, with the outputs of that run, without an error; pictures are whole and load nothing."""
    notebook = notebooks.read(path)
    cells = notebooks.code_of(notebook)
    assert notebook["nbformat"] == 4
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {"stream", "execute_result"}
    pictures = ["".join(o["data"]["image/svg+xml"]) for o in outputs if "image/svg+xml" in o.get("data", {})]
    for picture in pictures:
        names = {element.tag.rpartition("}")[2] for element in ET.fromstring(picture).iter()}
        assert {"title", "desc"} <= names
        assert not names & {"image", "script", "use", "foreignObject"}
    assert pictures
    assert "/tmp/" not in path.read_text(encoding="utf-8")


def test_there_is_a_notebook_for_a_trainer() -> None:
    """Own model, quote, rehearsal, training, evaluation, explanation, export."""
    (path,) = [path for path in NOTEBOOKS if path.stem == "trainer"]
    code = "\n".join("".join(cell["source"]) for cell in notebooks.code_of(notebooks.read(path)))
    for verb in ("from_torch", "quote(", "rehearse(", "train(", "evaluate(", "explain(", "export_onnx(", "open_onnx("):
        assert verb in code, verb
