"""What a sealed dataset version consists of. Row counts are the owner's alone, so the manifest itself is sealed.

Rules
-----
1. A manifest names its parts by the SHA-256 of their ciphertext and holds no key, so that a rewrap changes nothing.
2. It has a random salt inside: its digest, which is logged, confirms no guess of a count.
3. It opens only with the data key of its version, in that version's place, and only if its digest is the logged one.

Format: docs/formats/manifest.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kernel import canonical
from kernel.canonical import LARGEST_INTEGER, Digest, digest_of
from kernel.checks import matching, whole
from kernel.errors import CorruptError, InvalidError, PrivgateError
from kernel.events import Commitment
from kernel.ids import DatasetId, DekId, PopulationId, Slug, TenantId, VersionId
from privacy.sealing.chunked import BlobKind, blob_context, decrypt_bytes, encrypt_bytes
from privacy.sealing.deks import Label, check_commitment, subkey
from privacy.sealing.secret import SecretBytes
from privacy.units import PrivacyUnit

MANIFEST_LIMIT = 16 * 2**20
MOST_PARTS = 100_000
SALT_BYTES = 32
_PART_NAME = re.compile(r"(train|holdout)(-earlier)?-[0-9]{5}")
_NAMES = "must be train-NNNNN or holdout-NNNNN, or with earlier- before the number"
_SALT = re.compile(r"[0-9a-f]{64}")


class Split(StrEnum):
    """Which side of the population's fixed split a part's units are on."""

    TRAIN = "train"
    HOLDOUT = "holdout"


def is_earlier(name: str) -> bool:
    """Whether a part of this name has the units of earlier home blocks."""
    return "-earlier-" in name


@dataclass(frozen=True, slots=True, kw_only=True)
class PartAddress:
    """Where a part belongs; its ciphertext opens nowhere else."""

    tenant: TenantId
    dataset: DatasetId
    version: VersionId
    name: Slug

    def __post_init__(self) -> None:
        matching(_PART_NAME, _NAMES, name=self.name)

    @classmethod
    def numbered(
        cls,
        tenant: TenantId,
        dataset: DatasetId,
        version: VersionId,
        split: Split,
        number: int,
        *,
        earlier: bool = False,
    ) -> PartAddress:
        """The address of the `number`-th part of a split, from 0; `earlier` for units of earlier home blocks."""
        whole(0, MOST_PARTS - 1, number=number)
        side = f"{split.value}-earlier" if earlier else split.value
        return cls(tenant=tenant, dataset=dataset, version=version, name=Slug(f"{side}-{number:05d}"))

    @property
    def split(self) -> Split:
        """The split that the name says."""
        return Split(self.name.partition("-")[0])

    @property
    def aad(self) -> str:
        """The AAD prefix of the part's encryption."""
        return f"{self.tenant}/{self.dataset}/{self.version}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One encrypted Parquet file of a version."""

    name: Slug
    split: Split
    rows: int
    bytes: int
    digest: Digest
    aad: str

    def __post_init__(self) -> None:
        matching(_PART_NAME, _NAMES, name=self.name)
        whole(0, LARGEST_INTEGER, rows=self.rows)
        whole(1, LARGEST_INTEGER, bytes=self.bytes)
        if not self.name.startswith(f"{self.split.value}-") or not self.aad.endswith(f"/{self.name}"):
            raise InvalidError("a part's `name` must agree with its `split` and its `aad`", field="parts")

    @property
    def earlier(self) -> bool:
        """Whether its units are at home in an earlier block than the one that was open."""
        return is_earlier(self.name)

    def to_json(self) -> dict[str, Any]:
        """Encode."""
        return {
            "aad": self.aad,
            "bytes": self.bytes,
            "digest": self.digest,
            "name": self.name,
            "rows": self.rows,
            "split": self.split.value,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Part:
        """Read what `to_json` writes."""
        _exactly(body, {"aad", "bytes", "digest", "name", "rows", "split"})
        return cls(
            name=Slug(body["name"]),
            split=Split(body["split"]),
            rows=body["rows"],
            bytes=body["bytes"],
            digest=Digest(body["digest"]),
            aad=body["aad"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A dataset version, whole.

    Attributes:
        schema: Digest of the declared schema.
        dek: The version's data key; its wrapped form is stored apart.
        commitment: What binds everything here to that key.
        fingerprints: SHA-256 of the stored blob of unit fingerprints, if there is one.
        homes: SHA-256 of the stored map of home blocks that told units of earlier blocks apart, if there is one.
        salt: 64 hexadecimal digits, fresh for this manifest.
    """

    tenant: TenantId
    dataset: DatasetId
    version: VersionId
    population: PopulationId
    schema: Digest
    unit: PrivacyUnit
    dek: DekId
    commitment: Commitment
    parts: tuple[Part, ...]
    salt: str
    fingerprints: Digest | None = None
    homes: Digest | None = None

    def __post_init__(self) -> None:
        matching(_SALT, "must be 64 hexadecimal digits", salt=self.salt)
        whole(1, MOST_PARTS, parts=len(self.parts))
        names = [part.name for part in self.parts]
        if names != sorted(set(names)):
            raise InvalidError("`parts` must be distinct and in the order of their names", field="parts")
        if any(part.aad != self.address(part).aad for part in self.parts):
            raise InvalidError("a part's `aad` must name this tenant, dataset and version", field="parts")

    def address(self, part: Part) -> PartAddress:
        """Where one of the parts belongs."""
        return PartAddress(tenant=self.tenant, dataset=self.dataset, version=self.version, name=part.name)

    def rows(self, split: Split) -> int:
        """How many rows a split has. The owner's alone (RULES 13): for nobody's card, price, log or refusal."""
        return sum(part.rows for part in self.parts if part.split is split)

    @property
    def digest(self) -> Digest:
        """What the log and reservations cite."""
        return digest_of("manifest/v1", self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Encode for storage and digest."""
        body = {
            "commitment": self.commitment,
            "dataset": self.dataset,
            "dek": self.dek,
            "parts": [part.to_json() for part in self.parts],
            "population": self.population,
            "salt": self.salt,
            "schema": self.schema,
            "tenant": self.tenant,
            "unit": self.unit.to_json(),
            "v": 1,
            "version": self.version,
        }
        kept = {"fingerprints": self.fingerprints, "homes": self.homes}
        return body | {name: digest for name, digest in kept.items() if digest is not None}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Manifest:
        """Read what `to_json` writes; raise `InvalidError` otherwise."""
        try:
            members = {"commitment", "dataset", "dek", "parts", "population", "salt", "schema", "tenant", "unit", "v"}
            _exactly(body, members | {"version"}, optional={"fingerprints", "homes"})
            return cls(
                tenant=TenantId(body["tenant"]),
                dataset=DatasetId(body["dataset"]),
                version=VersionId(body["version"]),
                population=PopulationId(body["population"]),
                schema=Digest(body["schema"]),
                unit=PrivacyUnit.from_json(body["unit"]),
                dek=DekId(body["dek"]),
                commitment=Commitment(body["commitment"]),
                parts=tuple(Part.from_json(part) for part in body["parts"]),
                salt=body["salt"],
                fingerprints=Digest(body["fingerprints"]) if "fingerprints" in body else None,
                homes=Digest(body["homes"]) if "homes" in body else None,
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise InvalidError("not a manifest") from None


def seal_manifest(manifest: Manifest, dek: SecretBytes) -> bytes:
    """Encrypt a manifest under its version's own data key."""
    check_commitment(dek, manifest.commitment)
    return encrypt_bytes(canonical.encode(manifest.to_json()), subkey(dek, Label.BLOB), _context(manifest))


def open_manifest(
    sealed: bytes, dek: SecretBytes, *, tenant: TenantId, dataset: DatasetId, version: VersionId, digest: Digest
) -> Manifest:
    """Open the manifest of one version.

    Args:
        sealed: What `seal_manifest` returned.
        dek: The version's data key.
        tenant: Whose version the caller asked for.
        dataset: Of which dataset.
        version: Which one.
        digest: The manifest's digest in the log.

    Raises:
        CorruptError: Altered, of another version or key, or not the one in the log.
    """
    context = blob_context(BlobKind.MANIFEST, tenant, version)
    plain = decrypt_bytes(sealed, subkey(dek, Label.BLOB), context)
    try:
        manifest = Manifest.from_json(canonical.decode(plain, limit=MANIFEST_LIMIT, canonical=True))
    except PrivgateError:
        raise CorruptError("a manifest is not in its stored form") from None
    if (manifest.tenant, manifest.dataset, manifest.version) != (tenant, dataset, version):
        raise CorruptError("a manifest belongs to another version")
    if manifest.digest != digest:
        raise CorruptError("a manifest is not the one in the log: it was replaced")
    check_commitment(dek, manifest.commitment)
    return manifest


def _context(manifest: Manifest) -> bytes:
    return blob_context(BlobKind.MANIFEST, manifest.tenant, manifest.version)


def _exactly(body: Mapping[str, Any], members: set[str], optional: frozenset[str] | set[str] = frozenset()) -> None:
    if not isinstance(body, Mapping) or not members <= set(body) <= members | optional or body.get("v", 1) != 1:
        raise InvalidError("missing or unknown members")
