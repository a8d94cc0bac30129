"""What scenarios of every kind of job walk through by HTTP: declare, upload, grant, ask, run, let go, fetch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audit.findings import Verdict
from audit.trust import TrustFile
from gateway.services.log_reading import trust_file
from kernel.signing import Envelope
from privacy.release.certificate import PrivacyCertificate
from privgate.verify.releases import ReleaseFolder, check_folder
from tests.support.api import House, dataset_body, done, grant_body, population_body, worker_of

FILES = ("certificate.json", "receipt.tlog-proof", "MODEL_CARD.md")


def sealed(made: House, rows: bytes, *, schema: Any = None, **population: Any) -> None:
    """Purposes, a population, and a dataset with sealed rows; their ids stand in the house."""
    admin, owner = made["admin"], made["owner"]
    for purpose, within in (("research", []), ("research/oncology", ["research"])):
        done(admin.post("/v1/purposes", {"purpose": purpose, "within": within}), 201)
    declared = {} if schema is None else {"schema": schema}
    made.ids = {"population": done(owner.post("/v1/populations", population_body(**population)), 201)["population"]}
    registered = done(owner.post("/v1/datasets", dataset_body(made.ids["population"], **declared)), 201)
    made.ids["dataset"] = registered["dataset"]
    sent = owner.put(f"/v1/datasets/{made.ids['dataset']}/content", content=rows)
    done(sent, 202)
    made.ids["version"] = sent.headers["location"]
    assert worker_of(made).step()


def granted(made: House, *job_kinds: str, **changes: Any) -> None:
    """A grant for the trainer."""
    body = grant_body(made["trainer"].principal, made.ids["dataset"], job_kinds=list(job_kinds))
    done(made["owner"].post("/v1/grants", body | changes), 201)


def released(made: House, request: Mapping[str, Any]) -> dict[str, str]:
    """Ask for a job, approve it where it waits for that, run it, and let its release go; return their ids."""
    trainer, owner = made["trainer"], made["owner"]
    job = done(trainer.post("/v1/jobs", request), 202)
    if job["state"] == "awaiting-approval":
        yes = {"verdict": "approved", "request_digest": job["request_digest"]}
        done(owner.post(f"/v1/jobs/{job['job']}/approval", yes))
    assert worker_of(made).step()
    ended = done(trainer.get(f"/v1/jobs/{job['job']}"))
    assert (ended["state"], ended["percent"]) == ("finished", 100), ended
    done(owner.post(f"/v1/releases/{ended['release']}/check", {"verdict": "release"}))
    made.settle()
    return {"job": job["job"], "release": ended["release"]}


def fetched(made: House, artifact: str, release: str | None = None) -> dict[str, bytes]:
    """The files of a release, by default the house's, under the names that they have in a folder."""
    path = f"/v1/releases/{release or made.ids['release']}/files/"
    found = {name: made["trainer"].get(path + name) for name in (*FILES, "artifact")}
    assert all(answer.status_code == 200 for answer in found.values())
    return {(artifact if name == "artifact" else name): bytes(answer.content) for name, answer in found.items()}


def certificate_of(files: Mapping[str, bytes]) -> PrivacyCertificate:
    """The certificate among the files of a release."""
    return PrivacyCertificate.parse(Envelope.from_bytes(files["certificate.json"]).payload)


def verified(made: House, files: Mapping[str, bytes]) -> Verdict:
    """What the verifier says of a release's folder."""
    trust: TrustFile = trust_file(made.gateway.on, made.tenant)
    return check_folder(ReleaseFolder("", dict(files)), trust, None).verdict
