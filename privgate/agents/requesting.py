"""The key that an agent shows its certificate with, and the request for that certificate.

Rules
-----
1. The key is made here and never leaves; the gateway's authority signs a request for it (PKCS #10).
2. The request's name is the agent's, for people who read certificates; what counts is the certificate's fingerprint,
   which the gateway keeps beside the party.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kernel.canonical import Digest
from kernel.errors import CorruptError
from kernel.ids import Slug
from privacy.sealing.secret import SecretBytes


def new_tls_key() -> SecretBytes:
    """Draw a P-256 key; PEM, PKCS #8."""
    key = ec.generate_private_key(ec.SECP256R1())
    return SecretBytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def is_for(certificate: str, key: SecretBytes) -> bool:
    """Whether a certificate in PEM is for that key."""
    private = serialization.load_pem_private_key(key.reveal(), None)
    try:
        found = x509.load_pem_x509_certificate(certificate.encode("ascii")).public_key()
    except (ValueError, UnicodeEncodeError):
        return False
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return found.public_bytes(*form) == private.public_key().public_bytes(*form)


@dataclass(frozen=True, slots=True)
class Term:
    """From when until when a certificate is good, and its digest, by which the gateway knows it."""

    begins: datetime
    ends: datetime
    digest: Digest

    @classmethod
    def of(cls, certificate: str) -> Term:
        """Read it from a certificate in PEM; raise `CorruptError` if it is none."""
        try:
            read = x509.load_pem_x509_certificate(certificate.encode("ascii"))
        except (ValueError, UnicodeEncodeError):
            raise CorruptError("the enrolment's certificate is damaged: its owner renews it") from None
        der = read.public_bytes(serialization.Encoding.DER)
        return cls(read.not_valid_before_utc, read.not_valid_after_utc, Digest.of(der))

    def has_ended(self, now: datetime) -> bool:
        """Whether it is good no more."""
        return now >= self.ends

    def is_due(self, now: datetime) -> bool:
        """Whether less than a third of its life is left."""
        return self.ends - now < (self.ends - self.begins) / 3


def certificate_request(key: SecretBytes, name: Slug) -> str:
    """The request for a certificate of that key, PEM."""
    private = serialization.load_pem_private_key(key.reveal(), None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise CorruptError("the sealed key for TLS is of another kind")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(private, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode("ascii")
