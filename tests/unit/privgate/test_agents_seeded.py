"""A job under a seeded profile: every site has the secret key, and only the key holder reads uploads (RULES 36)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kernel.errors import CorruptError
from privacy.glm.families import Family
from privacy.homomorphic.documents.key import JobKey
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.signed import DocumentKind, Parcel
from privacy.homomorphic.envelope import Upload
from privacy.homomorphic.registry import profile_of
from privacy.homomorphic.sealed import open_sealed
from privacy.homomorphic.sharing import encrypting_key
from privacy.homomorphic.validator import holds_secret_key
from tests.support.consortium import Carrier, Consortium

SEEDED = profile_of("bfv-2048-wide-seeded")


def seeded(of: Consortium) -> Carrier:
    """A carrier of an order under the seeded profile."""
    carrier: Carrier = of.carrier(profile=SEEDED.name, profile_digest=SEEDED.digest)
    return carrier


def documents(carrier: Carrier, kind: DocumentKind) -> list[bytes]:
    """What lies at the places of a kind."""
    return [data for place, data in carrier.kept.items() if place.kind is kind]


def test_a_seeded_job_ends_as_any_other(tmp_path: Path) -> None:
    """The pooled line, from uploads half as long; nothing that the gateway carried holds a key in the clear."""
    of = Consortium(tmp_path, Family.LINEAR)
    carrier = seeded(of)
    final = of.play(carrier)
    assert final is not None, [party.told for party in of.everybody]
    found = json.loads(Parcel.from_bytes(final).attachment)
    rows = np.array([row for site in of.rows for row in site], dtype=float)
    slope, intercept = np.polyfit(rows[:, 0], rows[:, 1], 1)
    table = {line["term"]: float(line["coefficient"]) for line in found["table"]}
    assert table == pytest.approx({"(intercept)": intercept, "age": slope}, abs=1e-6)
    assert not any(holds_secret_key(data) for data in carrier.kept.values())
    assert max(map(len, documents(carrier, DocumentKind.UPLOAD))) < 40_000


def test_a_site_does_not_read_anothers_upload_or_share(tmp_path: Path) -> None:
    """It has the secret key, and the other's upload is sealed to somebody else."""
    of = Consortium(tmp_path, Family.LINEAR)
    carrier = seeded(of)
    assert of.play(carrier) is not None
    parcels = [Parcel.from_bytes(data) for data in documents(carrier, DocumentKind.UPLOAD)]
    uploads = [Upload.opened(one.document, [site.who.identity for site in of.sites]) for one in parcels]
    parcel = Parcel.from_bytes(carrier.kept[Place(of.job, DocumentKind.KEY)])
    key = JobKey.opened(parcel.document, [of.holder.who.identity])
    order = of.order(profile=SEEDED.name, profile_digest=SEEDED.digest)
    first, second = of.sites[:2]
    with first.home(of.clock) as home:
        assert encrypting_key(key, order, SEEDED, parcel.attachment, first.party, home.sealing)
        with pytest.raises(CorruptError):
            encrypting_key(key, order, SEEDED, parcel.attachment, second.party, home.sealing)
        for upload, one in zip(uploads, parcels, strict=True):
            context = {"key": upload.key, "part": "upload", "round": upload.round, "site": upload.site}
            with pytest.raises(CorruptError):
                open_sealed(home.sealing, context, one.attachment)


@pytest.mark.parametrize("shared", ["nothing", "anothers", "under-a-public-key"])
def test_a_key_that_is_shared_otherwise_is_refused(tmp_path: Path, shared: str) -> None:
    """Nothing where a secret belongs, another order's in its place, one where none belongs."""
    of = Consortium(tmp_path, Family.LINEAR)
    carrier = seeded(of)
    of.turn(of.holder, carrier)
    place = Place(of.job, DocumentKind.KEY)
    parcel = Parcel.from_bytes(carrier.kept[place])
    key = JobKey.opened(parcel.document, [of.holder.who.identity])
    order, profile = of.order(profile=SEEDED.name, profile_digest=SEEDED.digest), SEEDED
    if shared == "nothing":
        wrong = JobKey.of(order, parcel.attachment)
    elif shared == "anothers":
        moved = tuple(zip(key.sealed, (*key.sealed[1:], key.sealed[0]), strict=True))
        wrong = JobKey.of(
            order, parcel.attachment, tuple(type(own)(site=own.site, sealed=other.sealed) for own, other in moved)
        )
    else:
        wrong, profile = key, profile_of("bfv-2048-wide-public")
    for site in of.sites:
        with site.home(of.clock) as home, pytest.raises(CorruptError):
            encrypting_key(wrong, order, profile, parcel.attachment, site.party, home.sealing)
    if shared != "under-a-public-key":
        with of.holder.home(of.clock) as home:
            carrier.kept[place] = Parcel(wrong.signed(home.signer), parcel.attachment).to_bytes()
        for site in of.sites:
            of.turn(site, carrier)
        assert of.refused(carrier) == {site.who.name for site in of.sites}
        assert {of.why(site) for site in of.sites} == {"key"}
