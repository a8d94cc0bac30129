"""Builds everything once from settings; the only file that names concrete adapters.

Rules
-----
1. Nothing is built on import. `build` opens, checks and returns; what is wrong is a sentence at start-up.
2. The keyring's newest generation is remembered in the database, so that an older keyring is refused.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from sqlalchemy import Engine

from audit.checkpoint import read_unverified
from audit.sequencer import Sequencer
from gateway.launchers.opinion_aside import ask_aside
from gateway.party_authority import PartyAuthority
from gateway.policy_cache import PolicyCache
from gateway.services.collaborators import Collaborators, Limits
from gateway.services.deciding import Decider
from gateway.settings import Settings
from gateway.storage.engine import build_engine
from gateway.storage.generation import remember_generation, remembered_generation
from gateway.storage.schema import require_current
from gateway.storage.sql.log import SqlIntegration
from gateway.storage.tiles import BlobTiles
from gateway.unit_of_work import Database, Surroundings, no_point
from kernel.canonical import Digest
from kernel.clock import Clock, SystemClock
from kernel.errors import InvalidError, NotFoundError
from kernel.ids import Entropy, Slug
from kernel.signing import Ed25519Signer
from privacy.release.certificate import SoftwareFacts
from privacy.sealing.keyring import Keyring
from privacy.sealing.keyring_file import KeyFile, Passphrase, Unlock
from privacy.sealing.private_files import open_private_directory, read_key_file, read_passphrase_file
from privacy.sealing.stores import BlobStore, LocalBlobStore

PACKAGES = ("audit", "compliance", "gateway", "kernel", "policies", "privacy", "privgate")


@dataclass(frozen=True, slots=True)
class Gateway:
    """A wired gateway: what the API and the worker are made of."""

    settings: Settings
    engine: Engine
    cache: PolicyCache
    on: Collaborators
    sequencer: Sequencer

    def close(self) -> None:
        """Let go of database and keyring."""
        self.on.database.dispose()
        self.on.keyring.close()


def build(
    settings: Settings,
    *,
    clock: Clock | None = None,
    entropy: Entropy = os.urandom,
    point: Callable[[str], None] = no_point,
) -> Gateway:
    """Open database, keyring and blobs, and wire the use cases.

    Raises:
        InvalidError: Something is configured dangerously or was never initialised; the sentence says what to do.
        CorruptError: The keyring is older than the one this database remembers, or was altered.
    """
    require_own_packages()
    require_home(settings)
    clock = clock or SystemClock()
    engine = build_engine(settings.database)
    require_current(engine)
    database = Database(engine, Surroundings(clock, entropy, point))
    integration = SqlIntegration(database)
    require_origin(integration.newest_checkpoint(), settings.origin)
    keyring = open_keyring(settings, database, clock, entropy, point)
    blobs = build_blobs(settings, entropy, point)
    cache = PolicyCache(database)
    tiles = BlobTiles(blobs)
    log_signer = _signer(keyring, "signing/log")
    on = Collaborators(
        database=database,
        decider=Decider(cache, clock, entropy),
        clock=clock,
        entropy=entropy,
        keyring=keyring,
        blobs=blobs,
        integration=integration,
        tiles=tiles,
        origin=settings.origin,
        log_signer=log_signer,
        certificate_signer=_signer(keyring, "signing/certificate"),
        report_signer=_signer(keyring, "signing/report"),
        parties=PartyAuthority(settings.home / "parties", clock),
        software=software_facts(),
        limits=_limits(settings),
        second_opinion=ask_aside,
    )
    sequencer = Sequencer(store=integration, tiles=tiles, origin=settings.origin, signers=(log_signer,), point=point)
    return Gateway(settings, engine, cache, on, sequencer)


def open_keyring(
    settings: Settings, database: Database, clock: Clock, entropy: Entropy, point: Callable[[str], None] = no_point
) -> Keyring:
    """Open the keyring and remember how new it is."""
    at_least = remembered_generation(database)
    keyring = Keyring.open(
        settings.home / "keyring", unlock_of(settings), clock=clock, entropy=entropy, at_least=at_least, point=point
    )
    remember_generation(database, keyring.generation)
    return keyring


def require_home(settings: Settings) -> None:
    """Return if the home is there and ours alone; raise `InvalidError` or `NotFoundError` with the command to run."""
    if not settings.home.exists():
        raise NotFoundError(f"`{settings.home}` does not exist: set PRIVGATE_HOME, or run `privgate-gateway init`")
    os.close(open_private_directory(settings.home))


def require_origin(newest: bytes | None, origin: str) -> None:
    """Return if the log goes by this name, or has no checkpoint yet; raise `InvalidError` with its name otherwise.

    Readers have pinned the name: under another one the log would contradict itself in front of all of them.
    """
    begun = origin if newest is None else read_unverified(newest).origin
    if begun != origin:
        raise InvalidError(f"this gateway's log is `{begun}` and can go by no other name: set PRIVGATE_ORIGIN to it")


def unlock_of(settings: Settings) -> Unlock:
    """What opens the keyring: a passphrase file or a key file."""
    if settings.keyring_passphrase_file is not None:
        return Passphrase(read_passphrase_file(settings.keyring_passphrase_file))
    return KeyFile(read_key_file(settings.key_file))


def build_blobs(
    settings: Settings, entropy: Entropy = os.urandom, point: Callable[[str], None] = no_point
) -> BlobStore:
    """Open the blob store: a local folder, or S3."""
    if not settings.blob_url:
        return LocalBlobStore(settings.home / "blobs", entropy=entropy, point=point)
    from gateway.storage.blobs import S3BlobStore

    return S3BlobStore.connect(settings.blob_url, settings.s3_endpoint, settings.s3_region)


def software_facts() -> SoftwareFacts:
    """Version and digest of the program that runs: SHA-256 over the names and contents of all its modules."""
    summed = hashlib.sha256()
    root = Path(__file__).resolve().parent.parent
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            summed.update(path.relative_to(root).as_posix().encode() + b"\x00")
            summed.update(hashlib.sha256(path.read_bytes()).digest())
    return SoftwareFacts(version=Slug(metadata.version("privgate")), digest=Digest.from_raw(summed.digest()))


def require_own_packages() -> None:
    """Refuse to run beside a foreign module that shadows one of ours; name the file."""
    import importlib

    root = Path(__file__).resolve().parent.parent
    for name in PACKAGES:
        found = importlib.import_module(name).__file__
        if found is None or not Path(found).resolve().is_relative_to(root):
            raise InvalidError(f"`{name}` is not Privgate's: {found} shadows it; remove that package or its path")


def _signer(keyring: Keyring, name: str) -> Ed25519Signer:
    with keyring.secret(Slug(name)) as seed:
        return Ed25519Signer(seed.reveal())


def _limits(settings: Settings) -> Limits:
    return Limits(
        upload_bytes=settings.upload_bytes,
        hold_seconds=settings.hold_seconds,
        lease_seconds=settings.lease_seconds,
        tick_seconds=settings.tick_seconds,
        faults_per_trainer=settings.faults_per_trainer,
        token_days=settings.token_days,
    )
