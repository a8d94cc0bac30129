"""The worker as a process: what a host must offer, what children may use, and a clean end.

Rules
-----
1. A host that cannot confine children as demanded runs no worker; that is found before the first task.
2. SIGTERM and SIGINT end it after the present task. If it is killed instead, its lease runs out and another worker
   goes on from the last savepoint.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from types import FrameType

import structlog

from gateway.launchers.local import Confinement
from gateway.launchers.second_opinion import ask_dp_accounting
from gateway.services.sweep_blobs import sweep_blobs
from gateway.settings import Settings
from gateway.spools import sweep_spools
from gateway.wiring import Gateway, build
from gateway.worker import Worker
from kernel.errors import PrivgateError
from privacy.sandbox.limits import Level, Limits, require
from privacy.sealing.stores import LocalBlobStore

LONGEST_NAME = 64

_log = structlog.get_logger(__name__)


def work(settings: Settings) -> None:
    """Work on tasks until a signal ends it.

    Raises:
        InvalidError: Something is configured dangerously or was never initialised.
        UnavailableError: This host cannot confine children as demanded.
    """
    confinement = confinement_of(settings)
    require(confinement.minimum)
    gateway = build(settings)
    _sweep(gateway)
    stopping = threading.Event()
    _stop_on_signals(stopping)
    worker = Worker(
        on=gateway.on, confinement=confinement, opinion=ask_dp_accounting, name=worker_name(), stopping=stopping
    )
    _log.info("working", worker=worker.name)
    try:
        worker.run()
    finally:
        gateway.close()
    _log.info("stopped")


def _sweep(gateway: Gateway) -> None:
    """Remove what killed processes left. A store that does not answer is no reason not to work."""
    sweep_spools()
    try:
        if isinstance(gateway.on.blobs, LocalBlobStore):
            gateway.on.blobs.sweep()
        sweep_blobs(gateway.on)
    except PrivgateError as error:
        _log.warning("not-swept", kind=error.kind.value)


def confinement_of(settings: Settings) -> Confinement:
    """How children are confined and what they may use."""
    times = {"cpu_seconds": settings.child_cpu_seconds, "wall_seconds": settings.child_wall_seconds}
    return Confinement(
        minimum=Level(settings.sandbox_level),
        # A job's child has no folder to write to: what it makes goes through its pipe.
        job=Limits(memory_bytes=settings.training_memory_bytes, output_bytes=0, **times),
        ingest=Limits(memory_bytes=settings.ingest_memory_bytes, output_bytes=settings.upload_bytes, **times),
    )


def worker_name() -> str:
    """Who holds a lease, for operators: host and process."""
    return f"{socket.gethostname()[: LONGEST_NAME - 12]}-{os.getpid()}"


def _stop_on_signals(stopping: threading.Event) -> None:
    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
