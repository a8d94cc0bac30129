"""The manifest: one form, a digest that gives nothing away, and an opening that believes nothing."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Any

import pytest

from kernel import canonical
from kernel.canonical import Digest, digest_of
from kernel.errors import CorruptError, InvalidError
from kernel.ids import DatasetId, DekId, PopulationId, Slug, TenantId, VersionId
from privacy.sealing.chunked import BlobKind, blob_context, encrypt_bytes
from privacy.sealing.deks import Label, commit, new_dek, subkey
from privacy.sealing.manifest import Manifest, Part, PartAddress, Split, open_manifest, seal_manifest
from privacy.units import PrivacyUnit, UnitKind

TENANT, DATASET, VERSION = TenantId.new(os.urandom), DatasetId.new(os.urandom), VersionId.new(os.urandom)
DEK = new_dek(os.urandom)


def _part(split: Split, number: int, rows: int = 10) -> Part:
    address = PartAddress.numbered(TENANT, DATASET, VERSION, split, number)
    digest = Digest.of(address.aad.encode())
    return Part(name=address.name, split=split, rows=rows, bytes=1000, digest=digest, aad=address.aad)


def _manifest(**changes: Any) -> Manifest:
    members: dict[str, Any] = {
        "tenant": TENANT,
        "dataset": DATASET,
        "version": VERSION,
        "population": PopulationId.new(os.urandom),
        "schema": Digest.of(b"schema"),
        "unit": PrivacyUnit(kind=UnitKind.COLUMN, noun="patient", column="mrn", rows_per_unit=3),
        "dek": DekId.new(os.urandom),
        "commitment": commit(DEK),
        "parts": (_part(Split.HOLDOUT, 0, 117), _part(Split.TRAIN, 0, 400), _part(Split.TRAIN, 1, 52)),
        "salt": os.urandom(32).hex(),
        "fingerprints": Digest.of(b"fingerprints"),
        "homes": Digest.of(b"homes"),
    }
    return Manifest(**(members | changes))


def _open(sealed: bytes, manifest: Manifest, **changes: Any) -> Manifest:
    asked = {"tenant": TENANT, "dataset": DATASET, "version": VERSION, "digest": manifest.digest}
    return open_manifest(sealed, changes.pop("dek", DEK), **(asked | changes))


@pytest.mark.parametrize("fingerprints", [Digest.of(b"x"), None])
def test_a_sealed_manifest_opens_to_itself(fingerprints: Digest | None) -> None:
    """All members come back, and the digest is the one that was logged."""
    manifest = _manifest(fingerprints=fingerprints, homes=fingerprints)
    opened = _open(seal_manifest(manifest, DEK), manifest)
    assert opened == manifest
    assert opened.digest == digest_of("manifest/v1", manifest.to_json())
    assert (opened.rows(Split.TRAIN), opened.rows(Split.HOLDOUT)) == (452, 117)


def test_the_stored_form_shows_nothing() -> None:
    """No identifier, digest or count stands in the stored bytes."""
    sealed = seal_manifest(_manifest(), DEK)
    for needle in (DATASET, VERSION, "train", "rows", "117", "patient"):
        assert needle.encode() not in sealed


def test_the_logged_digest_confirms_no_guess_of_a_count() -> None:
    """Two manifests that agree in everything but the salt have unrelated digests; the guesser lacks the salt."""
    manifest = _manifest()
    assert replace(manifest, salt=os.urandom(32).hex()).digest != manifest.digest
    guess = {name: value for name, value in manifest.to_json().items() if name != "salt"}
    assert digest_of("manifest/v1", guess) != manifest.digest


def test_only_the_version_asked_for_opens() -> None:
    """Another tenant, version, dataset, key or digest is refused."""
    manifest = _manifest()
    sealed = seal_manifest(manifest, DEK)
    for changes in (
        {"tenant": TenantId.new(os.urandom)},
        {"version": VersionId.new(os.urandom)},
        {"dataset": DatasetId.new(os.urandom)},
        {"dek": new_dek(os.urandom)},
        {"digest": _manifest().digest},
    ):
        with pytest.raises(CorruptError):
            _open(sealed, manifest, **changes)


def test_a_manifest_that_commits_to_another_key_is_neither_sealed_nor_opened() -> None:
    """The key commitment is compared both ways."""
    wrong = _manifest(commitment=commit(new_dek(os.urandom)))
    with pytest.raises(CorruptError):
        seal_manifest(wrong, DEK)
    context = blob_context(BlobKind.MANIFEST, TENANT, VERSION)
    forged = encrypt_bytes(canonical.encode(wrong.to_json()), subkey(DEK, Label.BLOB), context)
    with pytest.raises(CorruptError):
        _open(forged, wrong)


def test_parts_are_distinct_ordered_and_of_this_version() -> None:
    """A part of another version, one listed twice, and one out of order cannot stand in a manifest."""
    train, holdout = _part(Split.TRAIN, 0), _part(Split.HOLDOUT, 0)
    stranger = replace(train, aad=train.aad.replace(VERSION, VersionId.new(os.urandom)))
    for parts in ((), (train, train), (train, holdout), (stranger,)):
        with pytest.raises(InvalidError):
            _manifest(parts=parts)


def test_a_parts_name_says_its_split() -> None:
    """Name, split and address agree, and a name has one written form."""
    part = _part(Split.TRAIN, 7)
    assert part.name == "train-00007"
    for changes in (
        {"split": Split.HOLDOUT},
        {"name": Slug("train-7")},
        {"name": Slug("train-00008")},
        {"rows": -1},
        {"bytes": 0},
    ):
        with pytest.raises(InvalidError):
            replace(part, **changes)
    with pytest.raises(InvalidError):
        PartAddress(tenant=TENANT, dataset=DATASET, version=VERSION, name=Slug("test-00000"))


def test_the_reader_of_manifests_is_strict() -> None:
    """A missing member, an unknown one, a wrong kind or another version is refused."""
    body = json.loads(canonical.encode(_manifest().to_json()))
    for changes in (
        {"v": 2},
        {"more": 1},
        {"parts": "x"},
        {"parts": [{**body["parts"][0], "more": 1}]},
        {"parts": [{**body["parts"][0], "rows": "10"}]},
        {"salt": "short"},
        {"unit": None},
        {"tenant": DATASET},
        {"fingerprints": None},
        {"homes": None},
    ):
        with pytest.raises(InvalidError):
            Manifest.from_json({**body, **changes})
    for missing in body:
        if missing not in ("fingerprints", "homes", "v"):
            with pytest.raises(InvalidError):
                Manifest.from_json({k: v for k, v in body.items() if k != missing})
    with pytest.raises(InvalidError):
        Manifest.from_json([])  # type: ignore[arg-type]
