"""TLS 1.3 for the listener, and a local certificate authority for machines that have none.

Rules
-----
1. TLS 1.3 is the only version offered.
2. The local CA is for loopback: its certificate carries critical name constraints, its leaves live 30 days and are
   renewed at start-up. Clients pin the CA file; they never switch verification off.
3. Private keys are written once, mode 0600, into a directory of mode 0700.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kernel.clock import Clock

CA_DAYS = 3650
LEAF_DAYS = 30
RENEW_DAYS = 10
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return a context that speaks TLS 1.3 only, with the given chain."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    return context


class LocalAuthority:
    """A certificate authority in a directory, good for `localhost` and loopback addresses only."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock

    @property
    def ca_certificate(self) -> Path:
        """The file that clients trust."""
        return self._directory / "ca.pem"

    def leaf(self) -> tuple[Path, Path]:
        """Return certificate and key for the listener, making or renewing what is missing or about to expire."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        ca_key, ca = self._load_or_make_ca()
        certificate, key = self._directory / "server.pem", self._directory / "server.key"
        if not self._is_fresh(certificate, ca):
            self._make_leaf(ca_key, ca, certificate, key)
        return certificate, key

    def _is_fresh(self, certificate: Path, ca: x509.Certificate) -> bool:
        if not certificate.exists():
            return False
        leaf = x509.load_pem_x509_certificate(certificate.read_bytes())
        remaining = leaf.not_valid_after_utc - self._clock.now()
        return leaf.issuer == ca.subject and remaining > timedelta(days=RENEW_DAYS)

    def _load_or_make_ca(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        key_file = self._directory / "ca.key"
        if key_file.exists():
            key = serialization.load_pem_private_key(key_file.read_bytes(), None)
            if not isinstance(key, ec.EllipticCurvePrivateKey):
                raise TypeError("the local CA's key is not an elliptic-curve key")
            return key, x509.load_pem_x509_certificate(self.ca_certificate.read_bytes())
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._ca_certificate(key)
        write_private(key_file, _pem(key))
        self.ca_certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return key, certificate

    def _ca_certificate(self, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Privgate local authority")])
        allowed = [x509.DNSName("localhost"), *(x509.IPAddress(network) for network in LOOPBACK)]
        builder = self._builder(name, name, key.public_key(), CA_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(x509.NameConstraints(allowed, None), critical=True)
        builder = builder.add_extension(key_usage(signs_certificates=True), critical=True)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        return builder.add_extension(identifier, critical=False).sign(key, hashes.SHA256())

    def _make_leaf(
        self, ca_key: ec.EllipticCurvePrivateKey, ca: x509.Certificate, certificate: Path, key_file: Path
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Privgate gateway")])
        addresses = [x509.IPAddress(ipaddress.ip_address(a)) for a in ("127.0.0.1", "::1")]
        builder = self._builder(name, ca.subject, key.public_key(), LEAF_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), *addresses]), critical=False
        )
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        builder = builder.add_extension(key_usage(signs_certificates=False), critical=True)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
        leaf = builder.add_extension(authority, critical=False).sign(ca_key, hashes.SHA256())
        write_private(key_file, _pem(key))
        certificate.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))

    def _builder(
        self, subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
    ) -> x509.CertificateBuilder:
        now: datetime = self._clock.now()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=days))
        )


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """What a certificate's key may do: sign certificates, or prove itself in a handshake."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def write_private(path: Path, content: bytes) -> None:
    """Write a new file of mode 0600, in place of one of that name."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
