"""Events about the log itself."""

from __future__ import annotations

from audit.events import EVENTS, EvidenceKind, EvidenceSnapshot, LogExported, LogRead, ReadScope
from kernel.canonical import Digest
from kernel.events import Registry
from kernel.ids import DecisionId

DECISION = DecisionId("dec_" + "a" * 26)


def test_each_event_is_read_back_by_its_type() -> None:
    """A registry of these events gives back what was written, and knows all of them."""
    registry = Registry(EVENTS)
    for event in (
        LogRead(decision=DECISION, scope=ReadScope.TILES, first=0, count=256),
        LogExported(decision=DECISION, size=10, root=Digest.of(b"root"), entries=3),
        EvidenceSnapshot(kind=EvidenceKind.KEYS, digest=Digest.of(b"document"), items=2),
    ):
        assert registry.decode(event.TYPE, event.VERSION, event.to_fields()) == event
    assert registry.types() == ("evidence:snapshot", "log:exported", "log:read")
