"""The agents' way to a gateway, over real TLS: both sides with certificates, and nothing of what arrives is trusted."""

from __future__ import annotations

import http.server
import os
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.party_authority import PartyAuthority
from gateway.tls import LocalAuthority
from kernel.clock import SystemClock
from kernel.errors import ConflictError, InvalidError, TooLargeError, UnavailableError
from kernel.ids import JobId, PartyId, Slug
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.signed import PARCEL_LIMIT, DocumentKind
from privgate.agents.channel import Access, HttpsChannel
from privgate.agents.requesting import certificate_request, new_tls_key

JOB = JobId.new(os.urandom)
ORDER = Place(JOB, DocumentKind.ORDER)
KEY = Place(JOB, DocumentKind.KEY)


class Answers(http.server.BaseHTTPRequestHandler):
    """A gateway's listener, as simple as one can be."""

    protocol_version = "HTTP/1.1"
    kept: dict[str, bytes] = {}

    def do_GET(self) -> None:
        if self.path == "/parties/v1/work":
            self._answer(200, self.kept["work"])
        elif self.path in self.kept:
            self._answer(200, self.kept[self.path])
        else:
            self._answer(404, b"{}")

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        known = self.kept.setdefault(self.path, body)
        self._answer(201 if known == body else 409, b"{}")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Silent."""


@pytest.fixture(scope="module")
def access(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Access]:
    """A listener that demands the certificates of one authority, and a party's way to it."""
    folder, clock = tmp_path_factory.mktemp("tls"), SystemClock()
    local, parties = LocalAuthority(folder / "tls", clock), PartyAuthority(folder / "parties", clock)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.socket = parties.context(*local.leaf()).wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    key = new_tls_key()
    issued = parties.issue(certificate_request(key, Slug("north")), PartyId.new(os.urandom))
    authority = local.ca_certificate.read_text(encoding="ascii")
    url = f"https://127.0.0.1:{server.server_address[1]}"
    yield Access(url=url, authority=authority, certificate=issued.pem, key=key)
    server.shutdown()
    server.server_close()


def test_documents_come_and_go(access: Access) -> None:
    """What is not there is nothing; the same bytes again are accepted, others are a conflict."""
    Answers.kept = {"work": b'{"jobs":["%s"]}' % JOB.encode()}
    with HttpsChannel(access) as channel:
        assert list(channel.work()) == [JOB]
        assert channel.fetch(ORDER) is None
        channel.post(KEY, b"key")
        channel.post(KEY, b"key")
        assert channel.fetch(KEY) == b"key"
        with pytest.raises(ConflictError):
            channel.post(KEY, b"another")


def test_nobody_gets_in_without_a_certificate_of_the_gateways_authority(access: Access, tmp_path: Path) -> None:
    """One of another authority is as good as none."""
    other = PartyAuthority(tmp_path / "other", SystemClock())
    issued = other.issue(certificate_request(access.key, Slug("north")), PartyId.new(os.urandom))
    with HttpsChannel(replace(access, certificate=issued.pem)) as channel, pytest.raises(UnavailableError):
        channel.work()


def test_an_agent_talks_to_no_other_listener(access: Access, tmp_path: Path) -> None:
    """Whoever answers has to have a certificate of the authority that was pinned."""
    impostor = LocalAuthority(tmp_path / "impostor", SystemClock())
    impostor.leaf()
    wrong = replace(access, authority=impostor.ca_certificate.read_text(encoding="ascii"))
    with HttpsChannel(wrong) as channel, pytest.raises(UnavailableError):
        channel.work()


@pytest.mark.parametrize(
    "work", [b"", b"{}", b'{"jobs":[1]}', b'{"jobs":["../etc"]}', b"[" * 10_000, b"x" * 2**20 + b"x"]
)
def test_a_list_of_work_that_is_none_costs_a_poll(access: Access, work: bytes) -> None:
    """Never more than that."""
    Answers.kept = {"work": work}
    with HttpsChannel(access) as channel, pytest.raises((UnavailableError, TooLargeError)):
        channel.work()


def test_an_answer_without_an_end_is_cut_off(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway does not fill an agent's memory."""
    monkeypatch.setattr("privgate.agents.channel.PARCEL_LIMIT", 1000)
    assert PARCEL_LIMIT > 1000
    Answers.kept = {ORDER.path: b"x" * 5000}
    with HttpsChannel(access) as channel, pytest.raises(TooLargeError):
        channel.fetch(ORDER)


def test_nobody_there_is_said(access: Access) -> None:
    """And a damaged enrolment, too."""
    with HttpsChannel(replace(access, url="https://127.0.0.1:9")) as channel, pytest.raises(UnavailableError):
        channel.fetch(ORDER)
    for wrong in ({"url": "http://127.0.0.1"}, {"certificate": "none"}, {"authority": "none"}):
        with pytest.raises(InvalidError):
            HttpsChannel(replace(access, **wrong))


def test_no_older_protocol_is_spoken(access: Access) -> None:
    """TLS 1.3 on both sides."""
    context = ssl.create_default_context(cadata=access.authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    host, _, port = access.url.removeprefix("https://").partition(":")
    import socket

    with socket.create_connection((host, int(port))) as raw, pytest.raises(ssl.SSLError):
        context.wrap_socket(raw, server_hostname=host)
