"""Evidence of one job on data of sites, and forgeries of its parties' documents with the real keys of whoever forges.

A document is told differently by its members, signed by a key of choice, and everything that named it by its digest in
the log or in a certificate names the forgery. Other documents stay as they were signed: nobody but their own signers
could follow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from audit.trust import LastSeen
from kernel import canonical
from kernel.canonical import digest_of
from kernel.ids import Slug
from kernel.signing import Ed25519Signer, Envelope, sign_envelope
from privacy.homomorphic.documents.parties import Identity
from tests.support.api import House
from tests.support.cycles import SIGNERS, Cycle
from tests.support.exports import exported
from tests.support.forgeries import Story, forge
from tests.support.hospitals import Hospitals

Members = dict[str, Any]


@dataclass(frozen=True)
class Evidence:
    """One job from its request to its release.

    Attributes:
        cycle: The bundle, what was pinned but no checkpoint, and the gateway's keys.
        signers: Keys of the parties by their numbers, and `gateway`.
        identities: Who the parties are, key holder first.
        job: The job's number.
        names: The parties' numbers by their names.
    """

    cycle: Cycle
    signers: Mapping[str, Ed25519Signer]
    identities: tuple[Identity, ...]
    job: str
    names: Mapping[str, str]

    def file(self, name: str) -> str:
        """A document's file, with parties by their names: `upload-1-hospital-2`."""
        for party, number in self.names.items():
            name = name.replace(party, number)
        return f"parties/{self.job}/{name}.json"

    def told(self, target: Path, name: str, change: Callable[[Members], Members], by: str) -> Path:
        """A copy of the bundle in which a document says something else, signed by somebody."""
        signer = self.signers[self.names.get(by, by)]
        envelope = Envelope.from_bytes((self.cycle.bundle / self.file(name)).read_bytes())
        before: Members = json.loads(envelope.payload)
        after = change(dict(before))
        kind = envelope.payload_type.removeprefix("application/vnd.privgate.").removesuffix(".v1+json")
        tag = f"{kind}/v1"
        old, new = digest_of(tag, before), digest_of(tag, after)

        def follow(story: Story) -> None:
            for entry in story.entries:
                entry.payload = json.loads(json.dumps(entry.payload).replace(old, new))
            for release, statement in story.certificates.items():
                story.certificates[release] = json.loads(json.dumps(statement).replace(old, new))

        forge(self.cycle, target, follow)
        signed = sign_envelope(envelope.payload_type, canonical.encode(after), signer).to_bytes()
        (target / self.file(name)).write_bytes(signed)
        return target


def evidence_of(made: House, hospitals: Hospitals, job: str, folder: Path) -> Evidence:
    """Play an admitted job to its release, and export."""
    ended = hospitals.play(job)
    assert ended["state"] == "finished", [party.told for party in hospitals.everybody]
    trust = exported(made, ended, folder).trust
    keys = {name: _seed(made, name) for name in SIGNERS}
    signers = {"gateway": Ed25519Signer(keys["certificate"])}
    for party in hospitals.everybody:
        with party.home() as home:
            signers[str(party.party)] = home.signer
    return Evidence(
        Cycle(folder, replace(trust, last_seen=LastSeen()), keys),
        signers,
        tuple(party.who for party in hospitals.everybody),
        job,
        {party.name: str(party.party) for party in hospitals.everybody},
    )


def _seed(made: House, name: str) -> bytes:
    with made.gateway.on.keyring.secret(Slug(f"signing/{name}")) as seed:
        return seed.reveal()
