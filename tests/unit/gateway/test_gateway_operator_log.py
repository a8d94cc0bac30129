"""The operator's log: one JSON object a line, and nothing that a library quotes."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import logging
import structlog
from gateway import operator_log
operator_log.configure()
structlog.get_logger("gateway.x").warning("task-interrupted", kind="ValueError")
try:
    raise ValueError("age 117 of patient 4711")
except ValueError:
    logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
    logging.getLogger("sqlalchemy.pool").exception("error for %s", "patient 4711")
logging.getLogger("uvicorn.error").info("Application startup complete.")
logging.getLogger("some.library").info("patient 4711")
structlog.get_logger("gateway.x").debug("patient 4711")
"""


def test_lines_are_json_and_quote_nothing() -> None:
    """Own lines whole; the server's fixed texts; of other libraries who spoke and what kind of error it was."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    for line in lines:
        assert line.pop("timestamp").endswith("Z")
    assert lines == [
        {"event": "task-interrupted", "kind": "ValueError", "level": "warning"},
        {"event": "Exception in ASGI application", "kind": "ValueError", "level": "error", "source": "uvicorn.error"},
        {"event": "library", "kind": "ValueError", "level": "error", "source": "sqlalchemy.pool"},
        {"event": "Application startup complete.", "level": "info", "source": "uvicorn.error"},
    ]
    assert done.stdout == ""
    assert "4711" not in done.stderr
