"""An S3 server for tests, over HTTP on loopback, in a process of its own; started on first use."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from unittest import mock

import httpx2

from gateway.storage.blobs import S3BlobStore
from privacy.sandbox.system import SET_PDEATHSIG, prctl

START_SECONDS = 60.0
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
_buckets = itertools.count()


@contextlib.contextmanager
def store(small_bytes: int | None = None) -> Iterator[S3BlobStore]:
    """A store below a prefix of a fresh bucket.

    Args:
        small_bytes: Up to which length an object is one request; the program's own limit unless given.
    """
    address, endpoint = bucket()
    with mock.patch.dict(os.environ, CREDENTIALS):
        made = S3BlobStore.connect(address, endpoint, "us-east-1")
    yield made if small_bytes is None else S3BlobStore(made._store, small_bytes=small_bytes)


def bucket() -> tuple[str, str]:
    """Make a bucket; an address in it, and the server's own."""
    endpoint, _ = _started()
    name = f"bucket-{next(_buckets)}"
    httpx2.put(f"{endpoint}/{name}", trust_env=False).raise_for_status()
    return f"s3://{name}/some/prefix", endpoint


def stop() -> None:
    """Stop the server if one was started."""
    if _started.cache_info().currsize:
        _, process = _started()
        process.kill()
        process.wait()
        _started.cache_clear()


@functools.cache
def _started() -> tuple[str, subprocess.Popen[bytes]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.s3_server", str(port)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call in the child
    )
    endpoint, until = f"http://127.0.0.1:{port}", time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(httpx2.TransportError):
            httpx2.get(endpoint, trust_env=False)
            return endpoint, process
        assert process.poll() is None, "the S3 server does not come up"
        assert time.monotonic() < until, "the S3 server does not come up"
        time.sleep(0.05)


def _die_with_parent() -> None:
    prctl(SET_PDEATHSIG, 9)
