"""Agents of sites and key holders as a gateway meets them: identities, certificates, connections."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.x509.oid import NameOID
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.channel.app import create_channel
from gateway.channel.peer import PEER
from kernel.canonical import Digest
from kernel.ids import PartyId, Slug
from kernel.signing import Ed25519Signer
from privacy.homomorphic.documents.attestation import Attestation
from privacy.homomorphic.documents.parties import Identity, Member, PartyKind, SealingKey
from privacy.homomorphic.documents.renewal import Renewal
from privgate.agents.requesting import certificate_request, new_tls_key
from tests.support.api import House, done


def request_of(key: ec.EllipticCurvePrivateKey) -> str:
    """A certificate request, in PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a party")])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode("ascii")


@dataclass
class Agent:
    """A party's own side: its keys, and what the gateway gave it."""

    name: str
    kind: PartyKind
    signer: Ed25519Signer
    sealing: X25519PrivateKey
    key: ec.EllipticCurvePrivateKey
    party: PartyId | None = None
    certificate: str = ""

    @classmethod
    def made(cls, name: str, kind: PartyKind) -> Agent:
        """Fresh keys."""
        key = ec.generate_private_key(ec.SECP256R1())
        return cls(name, kind, Ed25519Signer.generate(os.urandom), X25519PrivateKey.generate(), key)

    @property
    def who(self) -> Identity:
        """What others pin."""
        sealing = SealingKey(self.sealing.public_key().public_bytes_raw())
        return Identity(name=Slug(self.name), kind=self.kind, identity=self.signer.public_key, sealing=sealing)

    @property
    def member(self) -> Member:
        """As orders name it."""
        assert self.party is not None
        return Member(party=self.party, who=self.who)

    @property
    def body(self) -> dict[str, Any]:
        """What its owner enrols it with."""
        return {"identity": self.who.to_json(), "request": request_of(self.key)}

    @property
    def digest(self) -> Digest:
        """How the gateway knows its connections."""
        read = x509.load_pem_x509_certificate(self.certificate.encode("ascii"))
        return Digest.of(read.public_bytes(serialization.Encoding.DER))

    def renewal(self) -> bytes:
        """Its signed renewal, for a new key of its connections."""
        assert self.party is not None
        request = certificate_request(new_tls_key(), Slug(self.name))
        return Renewal(party=self.party, request=request, replaces=self.digest).signed(self.signer)

    def key_pem(self) -> bytes:
        """The key of its connections."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def attestation(self, dataset: dict[str, Any], rows: bytes = b"rows") -> bytes:
        """Its signed word about its rows."""
        from kernel.ids import DatasetId
        from privacy.schema import TableSchema

        assert self.party is not None
        said = Attestation(
            party=self.party,
            dataset=DatasetId(dataset["dataset"]),
            schema=TableSchema.from_json(dataset["table"]).digest,
            rows=Digest.of(rows),
        )
        return said.signed(self.signer)


def enrolled(made: House, owner: str, name: str, kind: PartyKind) -> Agent:
    """An agent that an owner enrolled."""
    agent = Agent.made(name, kind)
    answer = done(made[owner].post("/v1/parties", agent.body), 201)
    agent.party, agent.certificate = PartyId(answer["party"]), answer["certificate"]
    return agent


class _Connected:
    """The channel's app behind connections of one client, as the server's protocol leaves its mark on them."""

    def __init__(self, app: ASGIApp, peer: str | None) -> None:
        self._app, self._peer = app, peer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope[PEER] = self._peer
        await self._app(scope, receive, send)


@dataclass
class Channel:
    """The second listener of a house that runs without sockets."""

    made: House

    def as_(self, agent: Agent | None) -> TestClient:
        """A client whose connections are an agent's."""
        app = create_channel(self.made.client.app.state.privgate)  # type: ignore[attr-defined]  # a FastAPI app
        peer = None if agent is None else str(agent.digest)
        return TestClient(_Connected(app, peer), base_url="https://gateway.test", raise_server_exceptions=False)


@contextmanager
def channel(made: House) -> Iterator[Channel]:
    """The channel of a running house."""
    yield Channel(made)
