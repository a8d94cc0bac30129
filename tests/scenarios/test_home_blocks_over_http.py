"""RULES 1 and 2 over the API: months of one hospital, one population, a block for each month's new patients."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.launchers import parts as launcher_parts
from gateway.records import JobRecord, VersionRecord
from kernel.errors import CorruptError
from kernel.ids import DatasetId, DekId, JobId, PopulationId, VersionId
from kernel.signing import Envelope
from privacy.budget.reservations import Block
from privacy.events.sealing import VersionSealed
from privacy.release.certificate import PrivacyCertificate
from privacy.release.check import check
from privacy.replay import Posted, replay
from privacy.sealing.manifest import Split
from tests.support.api import (
    House,
    dataset_body,
    done,
    grant_body,
    house,
    job_body,
    population_body,
    refused,
    worker_of,
)

SCHEMA: dict[str, Any] = {
    "columns": [
        {"name": "mrn", "kind": "identifier"},
        {"name": "dose", "kind": "numeric", "low": "0", "high": "1"},
        {"name": "outcome", "kind": "categorical", "categories": ["well", "ill"]},
    ]
}
UNIT = {"kind": "column", "noun": "patient"}
ANY = {"If-Match": "*"}
RECIPE = {"steps": 4, "sampling_rate": "0.5"}


def month(start: int, count: int = 200) -> bytes:
    """Stays of patients of which half were there the month before; every third has two."""
    names = [name for number in range(start, start + count) for name in [number] * (1 + (number % 3 == 0))]
    lines = [f"p{name},{(name % 97) / 100},{'ill' if name % 2 else 'well'}" for name in names]
    return ("mrn,dose,outcome\n" + "\n".join(lines) + "\n").encode()


def upload(made: House, dataset: str, data: bytes) -> VersionRecord:
    """Seal a version; return its row."""
    sent = made["owner"].put(f"/v1/datasets/{dataset}/content", content=data)
    done(sent, 202)
    assert worker_of(made).step()
    found = done(made["owner"].get(sent.headers["location"]))
    assert found["state"] == "sealed", found
    with made.gateway.on.database.read() as reading:
        return reading.versions.get(id=VersionId(found["version"]))


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Two datasets of one population: January, and February after a second block was opened."""
    with house(tmp_path_factory.mktemp("months") / "home") as made:
        admin, owner = made["admin"], made["owner"]
        for purpose, within in (("research", []), ("research/oncology", ["research"])):
            done(admin.post("/v1/purposes", {"purpose": purpose, "within": within}), 201)
        body = population_body(unit=UNIT, epsilon="20", holdout_share="0.2")
        population = str(done(owner.post("/v1/populations", body), 201)["population"])
        made.ids["population"] = population
        for name in ("january", "february"):
            unit = UNIT | {"column": "mrn", "rows_per_unit": 2}
            dataset = str(
                done(owner.post("/v1/datasets", dataset_body(population, schema=SCHEMA, unit=unit)), 201)["dataset"]
            )
            made.ids[name] = dataset
            done(owner.post("/v1/grants", grant_body(made["trainer"].principal, dataset)), 201)
        assert upload(made, made.ids["january"], month(0)).home == 1
        done(owner.put(f"/v1/populations/{population}/blocks/2", {"public_size": 100}, headers=ANY))
        assert upload(made, made.ids["february"], month(100)).home == 2
        yield made


def charged(made: House) -> dict[str, Decimal]:
    """What each block has lost."""
    found = done(made["owner"].get(f"/v1/populations/{made.ids['population']}"))
    return {block["block"]: Decimal(block["charged"]) for block in found["blocks"]}


def train(made: House, dataset: str, **changes: Any) -> JobRecord:
    """Run a training to its end."""
    body = job_body(made.ids[dataset], **({"recipe": RECIPE} | changes))
    job = done(made["trainer"].post("/v1/jobs", body), 202)["job"]
    assert worker_of(made).step()
    with made.gateway.on.database.read() as reading:
        found = reading.jobs.get(id=JobId(job))
    assert found.state == "finished", found.state
    return found


def certified(made: House, job: JobRecord) -> list[tuple[Block, bool | None]]:
    """The blocks of a job's certificate, of which every number follows from the others."""
    with made.gateway.on.database.read() as reading:
        release = reading.releases.get(id=job.release)
    predicate = PrivacyCertificate.parse(Envelope.from_bytes(release.certificate).payload).predicate
    assert check(predicate) == ()
    return [(part.block, part.earlier) for part in predicate.mechanisms]


