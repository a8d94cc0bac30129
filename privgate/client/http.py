"""One HTTPS connection to a gateway: pinned authority, bearer token, problems as typed errors.

Rules
-----
1. TLS 1.3, verification always on; the authority is the one pinned at sign-in, or the system's.
2. No proxy, no redirect, no environment: the token goes to the address that the person named and nowhere else.
3. Whatever spends or starts something carries an Idempotency-Key, so that a lost answer can be asked for again.
4. What arrives is bounded: a gateway is not trusted to be small.
"""

from __future__ import annotations

import json
import secrets
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

import httpx2

from kernel.errors import InvalidError
from privgate.client.errors import GatewayError, ImpostorError, UnavailableError, error_for
from privgate.client.profiles import Profile

ANSWER_LIMIT = 64 * 2**20
UPLOAD_CHUNK = 1 << 20
RETRIES = 3
IMPOSTOR = "Who answers has no certificate of your authority for this address: check the address and `login --ca`."
SILENCE_SECONDS = 60.0
"""A stream that says nothing for longer, not even that it is still there, is taken up anew."""


class Connection:
    """Requests to one gateway as one principal. Close it, or use it as a context manager."""

    def __init__(self, profile: Profile, *, timeout_seconds: float = 60.0) -> None:
        context = _context(profile.authority)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._client = httpx2.Client(
            base_url=profile.url,
            verify=context,
            trust_env=False,
            timeout=timeout_seconds,
            headers={"Authorization": f"Bearer {profile.token}", "Accept": "application/json"},
        )

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the connection go."""
        self._client.close()

    def get(self, path: str, **query: Any) -> Any:
        """Return the JSON answer to a GET."""
        return self._json(self._send("GET", path, params=_given(query)))

    def pages(self, path: str, **query: Any) -> Iterator[list[Any]]:
        """Yield the pages of a listing; the next one begins after what the answer's Link header names."""
        after: str | None = None
        while True:
            response = self._send("GET", path, params=_given({**query, "after": after}))
            page = self._json(response)
            yield page if isinstance(page, list) else []
            # Only the cursor is taken from the link: an answer never chooses where the token goes.
            link = response.links.get("next", {}).get("url", "")
            following = httpx2.URL(link).params.get("after")
            if not following or following == after:
                return
            after = following

    def get_bytes(self, path: str, **query: Any) -> bytes:
        """Return the raw answer to a GET."""
        return self._send("GET", path, params=_given(query)).content

    def post(self, path: str, body: Mapping[str, Any] | None = None, *, key: str | None = None) -> Any:
        """Return the JSON answer to a POST; it is sent again, under the same Idempotency-Key, if no answer came."""
        headers = {"Idempotency-Key": key or secrets.token_hex(16)}
        return self._json(self._send("POST", path, json=dict(body or {}), headers=headers))

    def put(self, path: str, body: Mapping[str, Any], *, version: int | None = None) -> Any:
        """Return the JSON answer to a PUT; with `version` it is done only while the object still is at that version."""
        headers = {} if version is None else {"If-Match": f'"{version}"'}
        return self._json(self._send("PUT", path, json=dict(body), headers=headers))

    def delete(self, path: str) -> Any:
        """Return the JSON answer to a DELETE."""
        return self._json(self._send("DELETE", path))

    def put_stream(self, path: str, source: BinaryIO, **query: Any) -> Any:
        """Send a file as the body of a PUT, in pieces; never tried twice."""
        chunks = iter(lambda: source.read(UPLOAD_CHUNK), b"")
        headers = {"Content-Type": "application/octet-stream"}
        return self._json(self._once("PUT", path, params=_given(query), content=chunks, headers=headers))

    def download(self, path: str, **query: Any) -> Iterator[bytes]:
        """Yield the answer to a GET in pieces; raise `UnavailableError` if it breaks off."""
        try:
            with self._client.stream("GET", path, params=_given(query)) as response:
                if response.status_code >= 400:
                    response.read()
                    raise _error(response)
                yield from response.iter_bytes()
        except httpx2.TransportError as error:
            raise _unreachable(error) from None

    def events(self, path: str, *, after: str | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield `(id, data)` of a server-sent event stream; on a lost connection it resumes after the last id."""
        last, failures = after, 0
        while True:
            try:
                for identifier, data in self._event_stream(path, last):
                    last, failures = identifier, 0
                    yield identifier, data
            except httpx2.TransportError as error:
                failures += 1
                if failures > RETRIES:
                    raise _unreachable(error) from None
                time.sleep(failures)
            else:
                return

    def _event_stream(self, path: str, last: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
        with self._client.stream("GET", path, headers=headers, timeout=SILENCE_SECONDS) as response:
            if response.status_code >= 400:
                response.read()
                raise _error(response)
            yield from _parsed_events(response.iter_lines())

    def _send(self, method: str, path: str, **arguments: Any) -> httpx2.Response:
        for attempt in range(RETRIES):
            try:
                return self._once(method, path, **arguments)
            except UnavailableError:
                if attempt == RETRIES - 1:
                    raise
                time.sleep(0.2 * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    def _once(self, method: str, path: str, **arguments: Any) -> httpx2.Response:
        try:
            response = self._client.request(method, path, **arguments)
        except httpx2.TransportError as error:
            raise _unreachable(error) from None
        if response.status_code >= 400:
            raise _error(response)
        return response

    def _json(self, response: httpx2.Response) -> Any:
        if len(response.content) > ANSWER_LIMIT:
            raise UnavailableError(response.status_code, {"detail": "The gateway's answer is too large."})
        return json.loads(response.content) if response.content else None


def _parsed_events(lines: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    identifier, data = "", ""
    for line in lines:
        if line.startswith("id:"):
            identifier = line[3:].strip()
        elif line.startswith("data:"):
            data += line[5:].strip()
        elif not line and data:
            yield identifier, json.loads(data)
            data = ""


def _given(query: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}


def _context(authority: str | None) -> ssl.SSLContext:
    if authority is None:
        return ssl.create_default_context()
    try:
        # As bytes it would be DER, and nothing at all would be the system's authorities.
        if authority.isascii() and authority.strip():
            return ssl.create_default_context(cadata=authority)
    except ssl.SSLError:
        pass
    raise InvalidError("`ca` must be a PEM file with the authority's certificate", field="ca")


def _error(response: httpx2.Response) -> Exception:
    try:
        problem = json.loads(response.content)
    except ValueError:
        problem = {}
    return error_for(response.status_code, problem if isinstance(problem, dict) else {})


def _unreachable(error: BaseException) -> GatewayError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return ImpostorError(0, {"code": "impostor", "detail": IMPOSTOR})
        cause = cause.__cause__ or cause.__context__
    return UnavailableError(0, {"code": "unreachable", "detail": "Nobody answers at the gateway's address."})
