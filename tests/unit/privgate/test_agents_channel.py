"""The agents' way to a gateway, over real TLS: both sides with certificates, and nothing of what arrives is trusted."""

from __future__ import annotations

import contextlib
import http.server
import os
import socket
import ssl
import threading
import time
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
from privgate.agents.channel import Access, HttpsChannel, RejectedError
from privgate.agents.requesting import certificate_request, new_tls_key

JOB = JobId.new(os.urandom)
ORDER = Place(JOB, DocumentKind.ORDER)
KEY = Place(JOB, DocumentKind.KEY)


class Answers(http.server.BaseHTTPRequestHandler):
    """A gateway's listener, as simple as one can be."""

    protocol_version = "HTTP/1.1"
    kept: dict[str, bytes] = {}
    status = 0
    raw: tuple[bytes, bytes] = (b"", b"")

    def do_GET(self) -> None:
        if self.raw[0]:
            self._pour()
        elif self.status:
            self._answer(self.status, b"{}", {"Location": "/elsewhere"})
        elif self.path == "/parties/v1/work":
            self._answer(200, self.kept["work"])
        elif self.path in self.kept:
            self._answer(200, self.kept[self.path])
        else:
            self._answer(404, b"{}")

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.raw[0] or self.status:
            self.do_GET()
            return
        known = self.kept.setdefault(self.path, body)
        self._answer(201 if known == body else 409, b"{}")

    def _pour(self) -> None:
        """Write one thing once and another as long as anybody reads, drop by drop."""
        once, again = self.raw
        self.close_connection = True
        try:
            self.wfile.write(once)
            while again:
                self.wfile.write(again)
                self.wfile.flush()
                time.sleep(0.02)
        except OSError:
            return

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Silent."""


@pytest.fixture(autouse=True)
def _honest() -> None:
    Answers.status, Answers.raw = 0, (b"", b"")


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
    with socket.create_connection((host, int(port))) as raw, pytest.raises(ssl.SSLError):
        context.wrap_socket(raw, server_hostname=host)


@pytest.mark.parametrize("status", [400, 404, 405, 410, 413, 415, 422, 451])
def test_what_will_be_refused_again_is_said_to_be_so(access: Access, status: int) -> None:
    """Trying the same bytes again cannot help; only an answer of 404 to a question means that nothing is there yet."""
    Answers.status = status
    with HttpsChannel(access) as channel:
        with pytest.raises(RejectedError, match=str(status)):
            channel.post(KEY, b"key")
        if status == 404:
            assert channel.fetch(ORDER) is None
        else:
            with pytest.raises(RejectedError):
                channel.fetch(ORDER)


@pytest.mark.parametrize("status", [301, 307, 401, 403, 408, 425, 429, 500, 502, 503])
def test_what_people_or_time_may_mend_is_tried_again(access: Access, status: int) -> None:
    """And nobody is followed to another address: a redirect is no answer."""
    Answers.status = status
    with HttpsChannel(access) as channel:
        with pytest.raises(UnavailableError):
            channel.post(KEY, b"key")
        with pytest.raises(UnavailableError):
            channel.fetch(ORDER)
        Answers.status = 0
        Answers.kept = {}
        channel.post(KEY, b"key")


_BEGUN = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_ENDLESS = {
    "body": (_BEGUN, b"1\r\nx\r\n"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X-Again: and again\r\n"),
    "interim": (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
}


@pytest.mark.parametrize("part", sorted(_ENDLESS))
@pytest.mark.parametrize("act", ["fetch", "post"])
def test_a_gateway_that_never_stops_talking_is_left(
    access: Access, part: str, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each pause is short, so that no limit on pauses ends it: the whole answer has a time, whichever part it is in."""
    monkeypatch.setattr("privgate.agents.channel.SLOWEST_RATE", 10_000_000)
    Answers.raw = _ENDLESS[part]
    with HttpsChannel(access, timeout_seconds=0.2) as channel:
        with pytest.raises(UnavailableError):
            channel.fetch(ORDER) if act == "fetch" else channel.post(KEY, b"key")
        Answers.raw, Answers.kept = (b"", b""), {ORDER.path: b"order"}
        assert _at_last(channel) == b"order"


def _at_last(channel: HttpsChannel) -> bytes | None:
    """What is there, however slowly this machine connects beside others' work: the channel's patience here is short."""
    for _ in range(100):
        with contextlib.suppress(UnavailableError):
            return channel.fetch(ORDER)
    raise AssertionError("the channel does not work any more")


def test_what_is_said_beside_a_status_is_not_read_to_its_end(access: Access) -> None:
    """Megabytes beside a 503 fill nobody's memory, and the next answer is read all the same."""
    Answers.raw = (b"HTTP/1.1 503 Busy\r\nContent-Length: 40000000\r\n\r\n" + b"x" * 2**21, b"")
    with HttpsChannel(access) as channel:
        with pytest.raises(UnavailableError, match="503"):
            channel.post(KEY, b"key")
        Answers.raw, Answers.kept = (b"", b""), {}
        assert channel.fetch(ORDER) is None


def test_what_comes_compressed_is_not_unpacked(access: Access) -> None:
    """Nobody asked for it, and a few bytes could become gigabytes: what came is handed on as it came."""
    body = b"\x1f\x8b not unpacked"
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n".encode("ascii")
    Answers.raw = (head + body, b"")
    with HttpsChannel(access) as channel:
        assert channel.fetch(ORDER) == body
