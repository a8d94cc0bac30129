"""Checks of encryption and keys: what is sealed has its key, what is done with has none, and the table agrees."""

from __future__ import annotations

from audit.events import EvidenceKind, EvidenceSnapshot
from compliance.checks.check import Check, Source, Tally
from compliance.history import Entered, History, first_of
from compliance.snapshots import KeyTable, LiveKey
from kernel.errors import PrivgateError
from kernel.events import Event
from kernel.ids import DekId, Slug
from privacy.events.releases import ReleaseHeld
from privacy.events.sealing import (
    DekCreated,
    DekDestroyed,
    KekRotated,
    KeyPurpose,
    VersionRefused,
    VersionSealed,
    VersionStaged,
)

FIRST_KEK = 1


def _sealed(history: History, tally: Tally) -> None:
    """Each sealed version and each held release has a data key of its own, made for it."""
    created = {e.event.dek: e for e in history.of(DekCreated)}
    used: set[DekId] = set()
    for entered in history.of(VersionSealed):
        made = created.get(entered.event.dek)
        fits = (
            made is not None
            and made.index < entered.index
            and made.event.purpose is KeyPurpose.VERSION
            and made.event.version == entered.event.version
            and made.event.kek_version == entered.event.kek_version
        )
        fresh = entered.event.dek not in used
        used.add(entered.event.dek)
        if entered.index >= history.from_size:
            tally.look()
            tally.demand(fits, "sealed under a key that was not made for it", entered, entered.event.version)
            tally.demand(fresh, "sealed under a key that seals another version", entered, entered.event.version)
    of_release = {e.event.release: e for e in created.values() if e.event.release is not None}
    for held in history.judged(ReleaseHeld):
        tally.look()
        key = of_release.get(held.event.release)
        fits = key is not None and key.index < held.index and key.event.purpose is KeyPurpose.RELEASE
        tally.demand(fits, "held without a key of its own", held, held.event.release)


def _uploads(history: History, tally: Tally) -> None:
    """Once an upload is sealed or refused, its raw file can no longer be opened."""
    destroyed = {e.event.dek: e.index for e in history.of(DekDestroyed)}
    created = {e.event.dek for e in history.of(DekCreated) if e.event.purpose is KeyPurpose.UPLOAD}
    staged = history.about("version", VersionStaged)
    for entered in history.judged(Event):
        if not isinstance(entered.event, (VersionSealed, VersionRefused)):
            continue
        version = entered.event.version
        tally.look()
        upload = first_of(staged.get(version))
        if upload is None or upload.event.dek not in created:
            tally.fault("no upload under a key of its own came before it", entered, version)
            continue
        tally.demand(upload.event.dek in destroyed, "the raw upload's key was not destroyed", entered, version)


def _versions(history: History, tally: Tally) -> None:
    """Versions of the wrapping key rise by one, and new data keys are wrapped by the newest."""
    current = FIRST_KEK
    for entered in history.of(Event):
        match entered.event:
            case KekRotated(kek_version=version):
                tally.look(entered.index >= history.from_size)
                tally.demand(version == current + 1, "a version of the wrapping key out of turn", entered)
                current = max(current, version)
            case DekCreated(kek_version=version, dek=dek):
                tally.look(entered.index >= history.from_size)
                tally.demand(version == current, "wrapped by another version than the newest", entered, dek)
            case _:
                pass


def _table(history: History, tally: Tally) -> None:
    """The gateway's table of keys, as written down last, has exactly the keys that the log leaves alive."""
    taken = [e for e in history.of(EvidenceSnapshot) if e.event.kind is EvidenceKind.KEYS]
    entered = next(e for e in reversed(taken) if e.event.digest in history.snapshots)
    try:
        table = KeyTable.from_bytes(history.snapshots[entered.event.digest])
    except PrivgateError:
        tally.fault("the document of the key table cannot be read", entered)
        return
    tally.demand(table.tenant == history.tenant, "the key table of another tenant", entered)
    tally.demand(entered.event.items == len(table.keys), "the entry counts other keys than the table has", entered)
    _compare(history, tally, entered, table)


def _compare(history: History, tally: Tally, entered: Entered[EvidenceSnapshot], table: KeyTable) -> None:
    before = [e for e in history.of(Event) if e.index < entered.index]
    created = {e.event.dek: e.event for e in before if isinstance(e.event, DekCreated)}
    destroyed = {e.event.dek for e in before if isinstance(e.event, DekDestroyed)}
    known = {key.dek: key for key in table.keys}
    for dek in sorted(created.keys() | known.keys()):
        tally.look()
        made, key = created.get(dek), known.get(dek)
        if made is None or key is None:
            where = "table and not in the log" if made is None else "log and not in the table"
            tally.fault(f"a key that is in the {where}", entered, dek)
            continue
        tally.demand(made.purpose is key.purpose, "a key with another purpose than in the log", entered, dek)
        tally.demand(key.alive == (dek not in destroyed), "alive in one and destroyed in the other", entered, dek)
        tally.demand(_openable(key, made, table), "wrapped by a version that cannot be, or is gone", entered, dek)


def _openable(key: LiveKey, made: DekCreated, table: KeyTable) -> bool:
    if not key.alive:
        return True
    return made.kek_version <= key.kek_version <= table.current and key.kek_version not in table.destroyed


CHECKS = (
    Check(
        id=Slug("keys.sealed"),
        title="Everything sealed has a key of its own",
        question="Each sealed version and each held release lies under a fresh data key that was made for it and for "
        "nothing else.",
        sources=(Source.KEYS,),
        look=_sealed,
    ),
    Check(
        id=Slug("keys.uploads"),
        title="Raw uploads can no longer be opened",
        question="Each upload had a key of its own, and that key was destroyed once the upload was sealed or refused.",
        sources=(Source.KEYS,),
        look=_uploads,
    ),
    Check(
        id=Slug("keys.versions"),
        title="The wrapping key's versions are in order",
        question="Versions of the tenant's wrapping key rise by one, and each new data key was wrapped by the newest.",
        sources=(Source.KEYS,),
        look=_versions,
    ),
    Check(
        id=Slug("keys.table"),
        title="The key table agrees with the log",
        question="The gateway's table of data keys, written down as evidence, has exactly the keys that the log leaves "
        "alive, each wrapped by a version that still exists.",
        sources=(Source.KEYS, Source.KEY_TABLE),
        look=_table,
    ),
)
