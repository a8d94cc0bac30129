"""The key that an agent shows its certificate with, and the request for that certificate.

Rules
-----
1. The key is made here and never leaves; the gateway's authority signs a request for it (PKCS #10).
2. The request's name is the agent's, for people who read certificates; what counts is the certificate's fingerprint,
   which the gateway keeps beside the party.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kernel.errors import CorruptError
from kernel.ids import Slug
from privacy.sealing.secret import SecretBytes


def new_tls_key() -> SecretBytes:
    """Draw a P-256 key; PEM, PKCS #8."""
    key = ec.generate_private_key(ec.SECP256R1())
    return SecretBytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def certificate_request(key: SecretBytes, name: Slug) -> str:
    """The request for a certificate of that key, PEM."""
    private = serialization.load_pem_private_key(key.reveal(), None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise CorruptError("the sealed key for TLS is of another kind")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(private, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode("ascii")
