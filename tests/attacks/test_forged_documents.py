"""Evidence of jobs on data of sites in which a gateway, a key holder or a site tells another story than happened.

The gateway forges with all its own keys: log, certificates and orders follow whatever it tells. What it cannot make is
a signature of a hospital or of the key holder; and what these sign otherwise does not fit what the others signed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from audit.findings import StepResult, Verdict
from kernel.canonical import Digest
from kernel.ids import JobId, PartyId
from kernel.signing import Ed25519Signer
from privacy.homomorphic.documents.endings import Refusal
from privacy.homomorphic.documents.order import Outcome
from privgate.agents.rules import Rules
from privgate.verify import verify_bundle
from privgate.verify.verdict import BundleVerdict
from privgate.verify.verdict import Outcome as Word
from tests.support.api import House, done, house
from tests.support.forged_documents import Evidence, Members, evidence_of
from tests.support.forgeries import Story, forge
from tests.support.hospitals import Hospitals

OTHER = str(Digest.of(b"another"))
ANOTHER_JOB = str(JobId.new(os.urandom))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway with its people."""
    with house(tmp_path_factory.mktemp("forged") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def genuine(made: House, tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """A job that a site refused; then a model in two rounds or three, exact, released and exported."""
    hospitals = Hospitals(made, tmp_path_factory.mktemp("hospitals"), (12, 11, 14))
    refuses(hospitals)
    job = hospitals.admitted(most_rounds=3)["job"]
    return evidence_of(made, hospitals, job, tmp_path_factory.mktemp("evidence"))


def refuses(hospitals: Hospitals) -> None:
    """A site whose rules do not allow a job says that it declines."""
    site, job = hospitals.sites[0], hospitals.admitted(most_rounds=3)["job"]
    for outcomes in ((Outcome.NOISED,), (Outcome.EXACT, Outcome.NOISED)):
        with site.home() as home:
            home.allow(Rules(outcomes=outcomes))
        hospitals.turn(site)
    assert done(hospitals.made["trainer"].get(f"/v1/jobs/{job}"))["state"] == "failed"


def judged(of: Evidence, bundle: Path) -> BundleVerdict:
    """The verifier's word on a bundle."""
    return verify_bundle(bundle, of.cycle.trust)


def said(step: StepResult) -> str:
    """What a step found."""
    return "; ".join(str(place) for place in step.locations)


def copied(of: Evidence, target: Path) -> Path:
    """The bundle, to be changed."""
    return of.cycle.copy(target)


def test_the_evidence_as_it_is_holds_and_says_what_was_looked_at(genuine: Evidence) -> None:
    """Each document was judged, counted, and held against the released file."""
    verdict = judged(genuine, genuine.cycle.bundle)
    assert [(step.title, said(step)) for step in verdict.steps if step.locations and step.title != "Report"] == []
    assert verdict.outcome is Word.VERIFIED
    files = list((genuine.cycle.bundle / "parties").glob("job_*/*.json"))
    rounds = len([file for file in files if file.name.startswith("round")])
    assert rounds >= 2
    assert len([file for file in files if file.name.startswith("refusal")]) == 1
    assert verdict.step("Rounds").sentence.startswith(f"{len(files) - 2} documents of 2 jobs")
    assert f"{rounds} decryptions begun for {rounds} rounds; 1 released files" in verdict.step("Rounds").sentence
    assert "on the gateway's word" in verdict.step("Parties").sentence


def test_nothing_is_in_it_that_its_reader_may_not_see(genuine: Evidence) -> None:
    """No state of a round, no ciphertext, no key, no artefact: an auditor may never fetch a release (RULES 19)."""
    folder = genuine.cycle.bundle / "parties"
    for file in folder.rglob("*.json"):
        assert file.stat().st_size < 2**15, file
    for number in (1, 2):
        assert b"point" not in (genuine.cycle.bundle / genuine.file(f"round-{number}")).read_bytes()
    points = (genuine.cycle.bundle / "release/he-glm.json").read_bytes().partition(b'"points":[["')[2][:16]
    assert points
    assert all(points not in file.read_bytes() for file in folder.rglob("*.json"))


Tell = Callable[[Members], Members]


def with_members(**members: Any) -> Tell:
    """Some members otherwise."""
    return lambda body: body | members


def first_added(body: Members) -> Members:
    """A result that adds another upload of the first site."""
    one, *rest = body["added"]
    return body | {"added": [one | {"upload": OTHER}, *rest]}


SIGNATURE = "not signed by whose it must be"
FORGERIES: dict[str, tuple[str, Tell, str, str, str]] = {
    # Signed by the gateway, with log and certificate following: only the parties' keys stand in its way.
    "a key of the gateway's": ("key", with_members(public_key=OTHER), "gateway", "Rounds", SIGNATURE),
    "a round of the gateway's": ("round-2", with_members(state=OTHER), "gateway", "Rounds", SIGNATURE),
    "an upload of the gateway's": ("upload-1-hospital-1", with_members(body=OTHER), "gateway", "Rounds", SIGNATURE),
    "a result of the gateway's": ("result-1", first_added, "gateway", "Rounds", SIGNATURE),
    "a final of the gateway's": ("final", with_members(artefact=OTHER), "gateway", "Rounds", SIGNATURE),
    "another site's upload": ("upload-1-hospital-1", with_members(), "hospital-2", "Rounds", SIGNATURE),
    # Orders the gateway does sign; what others signed over the true one does not follow.
    "an order with more rounds": (
        "order",
        with_members(rounds_at_most=9),
        "gateway",
        "Orders",
        "its plan does not follow from its request",
    ),
    "an order of another request": (
        "order",
        lambda body: body | {"spec": body["spec"] | {"purpose": "research"}},
        "gateway",
        "Orders",
        "it is not what its request asks for",
    ),
    "an order without a decision": (
        "order",
        lambda body: body | {"decisions": body["decisions"][1:]},
        "gateway",
        "Orders",
        "one decision for each dataset",
    ),
    "an order that borrows a decision": (
        "order",
        lambda body: body | {"decisions": [body["decisions"][1]] * 3},
        "gateway",
        "Orders",
        "did not allow this request on this dataset",
    ),
    "an order without an approval": (
        "order",
        lambda body: body | {"approvals": body["approvals"][1:]},
        "gateway",
        "Orders",
        "its approvals are not those in the log",
    ),
    "an order for a site of another name": (
        "order",
        lambda body: (
            body | {"sites": [body["sites"][0] | {"who": body["sites"][0]["who"] | {"name": "x"}}, *body["sites"][1:]]}
        ),
        "gateway",
        "Orders",
        "is not the party that was enrolled",
    ),
    "an order of another log": ("order", with_members(gateway="x"), "gateway", "Orders", "it cites another log"),
    "an order that the key was not made for": (
        "order",
        with_members(round_seconds=1),
        "gateway",
        "Rounds",
        "key for another job, order, profile",
    ),
    # Whoever signs rightly, and tells something that does not fit.
    "a key for other sites": ("key", with_members(participants=OTHER), "holder", "Rounds", "a key for another job"),
    "a round of another job": ("round-1", with_members(job=ANOTHER_JOB), "holder", "Rounds", "a round of another job"),
    "a round that follows nothing": (
        "round-2",
        with_members(previous=OTHER),
        "holder",
        "Rounds",
        "it does not follow from the key, or from the result",
    ),
    "a round out of turn": ("round-2", with_members(number=3), "holder", "Rounds", "it is not the round that the log"),
    "a round that asked at another point": (
        "round-2",
        with_members(state=OTHER),
        "holder",
        "Rounds",
        "asked the sites at other points",
    ),
    "an upload for another round": (
        "upload-2-hospital-1",
        with_members(round=OTHER),
        "hospital-1",
        "Rounds",
        "for another job, round, key",
    ),
    "an upload under another key": (
        "upload-1-hospital-3",
        with_members(key=OTHER),
        "hospital-3",
        "Rounds",
        "for another job, round, key",
    ),
    "an upload for other participants": (
        "upload-1-hospital-3",
        with_members(participants=OTHER),
        "hospital-3",
        "Rounds",
        "or set of sites",
    ),
    "another upload than was added": (
        "upload-1-hospital-1",
        with_members(body=OTHER),
        "hospital-1",
        "Rounds",
        "an upload that its site did not send",
    ),
    "a result over another upload": ("result-1", first_added, "holder", "Rounds", "that its site did not send"),
    "a result without a site": (
        "result-1",
        lambda body: body | {"added": [*body["added"][:2], body["added"][0]]},
        "holder",
        "Rounds",
        "no such document",
    ),
    "a result that read more": ("result-1", with_members(learned=10**6), "holder", "Rounds", "than the plan has"),
    "a result without a count": ("result-2", with_members(decryptions=1), "holder", "Rounds", "count of decryptions"),
    "a result of a log that did not grow": (
        "result-2",
        lambda body: body | {"log": body["log"] | {"size": 1}},
        "holder",
        "Rounds",
        "own log did not grow",
    ),
    "a final of another artefact": (
        "final",
        with_members(artefact=OTHER),
        "holder",
        "Rounds",
        "is not what the key holder concluded",
    ),
    "a final that leaves a site out": (
        "final",
        lambda body: body | {"sites": body["sites"][1:]},
        "holder",
        "Rounds",
        "it tells other sites",
    ),
    "a final after fewer rounds": (
        "final",
        with_members(rounds=1),
        "holder",
        "Rounds",
        "rounds or results are missing",
    ),
}


@pytest.mark.parametrize("how", FORGERIES, ids=lambda how: how.replace(" ", "-"))
def test_a_document_that_tells_another_story_is_found_by_its_check(genuine: Evidence, tmp_path: Path, how: str) -> None:
    """Log, certificate and whatever else the forger signs himself follow the forgery."""
    name, change, signer, step, words = FORGERIES[how]
    verdict = judged(genuine, genuine.told(tmp_path / "forged", name, change, signer))
    assert verdict.outcome is Word.FAILED
    assert verdict.step("Tree").verdict is Verdict.OK
    assert words in said(verdict.step(step)), [(s.title, said(s)) for s in verdict.steps if s.locations]


def test_documents_that_are_missing_or_too_many_are_found(genuine: Evidence, tmp_path: Path) -> None:
    """Each by its name; where all of them are gone nothing can be told, which is never OK."""
    bundle = copied(genuine, tmp_path / "bundle")
    (bundle / genuine.file("round-1")).unlink()
    shutil.copy(bundle / genuine.file("result-1"), bundle / genuine.file("result-9"))
    (bundle / "parties/notes.txt").write_text("x")
    found = said(judged(genuine, bundle).step("Rounds"))
    assert f"{genuine.file('round-1')}, entry" in found
    assert "the log cites this document, and it is not here" in found
    assert f"{genuine.file('result-9')}: the log cites no such document" in found
    assert "parties/notes.txt: the log cites no such document" in found
    shutil.rmtree(bundle / "parties")
    verdict = judged(genuine, bundle)
    assert verdict.outcome is Word.CANNOT_TELL
    assert {verdict.step(title).verdict for title in ("Parties", "Orders", "Rounds")} == {Verdict.CANNOT_TELL}


@pytest.mark.parametrize("kind", ["identities", "attestations", "order", "key", "round", "upload", "result", "final"])
def test_no_byte_of_a_document_can_be_another(genuine: Evidence, tmp_path: Path, kind: str) -> None:
    """One of each kind: a letter of what is said, and a letter of its signature or key."""
    bundle = copied(genuine, tmp_path / "bundle")
    folder = bundle / "parties" / (kind if kind.endswith("s") else genuine.job)
    file = min(folder.glob("*.json" if kind.endswith("s") else f"{kind}*.json"))
    data = file.read_bytes()
    for place in (len(data) // 3, len(data) - 30):
        file.write_bytes(data[:place] + (b"B" if data[place : place + 1] == b"A" else b"A") + data[place + 1 :])
        assert judged(genuine, bundle).outcome is Word.FAILED, place


def test_a_refusal_is_its_party_s_word(genuine: Evidence, tmp_path: Path) -> None:
    """A gateway cannot say for a site that it declines."""
    bundle = copied(genuine, tmp_path / "bundle")
    (file,) = (bundle / "parties").glob("job_*/refusal-*.json")
    said_by_gateway = Refusal.read(file.read_bytes()).signed(genuine.signers["gateway"])
    file.write_bytes(said_by_gateway)
    assert SIGNATURE in said(judged(genuine, bundle).step("Rounds"))
    other = Refusal(job=JobId(genuine.job), order=Digest(OTHER), party=PartyId(genuine.names["hospital-1"]))
    file.write_bytes(other.signed(genuine.signers[genuine.names["hospital-1"]]))
    assert "it is a refusal of another job or party" in said(judged(genuine, bundle).step("Rounds"))


def without_second_round(story: Story) -> None:
    """The log tells nothing of the second round."""
    gone = [entry for entry in story.entries if entry.type in ("round:opened", "upload:received", "round:decrypted")]
    story.remove(*(entry for entry in gone if entry.fields["number"] == 2))


def decrypted_twice(story: Story) -> None:
    """The log tells of a second result of the first round."""
    first = story.first("round:decrypted", number=1)
    again = first.another()
    again.fields["result"], again.fields["decryptions"] = OTHER, first.fields["decryptions"] + 1
    story.insert_after(first, again)


def uploaded_twice(story: Story) -> None:
    """The log tells of a second upload of a site."""
    first = story.first("upload:received", number=1)
    story.insert_after(first, first.another())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_second_round, "the log cites no such document"),
        (without_second_round, "rounds were left out"),
        (decrypted_twice, "a round has a second result"),
        (uploaded_twice, "a site has a second upload"),
    ],
)
def test_a_log_that_tells_of_other_rounds_is_found(
    genuine: Evidence, tmp_path: Path, change: Callable[[Story], None], words: str
) -> None:
    """Signed by the gateway's own key; the parties' documents do not follow."""
    verdict = judged(genuine, forge(genuine.cycle, tmp_path / "forged", change))
    assert verdict.step("Rounds").verdict is Verdict.NOT_OK
    assert words in said(verdict.step("Rounds"))


