"""Health check of the images: `alive.py api` asks the API if it is ready, `alive.py worker` whether process 1 runs.

It trusts the API's own certificate and nothing else, so that no other process can answer in its place. A worker has no
port: one that hangs loses its lease, and another takes the task; what is seen here is a process that was stopped.
"""

import http.client
import os
import pathlib
import ssl
import sys


def api_is_ready() -> bool:
    """Whether `/readyz` answers 200, over TLS with the certificate that this container was given."""
    home = os.environ.get("PRIVGATE_HOME", "/var/lib/privgate")
    certificate = os.environ.get("PRIVGATE_TLS_CERTIFICATE") or f"{home}/tls/server.pem"
    context = ssl.create_default_context(cafile=certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the leaf itself is the anchor
    context.check_hostname = False  # the leaf is named after the outside, and asked from the inside
    port = int(os.environ.get("PRIVGATE_LISTEN_PORT") or 8443)
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=4, context=context)
    connection.request("GET", "/readyz")
    return connection.getresponse().status == 200


def worker_runs() -> bool:
    """Whether process 1 is neither stopped nor a zombie."""
    state = pathlib.Path("/proc/1/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    return state not in "TtZX"


if __name__ == "__main__":
    sys.exit(0 if {"api": api_is_ready, "worker": worker_runs}[sys.argv[1]]() else 1)
