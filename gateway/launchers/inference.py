"""Answering one encrypted question in a confined child: the released model in the clear, ciphertexts in and out.

Rules
-----
1. The model's file and the client's ciphertexts are read in the child alone; here they are bytes.
2. A child that dies or refuses is a failed job. One that does not come up is tried again, a few times.
"""

from __future__ import annotations

import structlog

from gateway.launchers.local import Confinement
from gateway.records import TaskRecord
from gateway.services.collaborators import Collaborators
from gateway.services.inferences import running
from gateway.services.release_desk import release_automatically
from kernel import canonical
from kernel.errors import PrivgateError, StaleError, UnavailableError
from privacy.homomorphic.confined import Confined

_log = structlog.get_logger(__name__)


def answer_in_child(on: Collaborators, task: TaskRecord, confinement: Confinement) -> None:
    """Answer the question of a leased task, and end its job.

    Raises:
        StaleError: Another worker took the task over.
    """
    try:
        opened = running.open_question(on, task)
        if opened is None:
            return
        answer, halvings = Confined(confinement.minimum).infer_released(
            opened.spec.shape,
            canonical.encode(opened.model.graph.to_json()),
            opened.weights,
            opened.keys,
            opened.batches,
        )
    except StaleError:
        raise
    except UnavailableError:
        running.retry(on, task)
        return
    except PrivgateError as error:
        _log.error("question-not-answered", task=task.id, kind=error.kind.value)
        running.fail(on, task)
        return
    release = running.finish(on, task, opened, answer, halvings)
    if release is not None:
        release_automatically(on, release)


def give_up_question(on: Collaborators, task: TaskRecord) -> None:
    """End a job that was taken up in vain too often."""
    _log.error("question-given-up", task=task.id)
    running.fail(on, task)