def test_parties_are_those_that_were_enrolled_and_attestations_their_own(genuine: Evidence, tmp_path: Path) -> None:
    """An identity of the gateway's making has another fingerprint; one site's attestation is no other's."""
    bundle = copied(genuine, tmp_path / "bundle")
    first, second = (bundle / f"parties/identities/{genuine.names[f'hospital-{n}']}.json" for n in (1, 2))
    shutil.copy(second, first)
    one, two, *_ = sorted((bundle / "parties/attestations").iterdir())
    shutil.copy(two, one)
    found = said(judged(genuine, bundle).step("Parties"))
    assert "it is not the identity that the log enrolled" in found
    assert "did not sign this attestation" in found or "it attests other rows" in found


def test_pins_decide_who_took_part(genuine: Evidence) -> None:
    """Whoever pins all parties is told that they are; a party without a pin, or with another key, is named."""
    bundle, trust = genuine.cycle.bundle, genuine.cycle.trust
    holder, one, *others = genuine.identities
    assert verify_bundle(bundle, trust, pins=genuine.identities).ok
    few = verify_bundle(bundle, trust, pins=(holder, one))
    assert few.outcome is Word.CANNOT_TELL
    assert "you pinned no site `hospital-2`" in said(few.step("Parties"))
    true_one = type(one)(
        name=one.name, kind=one.kind, identity=Ed25519Signer(os.urandom(32)).public_key, sealing=one.sealing
    )
    made_up = verify_bundle(bundle, trust, pins=(holder, true_one, *others))
    assert made_up.outcome is Word.FAILED
    assert "is not the one that you pinned" in said(made_up.step("Parties"))


def test_without_a_trust_file_orders_are_on_nobody_s_word(genuine: Evidence) -> None:
    """They are read all the same, so that what does not hold is found; the outcome is UNANCHORED."""
    verdict = verify_bundle(genuine.cycle.bundle, None)
    assert verdict.outcome is Word.UNANCHORED
    assert verdict.step("Orders").verdict is Verdict.CANNOT_TELL
    assert verdict.step("Rounds").verdict is Verdict.OK
