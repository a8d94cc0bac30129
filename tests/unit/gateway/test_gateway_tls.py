"""The local authority: good for loopback alone, short-lived leaves, keys that only we may read."""

from __future__ import annotations

import socket
import ssl
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from gateway.tls import LEAF_DAYS, RENEW_DAYS, LocalAuthority, server_context
from kernel.clock import ManualClock, SystemClock

DAY = 24 * 3600


def leaf_of(authority: LocalAuthority) -> x509.Certificate:
    """The present leaf."""
    certificate, _ = authority.leaf()
    return x509.load_pem_x509_certificate(certificate.read_bytes())


def test_keys_are_ours_alone_and_nothing_is_made_twice(tmp_path: Path) -> None:
    """Directory 0700, keys 0600; a second start finds the same authority and the same leaf."""
    authority = LocalAuthority(tmp_path / "tls", SystemClock())
    first = leaf_of(authority)
    ca = authority.ca_certificate.read_bytes()
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700
    for name in ("ca.key", "server.key"):
        assert stat.S_IMODE((tmp_path / "tls" / name).stat().st_mode) == 0o600
    again = LocalAuthority(tmp_path / "tls", SystemClock())
    assert leaf_of(again) == first
    assert again.ca_certificate.read_bytes() == ca


def test_the_authority_can_vouch_for_loopback_alone(tmp_path: Path) -> None:
    """Critical name constraints, no further authorities, and a leaf for exactly localhost and loopback."""
    authority = LocalAuthority(tmp_path / "tls", SystemClock())
    leaf = leaf_of(authority)
    ca = x509.load_pem_x509_certificate(authority.ca_certificate.read_bytes())
    constraints = ca.extensions.get_extension_for_class(x509.NameConstraints)
    permitted = {str(name.value) for name in constraints.value.permitted_subtrees or ()}
    assert constraints.critical
    assert permitted == {"localhost", "127.0.0.0/8", "::1/128"}
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_leaf_is_renewed_before_it_ends_by_the_same_authority(tmp_path: Path) -> None:
    """Kept while more than ten days remain, made anew after that; what clients pin stays."""
    clock = ManualClock(datetime(2026, 11, 23, tzinfo=UTC))
    authority = LocalAuthority(tmp_path / "tls", clock)
    first, ca = leaf_of(authority), authority.ca_certificate.read_bytes()
    clock.advance((LEAF_DAYS - RENEW_DAYS) * DAY - 1)
    assert leaf_of(authority) == first
    clock.advance(1)
    second = leaf_of(authority)
    assert second.serial_number != first.serial_number
    assert (second.not_valid_after_utc - clock.now()).days == LEAF_DAYS
    assert authority.ca_certificate.read_bytes() == ca


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str | None:
    """Connect over a socket pair; the version that was agreed on."""
    ours, theirs = socket.socketpair()
    accepting = threading.Thread(target=_accept, args=(server, ours))
    accepting.start()
    try:
        with client.wrap_socket(theirs, server_hostname=name) as wrapped:
            return wrapped.version()
    finally:
        theirs.close()
        accepting.join()


def _accept(server: ssl.SSLContext, ours: socket.socket) -> None:
    try:
        with server.wrap_socket(ours, server_side=True):
            return
    except (ssl.SSLError, OSError):
        ours.close()


def test_only_tls_1_3_by_the_pinned_authority_for_the_right_name(tmp_path: Path) -> None:
    """The one good handshake, and each thing that spoils it."""
    authority = LocalAuthority(tmp_path / "tls", SystemClock())
    server = server_context(*authority.leaf())
    pinned = ssl.create_default_context(cafile=str(authority.ca_certificate))
    assert handshake(server, pinned, "localhost") == "TLSv1.3"
    other = LocalAuthority(tmp_path / "other", SystemClock())
    other.leaf()
    stranger = ssl.create_default_context(cafile=str(other.ca_certificate))
    old = ssl.create_default_context(cafile=str(authority.ca_certificate))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    for client, name in ((stranger, "localhost"), (old, "localhost"), (pinned, "gateway.example")):
        with pytest.raises(ssl.SSLError):
            handshake(server, client, name)


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    """Nothing is signed with what is not the authority's own kind of key."""
    authority = LocalAuthority(tmp_path / "tls", SystemClock())
    authority.leaf()
    key = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "tls" / "ca.key").write_bytes(key)
    with pytest.raises(TypeError):
        authority.leaf()
