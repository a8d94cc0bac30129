"""What the use cases work with: one frozen bundle, built once by `gateway.wiring`."""

from __future__ import annotations

from dataclasses import dataclass

from audit.published import TileStore
from gateway.party_authority import PartyAuthority
from gateway.services.deciding import Decider
from gateway.services.opinions import Opinion
from gateway.storage.sql.log import SqlIntegration
from gateway.unit_of_work import Database
from kernel.clock import Clock
from kernel.ids import Entropy
from kernel.signing import Signer
from privacy.release.certificate import SoftwareFacts
from privacy.sealing.keyring import Keyring
from privacy.sealing.stores import BlobStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The settings that use cases need, as plain values; see `gateway.settings`."""

    upload_bytes: int
    hold_seconds: int
    lease_seconds: int
    tick_seconds: int
    faults_per_trainer: int
    token_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Collaborators:
    """Everything a use case may touch.

    Attributes:
        integration, tiles: The log as its readers see it.
        origin: The log's name.
        parties: Issues the certificates of sites and key holders.
        second_opinion: Asks another accountant, in a process of its own, about jobs that no worker runs.
        log_signer, certificate_signer, report_signer: Keys of their own: one statement never passes for another.
    """

    database: Database
    decider: Decider
    clock: Clock
    entropy: Entropy
    keyring: Keyring
    blobs: BlobStore
    integration: SqlIntegration
    tiles: TileStore
    origin: str
    log_signer: Signer
    certificate_signer: Signer
    report_signer: Signer
    parties: PartyAuthority
    software: SoftwareFacts
    limits: Limits
    second_opinion: Opinion
