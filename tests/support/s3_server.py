"""The S3 server that tests talk to: moto's, with conditions decided as S3 decides them.

S3 checks and keeps a condition in one step. Moto checks it and writes afterwards, so that of two requests at once both
may win; here a request with a condition is served alone.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple


class OneCondition:
    """A WSGI application in which requests with a condition wait for each other."""

    def __init__(self, served: Any) -> None:
        self._served, self._alone = served, threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Serve a request."""
        if "HTTP_IF_NONE_MATCH" not in environ:
            answer: Iterable[bytes] = self._served(environ, start_response)
            return answer
        with self._alone:
            return list(self._served(environ, start_response))


if __name__ == "__main__":
    moto = DomainDispatcherApplication(create_backend_app)
    run_simple("127.0.0.1", int(sys.argv[1]), OneCondition(moto), threaded=True, request_handler=MotoRequestHandler)
