"""A report as one HTML document: self-contained, without script, made to be read on paper.

Rules
-----
1. A pure function of the report's signed body: the same report gives the same bytes.
2. Everything is escaped; nothing in it makes a reader's program fetch anything, and its policy forbids it to.
3. It opens with what the report cannot show. A verdict is a word, never a colour alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import ROUND_CEILING, Decimal, DecimalException
from pathlib import Path
from typing import Any

from compliance.render.markup import Markup, joined, table, tag
from compliance.report import Report
from kernel.errors import InvalidError

WORDS = {"pass": "PASS", "fail": "FAIL", "cannot-tell": "CANNOT TELL"}
GAPS = {
    "source-missing": "what it reads is not in the archive",
    "nothing-happened": "nothing of the kind happened in this period",
    "history-incomplete": "the history could not be read to its end",
    "not-readable": "something that it needs could not be read",
}
SHORT = 12
"""A table of so many rows stays on one page."""

SECURITY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def render(report: Report) -> str:
    """Write the document.

    Raises:
        InvalidError: The report is not of the form that this program gives one; whoever signed it.
    """
    try:
        return _document(report.body, report)
    except (AttributeError, LookupError, TypeError, ValueError):
        raise InvalidError("the report has not the form of a report", field="report") from None


def _document(body: Mapping[str, Any], report: Report) -> str:
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=SECURITY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"Evidence report, tree sizes {body['scope']['from_size']} to {body['scope']['until_size']}"),
        tag("style", Markup(_style())),
    )
    parts = [
        _header(body),
        _limits(body),
        _summary(body),
        _open_points(body),
        _scope(body, report),
        [_framework(framework) for framework in body["frameworks"]],
        _checks(body),
        _populations(body),
        _releases(body),
        _datasets(body),
        _acts(body),
        _reproduce(body, report),
    ]
    return "<!DOCTYPE html>\n" + tag("html", head, tag("body", parts), lang="en") + "\n"


def _style() -> str:
    return (Path(__file__).parent / "style.css").read_text("utf-8")


def _header(body: Mapping[str, Any]) -> Markup:
    scope = body["scope"]
    when = f"{_day(scope['first_at'])} to {_day(scope['last_at'])}" if "first_at" in scope else "no entries"
    return tag(
        "header",
        tag("p", "Evidence report", class_="over"),
        tag("h1", "What the record shows about the use of personal data"),
        tag(
            "p", f"Log {scope['log']}, tree sizes {scope['from_size']} to {scope['until_size']}, {when}", class_="lead"
        ),
    )


def _limits(body: Mapping[str, Any]) -> Markup:
    items = [tag("li", sentence) for sentence in body["cannot_show"]]
    return tag("section", tag("h2", "What this report cannot show"), tag("ol", items), class_="limits")


def _summary(body: Mapping[str, Any]) -> Markup:
    counts = body["summary"]
    said = {"pass": "checks hold", "fail": "checks do not hold", "cannot-tell": "checks cannot tell"}
    tiles = [tag("div", tag("b", counts[v]), tag("span", said[v]), class_=f"tile {v}") for v in WORDS]
    rows = [
        (f["title"], f["jurisdiction"], *(_number(f["summary"][verdict]) for verdict in WORDS))
        for f in body["frameworks"]
    ]
    return tag(
        "section",
        tag("h2", "Summary"),
        tag("div", tiles, class_="tiles"),
        tag(
            "p",
            "A check that found nothing to look at, or whose source is missing, cannot tell: silence is never a pass. "
            "A control is as good as the worst of its checks.",
        ),
        table(("Framework", "Jurisdiction", _head("PASS"), _head("FAIL"), _head("CANNOT TELL")), rows),
    )


def _open_points(body: Mapping[str, Any]) -> Markup:
    """What a reader looks for first, with where it is found."""
    rows = [
        (_fit(_verdict(check["verdict"])), [check["title"], tag("br"), tag("span", _because(check), class_="small")])
        for verdict in ("fail", "cannot-tell")
        for check in body["checks"]
        if check["verdict"] == verdict
    ]
    title = "What does not hold, and what could not be told"
    return _section(title, rows, ("Verdict", "Check"), "Every check found something to look at, and it holds.")


def _because(check: Mapping[str, Any]) -> str:
    if "gap" in check:
        return GAPS.get(check["gap"], str(check["gap"]))
    return f"{check['count']} findings among {check['looked_at']}, listed under Evidence"


def _scope(body: Mapping[str, Any], report: Report) -> Markup:
    scope = body["scope"]
    return tag(
        "section",
        tag("h2", "Scope and population"),
        _facts(
            ("Tenant", _code(scope["tenant"])),
            ("Log", _code(scope["log"])),
            ("Period", f"from tree size {scope['from_size']} to tree size {scope['until_size']}"),
            ("Root at the end", _code(scope["root"])),
            ("Entries judged", scope["entries"]),
            ("Entries before, read as context", scope["entries_before"]),
            ("First and last", f"{scope.get('first_at', '-')} and {scope.get('last_at', '-')}"),
            ("Digest of this report", _code(report.digest)),
        ),
    )


def _framework(framework: Mapping[str, Any]) -> Markup:
    rows = [
        (
            tag("b", c["id"]),
            [
                tag("b", c["title"]),
                tag("br"),
                c["requires"],
                tag("br"),
                tag("span", "Left open: ", c["not_shown"], class_="small"),
            ],
            [joined([_code(check), " "]) for check in c["checks"]],
            _fit(_verdict(c["verdict"])),
        )
        for c in framework["controls"]
    ]
    about = f"{framework['jurisdiction']}. Text: {framework['source']}. Mapping of {framework['mapped_on']}, digest "
    return tag(
        "section",
        tag("h2", framework["title"]),
        tag("p", about, _code(framework["digest"]), class_="small"),
        table(("Control", "Requirement, in our words", "Evidence", "Verdict"), rows, class_="controls"),
        class_="framework",
    )


def _checks(body: Mapping[str, Any]) -> Markup:
    return tag("section", tag("h2", "Evidence"), [_check(check) for check in body["checks"]], class_="evidence")


def _check(check: Mapping[str, Any]) -> Markup:
    looked = f"{_code(check['check'])} looked at {check['looked_at']}"
    because = f": {_because(check)}" if "gap" in check else ""
    more = check["count"] - len(check["findings"])
    items = [tag("li", _finding(finding)) for finding in check["findings"]]
    if more:
        items.append(tag("li", f"and {more} more; digest of the whole list ", _code(check["digest"])))
    return tag(
        "div",
        tag("h3", tag("span", check["title"]), _verdict(check["verdict"])),
        tag("p", check["question"]),
        tag("p", Markup(looked), because, class_="small"),
        tag("ul", items) if items else "",
        class_="check",
    )


def _finding(finding: Mapping[str, Any]) -> list[object]:
    place: list[object] = [f"entry {finding['entry']}: "] if "entry" in finding else []
    subject: list[object] = [" ", _code(finding["subject"])] if "subject" in finding else []
    return [*place, finding["what"], *subject]


def _populations(body: Mapping[str, Any]) -> Markup:
    rows = [
        (
            [_code(p["population"]), tag("br"), f"about {p['public_size']} of unit “{p['unit']}”, {p['adjacency']}"],
            [f"ε {p['epsilon']}, δ {p['delta']}", tag("br"), f"order {p['order']}"],
            _number(p["capacity"]),
            [joined([_block(b, p["capacity"]), tag("br")]) for b in p["blocks"]] or "nothing",
            f"from {p['uncovered_since']} on" if "uncovered_since" in p else "none",
        )
        for p in body["overview"]["populations"]
    ]
    heads = ("Population", "Budget", _head("Capacity"), "Charged and held, by block", "Exact results")
    return _section("Privacy budgets", rows, heads, "No population was created.")


def _block(block: Mapping[str, Any], capacity: str) -> str:
    spent = f"{block['block']}: charged {block['charged']}, held {block['held']}"
    try:
        share = (Decimal(block["charged"]) + Decimal(block["held"])) / Decimal(capacity) * 100
        return f"{spent} ({share.quantize(Decimal('0.1'), rounding=ROUND_CEILING)} %)"
    except DecimalException:
        return spent


def _releases(body: Mapping[str, Any]) -> Markup:
    rows = [
        (
            _number(r["entry"]),
            [_code(r["release"]), tag("br"), f"{r['kind']}, {r['state']}"],
            _number(r.get("epsilon_of_the_job_alone", "unknown")),
            _number(r.get("charge", "unknown")),
            _code(r["certificate"]),
        )
        for r in body["overview"]["releases"]
    ]
    heads = (_head("Entry"), "Release", _head("ε, job alone"), _head("Charge"), "Certificate")
    return _section("Releases", rows, heads, "Nothing was released.")


def _datasets(body: Mapping[str, Any]) -> Markup:
    rows = [
        (
            [_code(d["dataset"]), tag("br"), f"{d['state']}, {d['sensitivity']}"],
            ", ".join(d["purposes"]),
            [d["legal_basis"], tag("br"), d.get("special_condition", "")],
            [d.get("basis_until", "no end"), tag("br"), d["retention_until"]],
        )
        for d in body["overview"]["datasets"]
    ]
    heads = ("Dataset", "Purposes", "Legal basis", "Basis and retention until")
    return _section("Datasets", rows, heads, "No dataset was registered.")


def _acts(body: Mapping[str, Any]) -> Markup:
    view = body["overview"]
    refused = [(r["action"], r["reason"], _number(r["count"])) for r in view["refusals"]]
    people = [(p["role"], _number(p["count"])) for p in view["people"]]
    keys = [(k["purpose"], _number(k["created"]), _number(k["destroyed"])) for k in view["keys"]]
    events = [(_code(e["type"]), _number(e["count"])) for e in view["events"]]
    return joined(
        [
            _section("Refused requests", refused, ("Action", "Reason", _head("Times")), "Nothing was refused."),
            _section("Roles at the end of the period", people, ("Role", _head("Principals")), ""),
            _section("Data keys", keys, ("For", _head("Created"), _head("Destroyed")), ""),
            _section("Entries by kind", events, ("Event", _head("Entries")), "No entries."),
        ]
    )


def _reproduce(body: Mapping[str, Any], report: Report) -> Markup:
    return tag(
        "footer",
        tag(
            "p",
            "This page is a rendering of a signed document. The document is derived from the log alone: whoever holds "
            "an archive of this log at the stated tree size, or a later one, derives the same bytes with ",
            tag("code", "privgate verify"),
            ", offline. Digest ",
            _code(report.digest),
            ".",
        ),
        tag("p", f"Format {body['format']}. Not legal advice."),
    )


def _section(title: str, rows: list[Any], heads: Iterable[object], empty: str) -> Markup:
    short = {"class_": "short"} if len(rows) <= SHORT else {}
    return tag("section", tag("h2", title), table(heads, rows) if rows else tag("p", empty), **short)


def _facts(*pairs: tuple[str, object]) -> Markup:
    return tag("dl", [joined([tag("dt", name), tag("dd", value)]) for name, value in pairs])


def _verdict(verdict: str) -> Markup:
    return tag("span", WORDS[verdict], class_=f"verdict {verdict}")


def _code(value: object) -> Markup:
    return tag("code", value)


def _number(value: object) -> Markup:
    return tag("td", value, class_="number")


def _head(text: str) -> Markup:
    return tag("th", text, class_="number", scope="col")


def _fit(value: object) -> Markup:
    return tag("td", value, class_="fit")


def _day(written: str) -> str:
    return written[:10]
