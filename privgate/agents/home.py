"""An agent's home: who it is, what it sealed, whom it trusts, what it allows, what it did.

Rules
-----
1. A directory of mode 0700 that one process at a time has locked: two agents over one home could decrypt twice.
2. Private keys lie sealed in it; nothing else that is secret is there, but a job's secret key, sealed, until it ends.
3. The enrolment (party, address, certificate) comes from the gateway and is for reaching it alone; what is believed
   comes from pins.

Format: docs/formats/party-home.md.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from audit.trust import TrustFile
from kernel import canonical
from kernel.canonical import Digest
from kernel.checks import matching, text, whole
from kernel.clock import Clock
from kernel.errors import ConflictError, CorruptError, InvalidError, NotFoundError
from kernel.ids import Entropy, JobId, PartyId, Slug
from kernel.signing import Ed25519Signer
from privacy.homomorphic.documents.parties import Identity, PartyKind
from privacy.homomorphic.sealed import new_sealing_key, sealing_key_of
from privacy.jobs.strict import members_of, text_of
from privacy.sealing.durable import DIRECTORY_MODE, Point, no_point
from privacy.sealing.keyring_file import Unlock
from privacy.sealing.secret import SecretBytes
from privgate.agents import vault as vaults
from privgate.agents.channel import Access
from privgate.agents.log import NAME as LOG
from privgate.agents.log import PartyLog
from privgate.agents.papers import Papers
from privgate.agents.requesting import new_tls_key
from privgate.agents.rules import Rules

_LIMIT: Final = 256 * 1024
_GATEWAY, _IDENTITY, _PARTY, _RULES = "gateway.trust", "identity.json", "party.json", "rules.json"
_NEXT: Final = "party-next.json"
FIRST_KEY: Final = "tls"
_KEY: Final = re.compile(r"tls(-[1-9][0-9]{0,5})?")
_SECRETS: Final = ("identity", "sealing", "commitment", FIRST_KEY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """What a gateway gave at enrolment, for reaching it.

    Attributes:
        party: Its number for this agent.
        url: Where it listens for parties.
        authority, certificate: PEM of the listener's authority, and of the agent's own certificate.
        key: The name of the sealed key that the certificate is for.
    """

    party: PartyId
    url: str
    authority: str
    certificate: str
    key: str = FIRST_KEY

    def __post_init__(self) -> None:
        text(2048, url=self.url)
        matching(_KEY, "is no name of a sealed key", key=self.key)

    def to_bytes(self) -> bytes:
        """Write the file."""
        body: dict[str, Any] = {
            "authority": self.authority,
            "certificate": self.certificate,
            "party": self.party,
            "url": self.url,
            "v": 1,
        }
        return canonical.encode(body if self.key == FIRST_KEY else body | {"key": self.key})

    @classmethod
    def from_bytes(cls, data: bytes) -> Enrolment:
        """Read the file; raise `InvalidError` otherwise."""
        needed = ("authority", "certificate", "party", "url", "v")
        members: Mapping[str, Any] = members_of(canonical.decode(data, limit=_LIMIT), "enrolment", needed, ("key",))
        whole(1, 1, v=members["v"])
        return cls(
            party=PartyId(members["party"]),
            url=text_of(members["url"], "url"),
            authority=text_of(members["authority"], "authority"),
            certificate=text_of(members["certificate"], "certificate"),
            key=text_of(members.get("key", FIRST_KEY), "key"),
        )


class Home:
    """An opened and locked home. Close it, or use it as a context manager.

    Args:
        path: The directory.
        unlock: What opens its vault.
        entropy: Where nonces come from.
        clock: For the log.
        point: Crash points.
    """

    def __init__(self, path: Path, unlock: Unlock, entropy: Entropy, clock: Clock, point: Point = no_point) -> None:
        if not (path / _IDENTITY).exists():
            raise NotFoundError(f"no agent lives in `{path}`: run `init` there first", field="home")
        self.path, self._point = path, point
        self._papers = Papers(path, point)
        self._lock = _locked(path)
        try:
            self.who = identity_of(path)
            self.vault = vaults.opened(path / vaults.NAME, unlock, entropy)
            self.signer = _signer_of(self.who, self._secret("identity"))
            self.log = PartyLog(path / LOG, self.who, self.signer, clock, point)
        except BaseException:
            os.close(self._lock)
            raise

    @classmethod
    def create(cls, path: Path, kind: PartyKind, name: Slug, unlock: Unlock, entropy: Entropy) -> Identity:
        """Draw an agent's keys and write its home, which must not be there yet, or be empty but for the key file.

        Raises:
            ConflictError: Somebody lives there.
        """
        path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        if (path / _IDENTITY).exists():
            raise ConflictError(f"an agent lives in `{path}` already", field="home")
        papers = Papers(path)
        file, vault = vaults.new_vault(unlock, entropy)
        seed, sealing = SecretBytes.random(32, entropy), new_sealing_key(entropy)
        commitment = SecretBytes.random(32, entropy)
        who = Identity(
            name=name,
            kind=kind,
            identity=Ed25519Signer(seed.reveal()).public_key,
            sealing=sealing_key_of(sealing),
        )
        papers.put(vaults.NAME, file)
        for secret, value in zip(_SECRETS, (seed, sealing, commitment, new_tls_key()), strict=True):
            papers.put(f"{secret}.sealed", vault.seal(value.reveal(), kind=secret))
        papers.put(_RULES, Rules().to_bytes())
        papers.put(_IDENTITY, who.to_bytes())
        return who

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let log and lock go."""
        self.log.close()
        os.close(self._lock)

    @property
    def sealing(self) -> SecretBytes:
        """The private half of its sealing key."""
        return self._secret("sealing")

    @property
    def commitment_key(self) -> SecretBytes:
        """The key of what it says about its rows."""
        return self._secret("commitment")

    @property
    def rules(self) -> Rules:
        """What its people allow."""
        return Rules.from_bytes(self._needed(_RULES))

    def allow(self, rules: Rules) -> None:
        """Set what its people allow."""
        self._papers.put(_RULES, rules.to_bytes())

    def allow_request(self, digest: Digest) -> None:
        """Let one order more for a request be acted upon, where the rules want that for each."""
        turn = self.log.history.asked.get(digest, 0) + 1
        Papers(self.path / "allowed", self._point).keep(_yes(digest, turn), b"")

    def allows(self, digest: Digest, turn: int) -> bool:
        """Whether that order for a request was allowed here: the how-manieth, from 1."""
        return (self.path / "allowed" / _yes(digest, turn)).exists()

    @property
    def gateway(self) -> TrustFile:
        """The gateway's pinned keys; raise `NotFoundError` if none are pinned."""
        return TrustFile.from_bytes(self._needed(_GATEWAY))

    def trust_gateway(self, trust: TrustFile) -> None:
        """Pin a gateway's keys."""
        self._papers.put(_GATEWAY, trust.to_bytes())

    def trust(self, who: Identity) -> None:
        """Pin an identity.

        Raises:
            ConflictError: Another one is pinned under that name.
        """
        Papers(self.path / "pins", self._point).keep(f"{who.kind}-{who.name.replace('/', '..')}.json", who.to_bytes())

    def distrust(self, kind: PartyKind, name: Slug) -> None:
        """Take a pin away."""
        (self.path / "pins" / f"{kind}-{name.replace('/', '..')}.json").unlink(missing_ok=True)

    def pins(self) -> frozenset[Identity]:
        """Everybody who is pinned."""
        folder = self.path / "pins"
        names = sorted(file.name for file in folder.glob("*.json")) if folder.exists() else []
        papers = Papers(folder, self._point) if names else None
        found = [papers.get(name) for name in names] if papers is not None else []
        return frozenset(Identity.from_bytes(data) for data in found if data is not None)

    @property
    def enrolment(self) -> Enrolment:
        """What the gateway gave; raise `NotFoundError` before enrolment."""
        return Enrolment.from_bytes(self._needed(_PARTY))

    def enrol(self, given: Enrolment) -> None:
        """Keep what the gateway gave."""
        self._papers.put(_PARTY, given.to_bytes())

    @property
    def tls_key(self) -> SecretBytes:
        """PEM of the key that the agent's certificate is for, or is to be for."""
        given = self._papers.get(_PARTY)
        return self._secret(FIRST_KEY if given is None else Enrolment.from_bytes(given).key)

    def access(self, given: Enrolment | None = None) -> Access:
        """How to reach the gateway, as it is or by an enrolment that is to take its place."""
        given = given or self.enrolment
        key = self._secret(given.key)
        return Access(url=given.url, authority=given.authority, certificate=given.certificate, key=key)

    @property
    def waiting(self) -> Enrolment | None:
        """What is to take the enrolment's place, once the gateway was reached with it."""
        data = self._papers.get(_NEXT)
        return None if data is None else Enrolment.from_bytes(data)

    def next_key(self) -> tuple[str, SecretBytes]:
        """The name and PEM of the key for the next certificate: drawn once, and kept until that is there."""
        name = _beside(self.enrolment.key, 1)
        if self._papers.get(f"{name}.sealed") is None:
            self._papers.keep(f"{name}.sealed", self.vault.seal(new_tls_key().reveal(), kind=name))
        return name, self._secret(name)

    def expect(self, given: Enrolment) -> None:
        """Keep what is to take the enrolment's place, before it is used."""
        self._papers.put(_NEXT, given.to_bytes())

    def take_up(self) -> None:
        """Put what waits in the enrolment's place, and destroy the key of the one before."""
        waiting = self.waiting
        if waiting is None:
            return
        self._papers.put(_PARTY, waiting.to_bytes())
        self._papers.drop(f"{_beside(waiting.key, -1)}.sealed")
        self._papers.remove(_NEXT)

    def give_up(self) -> None:
        """Let go of what waits: the gateway does not know it."""
        self._papers.remove(_NEXT)

    def papers_of(self, job: JobId) -> Papers:
        """What is kept of a job."""
        jobs = Papers(self.path / "jobs", self._point)
        return Papers(jobs.path / job, self._point)

    def _secret(self, name: str) -> SecretBytes:
        return self.vault.open(self._needed(f"{name}.sealed"), kind=name)

    def _needed(self, name: str) -> bytes:
        data = self._papers.get(name)
        if data is None:
            fix = {_GATEWAY: "pin the gateway's trust file with `trust`", _PARTY: "enrol this agent"}
            raise NotFoundError(f"`{name}` is not there: {fix.get(name, 'restore it from a backup')}", field=name)
        return data