def test_a_job_on_home_units_charges_their_block_alone(hospital: House) -> None:
    """And the plan divides by the size that was declared for the block, not by the population's."""
    before = charged(hospital)
    job = train(hospital, "february", rows="home")
    after = charged(hospital)
    assert after["train/2"] > before["train/2"]
    assert {name: after[name] for name in after if name != "train/2"} == {
        name: before[name] for name in before if name != "train/2"
    }
    assert job.plan["normaliser"] == "40"
    assert certified(hospital, job) == [(Block.TRAIN.at(2), None)]


def test_a_job_on_all_rows_charges_everybody_who_may_be_in_them(hospital: House) -> None:
    """January's patients came back in February: their block loses as much."""
    before = charged(hospital)
    job = train(hospital, "february")
    after = charged(hospital)
    gained = {name: after[name] - before[name] for name in after}
    assert gained["train"] == gained["train/2"] > 0
    assert gained["holdout"] == gained["holdout/2"] == 0
    assert job.plan["normaliser"] == "200"
    assert certified(hospital, job) == [(Block.TRAIN.at(2), True)]
    before = after
    train(hospital, "january")
    after = charged(hospital)
    assert after["train"] > before["train"]
    assert after["train/2"] == before["train/2"]


def test_what_a_child_sees_is_what_is_paid_for(hospital: House, tmp_path: Path) -> None:
    """The files follow from the holds; a hold on another block opens nothing."""
    on = hospital.gateway.on
    with on.database.read() as reading:
        (version,) = reading.versions.all(dataset=hospital.ids["february"])
        held = {}
        for job in reading.jobs.all(dataset=hospital.ids["february"]):
            found = reading.ledger.read(PopulationId(job.population), job=job.id).reservation
            assert found is not None
            held[job.spec.get("rows", "all")] = found
        (january,) = reading.versions.all(dataset=hospital.ids["january"])
    for rows, names in (("home", {"train-00000"}), ("all", {"train-00000", "train-earlier-00000"})):
        home_only = launcher_parts.paid_home_only(held[rows], version)
        files = launcher_parts.listed_parts(on.blobs, version, Split.TRAIN, tmp_path / rows, home_only=home_only)
        assert {file.aad.rpartition("/")[2] for file in files} == names
    with pytest.raises(CorruptError):
        launcher_parts.paid_home_only(held["home"], january)


def test_blocks_are_opened_one_after_the_other(hospital: House) -> None:
    """Again the same is nothing new; another size, a gap and a stranger are refused."""
    path = f"/v1/populations/{hospital.ids['population']}/blocks"
    owner = hospital["owner"]
    seq = done(owner.get(f"/v1/populations/{hospital.ids['population']}"))["ledger_seq"]
    assert done(owner.put(f"{path}/2", {"public_size": 100}, headers=ANY))["ledger_seq"] == seq
    refused(owner.put(f"{path}/2", {"public_size": 200}, headers=ANY), 409)
    refused(owner.put(f"{path}/4", {"public_size": 100}, headers=ANY), 409)
    refused(owner.put(f"{path}/3", {"public_size": 123}, headers=ANY), 422)
    refused(hospital["trainer"].put(f"{path}/3", {"public_size": 100}, headers=ANY), 403)


def test_a_quote_tells_the_block_that_is_charged(hospital: House) -> None:
    """Before anything is held."""
    for rows, block in ((None, "train/2"), ("home", "train/2")):
        body = job_body(hospital.ids["february"], recipe=RECIPE, **({} if rows is None else {"rows": rows}))
        quoted = done(hospital["trainer"].post("/v1/quotes", body))
        assert quoted["quote"]["block"] == block


def test_the_log_is_sound_and_a_hold_on_another_block_is_found(hospital: House) -> None:
    """The offline replay knows from the seal's event which block the rows are in."""
    with hospital.gateway.on.database.read() as reading:
        events = list(reading.ledger.events(PopulationId(hospital.ids["population"])))
        sealed = reading.versions.all(dataset=hospital.ids["february"])[0]
    assert sealed.manifest_digest is not None
    seal = VersionSealed(
        version=sealed.id,
        dataset=DatasetId(hospital.ids["february"]),
        population=PopulationId(hospital.ids["population"]),
        manifest=sealed.manifest_digest,
        dek=sealed.dek or DekId(""),
        kek_version=1,
        home=2,
    )
    now = hospital.gateway.on.clock.now()
    posted = [Posted(index=i, at=now, event=event) for i, event in enumerate([seal, *events])]
    faults = {finding.fault.name for finding in replay(posted).findings}
    assert "WRONG_BLOCK" not in faults
    forged = dataclasses.replace(seal, home=1)
    again = [Posted(index=0, at=now, event=forged), *posted[1:]]
    assert "WRONG_BLOCK" in {finding.fault.name for finding in replay(again).findings}
    assert Block.TRAIN.at(2) in {hold.block for event in events for hold in getattr(event, "holds", ())}
