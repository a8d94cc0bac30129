"""Every relative link of every document leads somewhere, and every picture is one that a browser can draw."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.support.sources import ROOT

PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "tests").rglob("*.md"))
    if ".venv" not in path.parts
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
ABROAD = ("http://", "https://", "mailto:")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the usual renderers make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_relative_link_leads_somewhere(page: Path) -> None:
    """The file exists, within the repository, and has the heading that is pointed to."""
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if link.startswith(ABROAD):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("picture", sorted((ROOT / "docs" / "pictures").iterdir()), ids=lambda path: path.name)
def test_a_picture_is_whole_and_says_what_it_shows(picture: Path) -> None:
    """SVG, nothing loaded from elsewhere, with a title and a description for who cannot see it; some page shows it."""
    tree = ET.parse(picture).getroot()
    names = {element.tag.rpartition("}")[2] for element in tree.iter()}
    assert {"title", "desc"} <= names
    assert not names & {"image", "script", "use", "foreignObject"}
    assert any(picture.name in page.read_text(encoding="utf-8") for page in PAGES)
