"""The rendering: everything escaped, nothing fetched, every verdict shown, and the limits first."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

import pytest

from audit.archive import Archive
from compliance.render.html import SECURITY, render
from compliance.render.markup import Markup, joined, table, tag
from compliance.report import Report, build_report
from kernel.errors import PrivgateError
from tests.support.cycles import Cycle

NASTY = "</td><script>alert('x')</script>&\"'<img src=//evil.example>"
FETCHING = {"src", "href", "srcset", "action", "formaction", "data", "poster", "background", "style"}


@pytest.fixture(scope="module")
def report(cycle: Cycle) -> Report:
    """The report on the whole cycle."""
    return build_report(Archive.open(cycle.bundle))


class _Reader(HTMLParser):
    """Collects tags, attributes and text, and checks that tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in {"meta", "br", "hr", "col"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.text.append(data)

    def closed(self) -> bool:
        return not self._open


def read(page: str) -> _Reader:
    """Parse a page."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert reader.closed()
    return reader


def _poisoned(value: Any) -> Any:
    """The same shape, with every free text replaced by markup."""
    if isinstance(value, dict):
        kept = {"verdict", "gap", "format", "first_at", "last_at"}
        return {name: part if name in kept else _poisoned(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_poisoned(part) for part in value]
    return NASTY if isinstance(value, str) else value


def test_the_page_fetches_nothing_and_runs_nothing(report: Report) -> None:
    """No script, no element or attribute that loads something, no address in the style sheet."""
    page = render(report)
    reader = read(page)
    assert not {"script", "img", "link", "iframe", "object", "embed", "form", "a", "base", "svg"} & set(reader.tags)
    assert not FETCHING & reader.attributes
    assert not any(name.startswith("on") for name in reader.attributes)
    style = page.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert "expression(" not in style
    assert SECURITY.startswith("default-src 'none'")
    assert page.count("Content-Security-Policy") == 1


def test_everything_is_escaped(report: Report) -> None:
    """Whatever text a report could hold, it stays text."""
    poisoned = Report(_poisoned(json.loads(report.to_bytes())))
    page = render(poisoned)
    reader = read(page)
    assert {"script", "img"}.isdisjoint(reader.tags)
    assert "<script" not in page
    assert "".join(reader.text).count("alert('x')") > 100


def test_the_limits_come_before_any_verdict(report: Report) -> None:
    """A reader meets what the report cannot show before the first figure."""
    text = " ".join(read(render(report)).text)
    assert text.index("What this report cannot show") < text.index("checks hold")
    for sentence in report.body["cannot_show"]:
        assert sentence in text


def test_every_check_and_control_is_shown_with_its_verdict_in_words(report: Report) -> None:
    """Nothing is left out, and no verdict is a colour alone."""
    page = render(report)
    text = " ".join(read(page).text)
    for check in report.body["checks"]:
        assert check["title"] in text
        assert check["question"] in text
    controls = [control for found in report.body["frameworks"] for control in found["controls"]]
    for control in controls:
        assert control["requires"] in text
        assert control["not_shown"] in text
    counted = text.split().count("PASS") - 1  # one is the head of a column
    assert counted == sum(c["verdict"] == "pass" for c in [*controls, *report.body["checks"]])


def test_findings_are_shown_with_their_place(report: Report) -> None:
    """What does not hold stands there with its entry, and what was cut is counted."""
    body = json.loads(report.to_bytes())
    finding = {"entry": 42, "what": "something is wrong", "subject": "job_" + "a" * 26}
    body["checks"][0] |= {"verdict": "fail", "findings": [finding], "count": 60}
    text = "".join(read(render(Report(body))).text)
    assert "entry 42: something is wrong" in text
    assert "and 59 more" in text


def test_what_does_not_hold_stands_on_the_first_page(report: Report) -> None:
    """Before any framework a reader finds each check that fails or cannot tell, and why."""
    body = json.loads(report.to_bytes())
    body["checks"][3] |= {"verdict": "fail", "findings": [{"what": "wrong"}], "count": 1}
    body["checks"][5] |= {"verdict": "cannot-tell", "gap": "nothing-happened"}
    text = "".join(read(render(Report(body))).text)
    first_page = text[: text.index("Scope and population")]
    assert body["checks"][3]["title"] in first_page
    assert body["checks"][5]["title"] in first_page
    assert "nothing of the kind happened in this period" in first_page
    assert body["checks"][0]["title"] not in first_page


@pytest.mark.parametrize("part", ["checks", "frameworks", "overview", "scope", "summary", "cannot_show"])
@pytest.mark.parametrize("instead", [None, 7, "text", [7], {"a": 1}, [{}]])
def test_a_report_of_another_form_is_refused(part: str, instead: object, report: Report) -> None:
    """Whoever signed it: nothing that a report could hold breaks the program that draws it."""
    body = json.loads(report.to_bytes()) | {part: instead}
    try:
        page = render(Report.parse(Report(body).to_bytes()))
    except PrivgateError:
        return
    read(page)


def test_an_empty_report_can_be_rendered(cycle: Cycle) -> None:
    """A period in which nothing happened still has a page, full of CANNOT TELL."""
    from compliance.report import Period

    archive = Archive.open(cycle.bundle)
    size = build_report(archive).period.until_size or 0
    empty = build_report(archive, Period(size, size))
    assert empty.body["summary"]["pass"] <= 3
    assert "CANNOT TELL" in render(empty)


def test_the_page_is_a_function_of_the_report(report: Report) -> None:
    """The same report, read back from its bytes, gives the same page."""
    assert render(Report.parse(report.to_bytes())) == render(report)


def test_markup_escapes_text_and_attributes() -> None:
    """Only what `tag` made passes as it is."""
    assert tag("p", "<b>", title='"') == '<p title="&quot;">&lt;b&gt;</p>'
    assert tag("p", tag("b", "&")) == "<p><b>&amp;</b></p>"
    assert joined(["<", Markup("<i>"), [1, None]]) == "&lt;<i>1None"
    assert table(("a<",), [("b<",)]).count("&lt;") == 2
