"""Everything that privacy says in the log: budgets, sealing, jobs, incidents, releases. Each noun keeps its own module.

Formats: docs/formats/events.md, docs/formats/budget-events.md.
"""

from __future__ import annotations

from kernel.events import Event
from privacy.events.blind import BLIND_EVENTS
from privacy.events.budget import BUDGET_EVENTS
from privacy.events.choices import CHOICE_EVENTS
from privacy.events.collections import COLLECTION_EVENTS
from privacy.events.incidents import INCIDENT_EVENTS
from privacy.events.inferences import INFERENCE_EVENTS
from privacy.events.jobs import JOB_EVENTS
from privacy.events.releases import RELEASE_EVENTS
from privacy.events.sealing import SEALING_EVENTS

EVENTS: tuple[type[Event], ...] = (
    *BUDGET_EVENTS,
    *CHOICE_EVENTS,
    *SEALING_EVENTS,
    *JOB_EVENTS,
    *INCIDENT_EVENTS,
    *RELEASE_EVENTS,
    *COLLECTION_EVENTS,
    *INFERENCE_EVENTS,
    *BLIND_EVENTS,
)
