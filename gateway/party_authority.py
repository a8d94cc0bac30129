"""Certificates for parties: how a connection to the second listener is known to be a party's own.

Rules
-----
1. The authority issues certificates for clients alone, and no listener trusts it for anything else. A certificate names
   its party, lives a year, and counts only while the party is enrolled with exactly this one.
2. It signs what a request proves to hold: a key of a kind that TLS 1.3 uses, by its own signature.
3. That a connection is a party's makes nothing true that the party says: sites and key holder believe signatures of
   identities that they pinned (RULES 33).
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.tls import key_usage, server_context, write_private
from kernel.canonical import Digest
from kernel.clock import Clock
from kernel.errors import InvalidError
from kernel.ids import PartyId

_Key: TypeAlias = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
CA_DAYS = 3650
PARTY_DAYS = 366
_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Privgate party authority")])


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate.

    Attributes:
        pem: Itself.
        digest: By which the gateway knows its connections.
        key: The digest of its public key.
        until: Until when it is good.
    """

    pem: str
    digest: Digest
    key: Digest
    until: datetime


class PartyAuthority:
    """A certificate authority in a directory, for parties."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock

    @property
    def certificate(self) -> Path:
        """The authority's own certificate, made if there is none."""
        self._load()
        return self._directory / "ca.pem"

    def context(self, chain: Path, key: Path) -> ssl.SSLContext:
        """A listener's context: TLS 1.3 only, and no connection without a certificate of this authority."""
        context = server_context(chain, key)
        context.load_verify_locations(self.certificate)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def issue(self, request: str, party: PartyId) -> Issued:
        """Sign a certificate request (PEM) for a party; raise `InvalidError` if it proves no key."""
        _, key = _proven(request)
        ca_key, ca = self._load()
        now = self._clock.now()
        until = (now + timedelta(days=PARTY_DAYS)).replace(microsecond=0)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, party)]))
            .issuer_name(ca.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=True)
            .add_extension(key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )
        certificate = builder.sign(ca_key, hashes.SHA256())
        der = certificate.public_bytes(serialization.Encoding.DER)
        pem = certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")
        return Issued(pem, Digest.of(der), _digest_of(key), until)

    def _load(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        key_file, file = self._directory / "ca.key", self._directory / "ca.pem"
        if not file.exists():
            self._make(key_file, file)
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError("the party authority's key is not an elliptic-curve key")
        return key, x509.load_pem_x509_certificate(file.read_bytes())

    def _make(self, key_file: Path, file: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        now = self._clock.now()
        builder = (
            x509.CertificateBuilder()
            .subject_name(_NAME)
            .issuer_name(_NAME)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=CA_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_private(key_file, pem)
        fresh = file.with_name(f"{file.name}.{os.getpid()}")
        fresh.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        fresh.replace(file)


def requested(request: str) -> tuple[str, Digest]:
    """In whose name a certificate request is, and the digest of the key that it proves.

    Raises:
        InvalidError: It proves no key, or has another name than one.
    """
    subject, key = _proven(request)
    names = [attribute.value for attribute in subject]
    if len(names) != 1 or not isinstance(names[0], str):
        raise InvalidError("a request is in the party's name alone", field="request")
    return names[0], _digest_of(key)


def _digest_of(key: _Key) -> Digest:
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Digest.of(der)


def _proven(request: str) -> tuple[x509.Name, _Key]:
    try:
        read = x509.load_pem_x509_csr(request.encode("ascii"))
        key = read.public_key()
        proven = read.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidError("`request` must be a certificate request in PEM", field="request") from None
    fits = isinstance(key, ed25519.Ed25519PublicKey) or (
        isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
    )
    if not proven or not fits:
        raise InvalidError("`request` must prove a key on P-256 or Ed25519", field="request")
    assert isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey)
    return read.subject, key
