"""A released result and the archive beside it in one folder, as a reader of evidence has them; other tellings of it."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.trust import TrustFile
from kernel import canonical
from kernel.signing import Envelope, sign_envelope
from privacy.release.statements import read_certificate
from privgate.verify import verify_bundle
from privgate.verify.verdict import BundleVerdict
from tests.support.api import House, Person, done

PAPERS = ("certificate.json", "receipt.tlog-proof", "MODEL_CARD.md")


@dataclass(frozen=True)
class Exported:
    """One job's evidence.

    Attributes:
        job: The job.
        bundle: The folder.
        trust: What its reader pinned.
    """

    job: str
    bundle: Path
    trust: TrustFile

    def released(self, name: str) -> bytes:
        """A file of the release."""
        return (self.bundle / "release" / name).read_bytes()

    @property
    def stated(self) -> dict[str, Any]:
        """What the certificate says."""
        predicate: dict[str, Any] = json.loads(Envelope.from_bytes(self.released("certificate.json")).payload)
        return predicate["predicate"]

    def judged(self) -> BundleVerdict:
        """The verifier's word."""
        return verify_bundle(self.bundle, self.trust)

    def judged_after(self, made: House, change: Callable[[dict[str, Any]], object], target: Path) -> BundleVerdict:
        """The verifier's word if the certificate said something else, well-formed and signed by the gateway itself.

        Args:
            made: The gateway whose key signs.
            change: Alters what is stated in place.
            target: A folder that does not exist yet, for the copy.
        """
        shutil.copytree(self.bundle, target)
        told = {place: Envelope.from_bytes(place.read_bytes()) for place in (target / "certificates").iterdir()}
        place, envelope = next((place, found) for place, found in told.items() if self.job.encode() in found.payload)
        body = json.loads(envelope.payload)
        change(body["predicate"])
        forged = sign_envelope(envelope.payload_type, canonical.encode(body), made.gateway.on.certificate_signer)
        read_certificate(forged.payload)
        place.write_bytes(forged.to_bytes())
        return verify_bundle(target, self.trust)


def exported(
    made: House, ended: Mapping[str, Any], target: Path, *, checker: str = "owner-2", reader: Person | None = None
) -> Exported:
    """Let the release of a job go, and lay everything out.

    Args:
        made: The gateway.
        ended: The finished job, as the API tells it.
        target: A folder that does not exist yet.
        checker: Who lets the release go.
        reader: Who fetches it; the trainer if it is nobody else.
    """
    done(made[checker].post(f"/v1/releases/{ended['release']}/check", {"verdict": "release"}))
    made.settle()
    files = files_of(reader or made["trainer"], ended["release"])
    return Exported(ended["job"], target, bundle_of(made, files, target))


def files_of(reader: Person, release: str) -> dict[str, bytes]:
    """Everything of a published release, the artefact by its name."""
    files = {name: file_of(reader, release, name) for name in PAPERS}
    name = json.loads(Envelope.from_bytes(files["certificate.json"]).payload)["subject"][0]["name"]
    return files | {name: file_of(reader, release, "artifact")}


def file_of(reader: Person, release: str, name: str) -> bytes:
    """A file of a published release."""
    answer = reader.get(f"/v1/releases/{release}/files/{name}")
    assert answer.status_code == 200, answer.text
    return bytes(answer.content)


def bundle_of(made: House, files: Mapping[str, bytes], target: Path) -> TrustFile:
    """Write evidence as an auditor has it, with the files of a release; return what he pinned."""
    (target / "release").mkdir(parents=True)
    for name, content in files.items():
        (target / "release" / name).write_bytes(content)
    trust = TrustFile.from_bytes(canonical.encode(done(made["auditor"].get("/v1/trust"))["trust"]))
    made.settle()
    with tarfile.open(fileobj=io.BytesIO(made["auditor"].get("/v1/archive").content)) as archive:
        archive.extractall(target, filter="data")
    return trust