def _beside(key: str, step: int) -> str:
    """The name of the key after that one, or before it."""
    number = int(key.partition("-")[2] or 1) + step
    return FIRST_KEY if number == 1 else f"{FIRST_KEY}-{number}"


def _yes(digest: Digest, turn: int) -> str:
    return f"request-{digest.hex}-{turn}"


def identity_of(path: Path) -> Identity:
    """Who lives in a home; raise `NotFoundError` if nobody does."""
    data = Papers(path).get(_IDENTITY)
    if data is None:
        raise NotFoundError(f"no agent lives in `{path}`: run `init` there first", field="home")
    return Identity.from_bytes(data)


def _signer_of(who: Identity, seed: SecretBytes) -> Ed25519Signer:
    signer = Ed25519Signer(seed.reveal())
    if signer.public_key != who.identity:
        raise CorruptError("`identity.json` is not of the key that is sealed beside it")
    return signer


def _locked(path: Path) -> int:
    file = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise ConflictError(f"another agent runs in `{path}`: stop it first", field="home") from None
    return file


def require_kind(who: Identity, kind: PartyKind) -> None:
    """Return if a home is that of such an agent; raise `InvalidError` otherwise."""
    if who.kind is not kind:
        raise InvalidError(f"this home is a {who.kind}'s, not a {kind}'s", field="home")
