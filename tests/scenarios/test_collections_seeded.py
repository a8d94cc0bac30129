"""A seeded job through the gateway: quote and certificate say that every site has the secret key (RULES 36)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kernel.signing import Envelope
from privacy.homomorphic.validator import holds_secret_key
from tests.support.api import done, house
from tests.support.hospitals import Hospitals, fetched, table_of


def holders(observers: list[dict[str, Any]]) -> set[str]:
    """Who has the secret key."""
    return {one["observer"] for one in observers if one["secret_key"]}


def test_a_seeded_job_says_who_holds_the_key(tmp_path: Path) -> None:
    """Half the bytes of a round; in quote and certificate the sites beside the key holder; no key at the gateway."""
    with house(tmp_path / "home") as made:
        hospitals = Hospitals(made, tmp_path / "hospitals")
        public, quote = (
            done(made["trainer"].post("/v1/quotes", hospitals.body(profile=profile)))["quote"]
            for profile in ("bfv-2048-wide-public", "bfv-2048-wide-seeded")
        )
        job = hospitals.admitted(profile="bfv-2048-wide-seeded")
        ended = hospitals.play(job["job"])
        assert ended["state"] == "finished", [party.told for party in hospitals.everybody]
        release = ended["release"]
        done(made["owner-2"].post(f"/v1/releases/{release}/check", {"verdict": "release"}))
        made.settle()
        assert len(table_of(fetched(made, release, "artifact"))) == 2
        stated = json.loads(Envelope.from_bytes(fetched(made, release, "certificate.json")).payload)["predicate"]
    assert holders(public["observers"]) == {"key-holder"}
    assert holders(stated["observers"]) == holders(quote["observers"]) == {"key-holder", "site"}
    assert quote["bytes_per_site_and_round"] < 0.51 * public["bytes_per_site_and_round"]
    assert quote["bytes_of_the_key"] > public["bytes_of_the_key"]
    assert not any(holds_secret_key(file.read_bytes()) for file in (tmp_path / "home").rglob("*") if file.is_file())
