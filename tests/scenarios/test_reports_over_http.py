"""Reports through the API: issued by an auditor, stored, handed out as the same bytes, and every act in the log."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit.archive import Archive
from compliance.report import require_rederived, verify
from kernel.canonical import Digest
from kernel.signing import Envelope
from tests.support.api import House, dataset_body, done, house, neighbour, population_body, refused


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway with a population and a dataset, before any upload."""
    with house(tmp_path_factory.mktemp("reports") / "home") as running:
        done(running["admin"].post("/v1/purposes", {"purpose": "research", "within": []}), 201)
        population = done(running["owner"].post("/v1/populations", population_body()), 201)["population"]
        done(running["owner"].post("/v1/datasets", dataset_body(population)), 201)
        yield running


def test_an_issued_report_is_signed_stored_and_logged(made: House) -> None:
    """The envelope is the one whose digest the log has; a later read gives the same bytes."""
    auditor = made["auditor"]
    issued = done(auditor.post("/v1/reports", {}), 201)
    first = auditor.get(f"/v1/reports/{issued['report']}/files/report.json").content
    done(auditor.post("/v1/reports", {}), 201)
    assert auditor.get(f"/v1/reports/{issued['report']}/files/report.json").content == first
    assert Digest.of(first) == issued["digest"]
    report = verify(Envelope.from_bytes(first), [made.gateway.on.report_signer.public_key])
    assert report.body["summary"]["fail"] == 0
    entries = made.log()
    (logged,) = [
        e["fields"] for e in entries if e["type"] == "report:issued" and e["fields"]["report"] == issued["report"]
    ]
    assert logged["digest"] == issued["digest"]
    assert logged["until_size"] == report.period.until_size
    reads = [e["fields"] for e in entries if e["type"] == "report:read"]
    assert [read["form"] for read in reads if read["report"] == issued["report"]] == ["envelope", "envelope"]
    assert {read["decision"] for read in reads} <= made.decisions().keys()


def test_a_later_export_gives_the_report_again(made: House, tmp_path: Path) -> None:
    """The archive that is exported afterwards derives the stored report byte for byte, live evidence included."""
    auditor = made["auditor"]
    issued = done(auditor.post("/v1/reports", {"frameworks": ["pipl"]}), 201)
    envelope = Envelope.from_bytes(auditor.get(f"/v1/reports/{issued['report']}/files/report.json").content)
    made.settle()
    with tarfile.open(fileobj=io.BytesIO(auditor.get("/v1/archive").content), mode="r:") as tar:
        tar.extractall(tmp_path, filter="data")
    stated = verify(envelope, [made.gateway.on.report_signer.public_key])
    require_rederived(Archive.open(tmp_path), stated)
    assert [framework["id"] for framework in stated.body["frameworks"]] == ["pipl"]


def test_the_page_is_handed_out_as_a_file(made: House) -> None:
    """HTML that nobody's browser runs in the gateway's origin: an attachment, never cached."""
    auditor = made["auditor"]
    issued = done(auditor.post("/v1/reports", {}), 201)
    answer = auditor.get(f"/v1/reports/{issued['report']}/files/report.html")
    assert answer.text.startswith("<!DOCTYPE html>")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["cache-control"] == "no-store"


def test_a_period_can_be_chosen(made: House) -> None:
    """A report on the first entries says so; one that ends after the log does is refused."""
    auditor = made["auditor"]
    issued = done(auditor.post("/v1/reports", {"from_size": 2, "until_size": 9}), 201)
    envelope = Envelope.from_bytes(auditor.get(f"/v1/reports/{issued['report']}/files/report.json").content)
    scope = verify(envelope, [made.gateway.on.report_signer.public_key]).body["scope"]
    assert (scope["from_size"], scope["until_size"], scope["entries_before"]) == (2, 9, 2)
    refused(auditor.post("/v1/reports", {"until_size": 10**6}), 422)


def test_frameworks_that_do_not_exist_are_refused(made: House) -> None:
    """With the names of those that do."""
    problem = refused(made["auditor"].post("/v1/reports", {"frameworks": ["gpdr"]}), 404)
    assert "gdpr" in problem["detail"]


def test_reports_are_listed_page_by_page(made: House) -> None:
    """Keyset pages; an owner and an administrator may read them, too."""
    for _ in range(2):
        done(made["auditor"].post("/v1/reports", {}), 201)
    page = made["owner"].get("/v1/reports", params={"limit": 1})
    (first,) = done(page)
    assert f"after={first['report']}" in page.headers["link"]
    rest = done(made["admin"].get("/v1/reports", params={"after": first["report"]}))
    assert first["report"] not in {report["report"] for report in rest}


def test_nobody_else_issues_or_reads(made: House) -> None:
    """An owner issues none, a trainer reads none, and another organisation's auditor finds none."""
    issued = done(made["auditor"].post("/v1/reports", {}), 201)
    refused(made["owner"].post("/v1/reports", {}), 403, "denied")
    refused(made["trainer"].get("/v1/reports"), 403, "denied")
    refused(made["trainer"].get(f"/v1/reports/{issued['report']}/files/report.json"), 403, "denied")
    refused(neighbour(made).get(f"/v1/reports/{issued['report']}/files/report.json"), 404)


@pytest.mark.parametrize("path", ["rpt_" + "a" * 26 + "/files/report.json", "nonsense/files/report.json"])
def test_a_report_that_is_not_there(path: str, made: House) -> None:
    """404 or 422, never an error of ours."""
    assert made["auditor"].get(f"/v1/reports/{path}").status_code in (404, 422)


def test_a_file_that_a_report_has_not(made: House) -> None:
    """The answer names those it has."""
    issued = done(made["auditor"].post("/v1/reports", {}), 201)
    problem = refused(made["auditor"].get(f"/v1/reports/{issued['report']}/files/report.pdf"), 404)
    assert "report.html" in problem["detail"]
