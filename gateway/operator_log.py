"""What the operator reads on standard error: one JSON object a line, and nothing private in it.

Rules
-----
1. Our own lines carry a kind and ids, never a message that was made from data.
2. Of other libraries' lines we keep who spoke and how loudly. Their texts quote SQL parameters, bodies and paths; an
   exception of theirs is reduced to its type. The server's own few lines (`uvicorn`) are fixed texts and kept.
"""

from __future__ import annotations

import logging
import sys

import structlog

_FIXED_TEXTS = ("uvicorn",)


def configure() -> None:
    """Send every log line of this process to standard error, in this form."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%Y-%m-%dT%H:%M:%SZ", utc=True),
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    root = logging.getLogger()
    root.handlers = [_Reduced()]
    root.setLevel(logging.WARNING)
    for name in _FIXED_TEXTS:
        logging.getLogger(name).setLevel(logging.INFO)


class _Reduced(logging.Handler):
    """Writes foreign lines through our own logger, without what they quote."""

    def emit(self, record: logging.LogRecord) -> None:
        facts = {"source": record.name}
        if record.exc_info is not None and record.exc_info[0] is not None:
            facts["kind"] = record.exc_info[0].__name__
        text = record.getMessage().strip() if record.name.split(".")[0] in _FIXED_TEXTS else "library"
        structlog.get_logger().log(record.levelno, text, **facts)
