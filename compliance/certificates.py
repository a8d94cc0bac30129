"""The certificates that a history cites, read; shared by checks and the report's list of releases.

Whether a certificate is signed by a key that the reader pinned is asked by the bundle verifier. Here it counts because
the log holds its digest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from compliance.history import Entered, History
from kernel.canonical import Digest
from kernel.errors import PrivgateError
from kernel.ids import ReleaseId
from kernel.signing import Envelope
from privacy.events.releases import ReleaseHeld
from privacy.release.blind import BlindCertificate
from privacy.release.certificate import PAYLOAD_TYPE, PrivacyCertificate
from privacy.release.disclosure import DisclosureCertificate
from privacy.release.inference import InferenceCertificate
from privacy.release.noised import NoisedCertificate
from privacy.release.statements import read_certificate


@dataclass(frozen=True, slots=True)
class Certified:
    """A held release with its certificate.

    Attributes:
        present: Whether the archive has a document of its name.
        genuine: Whether that document has the digest that the log gives it.
        certificate: What it states, if it could be read; of an exact result `disclosure` instead, of
            a noised one of several sites `noised`, of an encrypted answer `inference`, of what its owner has alone
            `blind`.
    """

    held: Entered[ReleaseHeld]
    present: bool
    genuine: bool
    certificate: PrivacyCertificate | None
    disclosure: DisclosureCertificate | None = None
    noised: NoisedCertificate | None = None
    inference: InferenceCertificate | None = None
    blind: BlindCertificate | None = None


def certified(history: History) -> Mapping[ReleaseId, Certified]:
    """Every release that was ever held, with its certificate; read once."""
    known = history.memo.get("certified")
    if known is None:
        known = {held.event.release: _certified(history, held) for held in history.of(ReleaseHeld)}
        history.memo["certified"] = known
    return cast(Mapping[ReleaseId, Certified], known)


def _certified(history: History, held: Entered[ReleaseHeld]) -> Certified:
    data = history.certificates.get(held.event.release)
    if data is None:
        return Certified(held, present=False, genuine=False, certificate=None)
    genuine = Digest.of(data) == held.event.certificate
    try:
        envelope = Envelope.from_bytes(data)
        read = read_certificate(envelope.payload) if envelope.payload_type == PAYLOAD_TYPE else None
    except PrivgateError:
        read = None
    if isinstance(read, DisclosureCertificate):
        return Certified(held, present=True, genuine=genuine, certificate=None, disclosure=read)
    if isinstance(read, NoisedCertificate):
        return Certified(held, present=True, genuine=genuine, certificate=None, noised=read)
    if isinstance(read, InferenceCertificate):
        return Certified(held, present=True, genuine=genuine, certificate=None, inference=read)
    if isinstance(read, BlindCertificate):
        return Certified(held, present=True, genuine=genuine, certificate=None, blind=read)
    return Certified(held, present=True, genuine=genuine, certificate=read)
