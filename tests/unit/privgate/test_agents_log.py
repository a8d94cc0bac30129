"""An agent's log: what verifies, and what does not."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from kernel import canonical
from kernel.amounts import Delta
from kernel.canonical import Digest
from kernel.errors import ConflictError, CorruptError, InvalidError, NotFoundError, PrivgateError
from kernel.events import Parameter
from kernel.ids import JobId, Slug
from kernel.signing import Ed25519Signer, Envelope, sign_envelope
from privacy.accounting.mechanisms import Gaussian
from privacy.accounting.rdp import job_epsilon
from privacy.homomorphic.documents.parties import PartyKind
from privacy.sealing.keyring_file import KeyFile
from privacy.sealing.secret import SecretBytes
from privgate.agents.deeds import Deed, Entry, History
from privgate.agents.home import Home, identity_of
from privgate.agents.log import TYPE, entries, verified
from privgate.agents.papers import Papers
from privgate.agents.refusing import Why
from privgate.agents.rules import Partners, Rules, changed
from privgate.agents.verifying import verify_home
from tests.support.consortium import START, Consortium

ANY = Digest.of(b"any")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Consortium:
    """A consortium after a whole job."""
    of = Consortium(tmp_path_factory.mktemp("consortium"))
    assert of.play(of.carrier()) is not None
    return of


def signer_of(of: Consortium) -> Ed25519Signer:
    """The key holder's own key."""
    with of.holder.home(of.clock) as home:
        return home.signer


def rewritten(of: Consortium, lines: list[Entry]) -> bytes:
    """A log of these entries, signed by the real key and chained anew."""
    previous, found = of.holder.who.fingerprint, b""
    for size, entry in enumerate(lines, start=1):
        made = replace(entry, size=size, previous=previous)
        found += sign_envelope(TYPE, canonical.encode(made.to_json()), signer_of(of)).to_bytes() + b"\n"
        previous = made.digest
    return found


def own_entries(of: Consortium) -> list[Entry]:
    """The key holder's entries."""
    data = (of.holder.path / "log.jsonl").read_bytes()
    return list(entries(data, of.holder.who.identity, of.holder.who.fingerprint))


def test_a_whole_job_leaves_a_log_that_verifies(done: Consortium) -> None:
    """Of the key holder: one key, and one decryption for each round; of a site: one answer for each."""
    found = verify_home(done.holder.path)
    history = found.history.of(done.job)
    assert history.decryptions == len(history.done) == found.results > 2
    assert [entry.deed for entry in own_entries(done)][:4] == [
        Deed.ORDER_ACCEPTED, Deed.KEY_MADE, Deed.ROUND_OPENED, Deed.DECRYPTING
    ]  # fmt: skip
    for site in done.sites:
        answered = verify_home(site.path).history.of(done.job).answered
        assert sorted(answered) == sorted(history.done)


def test_every_changed_byte_is_found(done: Consortium) -> None:
    """A line is signed as it is."""
    data = (done.holder.path / "log.jsonl").read_bytes()
    for place in range(0, len(data), 97):
        altered = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(CorruptError):
            verified(altered, done.holder.who)


def test_lines_left_out_or_swapped_are_found(done: Consortium) -> None:
    """Each line names the one before."""
    lines = (done.holder.path / "log.jsonl").read_bytes().splitlines(keepends=True)
    for wrong in (lines[1:], lines[:3] + lines[4:], [lines[1], lines[0], *lines[2:]], [*lines, lines[-1]]):
        with pytest.raises(CorruptError):
            verified(b"".join(wrong), done.holder.who)


def test_a_log_that_is_cut_short_does_not_fit_the_results(done: Consortium, tmp_path: Path) -> None:
    """Its head stands in what the key holder signed; so does a log that its owner wrote anew."""
    copy = copied(done, tmp_path)
    lines = (copy / "log.jsonl").read_bytes().splitlines(keepends=True)
    (copy / "log.jsonl").write_bytes(b"".join(lines[:-4]))
    verified(b"".join(lines[:-4]), done.holder.who)
    with pytest.raises(CorruptError):
        verify_home(copy)
    entries = own_entries(done)
    later = [replace(entry, at=entry.at + timedelta(seconds=1)) for entry in entries]
    (copy / "log.jsonl").write_bytes(rewritten(done, later))
    with pytest.raises(CorruptError):
        verify_home(copy)


def copied(of: Consortium, folder: Path) -> Path:
    """A copy of the key holder's home."""
    import shutil

    target = folder / "copy"
    shutil.copytree(of.holder.path, target)
    return target


@pytest.mark.parametrize(
    "wrong",
    [
        lambda e: [*e[:4], replace(e[3], what=ANY), *e[4:]],
        lambda e: [*e[:2], replace(e[1], what=ANY), *e[2:]],
        lambda e: [e[0], *e],
        lambda e: [e[0], e[1], e[2], e[4], e[3], *e[5:]],
        lambda e: [*e, replace(e[2], number=9)],
        lambda e: e[1:],
    ],
    ids=["second-set", "second-key", "second-order", "decrypted-before", "after-the-end", "no-order"],
)
def test_a_log_in_which_something_happened_twice_does_not_verify(done: Consortium, wrong: object) -> None:
    """Even if its owner signed every line."""
    with pytest.raises(CorruptError, match="contradicts"):
        verified(rewritten(done, wrong(own_entries(done))), done.holder.who)  # type: ignore[operator]


def test_the_same_set_may_be_begun_again_and_counts_again(done: Consortium) -> None:
    """That is what a kill leaves."""
    found = own_entries(done)
    history, _ = verified(rewritten(done, [*found[:4], found[3], *found[4:]]), done.holder.who)
    assert history.of(done.job).decryptions == len(history.of(done.job).done) + 1


def test_an_entry_has_what_its_deed_has() -> None:
    """No reason without a refusal, no round without its number."""
    good = Entry(size=1, previous=ANY, at=START, deed=Deed.ANSWERED, job=JobId.new(os.urandom), number=1, what=ANY)
    assert Entry.from_json(good.to_json()) == good
    for wrong in ({"number": 0}, {"what": None}, {"learned": 3}, {"why": Why.KEY}, {"deed": Deed.REFUSED}):
        with pytest.raises(InvalidError):
            replace(good, **wrong)
    with pytest.raises(InvalidError):
        Entry.from_json({**good.to_json(), "more": 1})


def test_a_refusal_is_for_good() -> None:
    """Nothing follows it."""
    job, history = JobId.new(os.urandom), History()
    history.fold(Entry(size=1, previous=ANY, at=START, deed=Deed.REFUSED, job=job, why=Why.KEY))
    with pytest.raises(ConflictError):
        history.fold(Entry(size=2, previous=ANY, at=START, deed=Deed.ORDER_ACCEPTED, job=job, what=ANY))


def test_a_line_of_another_key_is_not_read(done: Consortium) -> None:
    """The log is the agent's own."""
    line = (done.holder.path / "log.jsonl").read_bytes().splitlines()[0]
    payload = Envelope.from_bytes(line).payload
    forged = sign_envelope(TYPE, payload, Ed25519Signer(os.urandom(32))).to_bytes() + b"\n"
    with pytest.raises(CorruptError):
        verified(forged, done.holder.who)


def test_one_agent_lives_in_a_home(done: Consortium) -> None:
    """Two over one home could decrypt twice."""
    with done.holder.home(done.clock), pytest.raises(ConflictError):
        done.holder.home(done.clock)
    with pytest.raises(ConflictError):
        Home.create(done.holder.path, PartyKind.SITE, Slug("other"), done.holder.key, os.urandom)


def test_a_home_opens_with_its_own_key_alone(done: Consortium, tmp_path: Path) -> None:
    """And nobody lives in an empty one."""
    with pytest.raises(InvalidError):
        Home(done.holder.path, KeyFile(SecretBytes(os.urandom(32))), os.urandom, done.clock)
    with pytest.raises(PrivgateError):
        Home(tmp_path, done.holder.key, os.urandom, done.clock)
    (tmp_path / "empty").mkdir(mode=0o700)
    with pytest.raises(NotFoundError):
        identity_of(tmp_path / "empty")


def test_no_secret_lies_open_in_a_home(done: Consortium) -> None:
    """Neither the agent's keys nor a sum; the job's secret key is gone."""
    with done.holder.home(done.clock) as home:
        secrets = [home.sealing.reveal(), home.tls_key.reveal()]
    for file in done.holder.path.rglob("*"):
        if file.is_file():
            assert not any(secret in file.read_bytes() for secret in secrets), file.name
            assert file.stat().st_mode & 0o077 == 0, file.name
    assert not (done.holder.path / "jobs" / done.job / "secret").exists()


def test_a_pin_is_not_replaced(done: Consortium) -> None:
    """Another identity under a known name is what a swapped key looks like."""
    with done.sites[0].home(done.clock) as home:
        other = replace(done.sites[1].who, identity=Ed25519Signer(os.urandom(32)).public_key)
        with pytest.raises(ConflictError):
            home.trust(other)
        assert other not in home.pins()


def test_a_paper_is_written_once(tmp_path: Path) -> None:
    """The same bytes again are accepted."""
    papers = Papers(tmp_path / "papers")
    papers.keep("order", b"one")
    papers.keep("order", b"one")
    with pytest.raises(ConflictError):
        papers.keep("order", b"two")
    papers.drop("order")
    assert papers.get("order") is None
    with pytest.raises(InvalidError):
        papers.get("../order")


def test_rules_begin_with_noise_alone() -> None:
    """An exact result is somebody's decision (RULES 20)."""
    rules = Rules()
    assert [outcome.value for outcome in rules.outcomes] == ["noised"]
    assert Rules.from_bytes(rules.to_bytes()) == rules
    assert changed(rules, partners="key-holder").partners is Partners.KEY_HOLDER
    for wrong in (
        {"kinds": ["training"]},
        {"outcomes": ["any"]},
        {"least_sites": 2},
        {"rounds_at_most": 0},
        {"most_rho": "0"},
    ):
        with pytest.raises(InvalidError):
            changed(rules, **wrong)


def test_what_answers_may_cost_is_limited_at_first() -> None:
    """To an epsilon of about 3 at a delta of one in a million; a file from before has the same limit."""
    rules = Rules()
    multiplier = Parameter(Decimal(1 / (2 * float(rules.most_rho)) ** 0.5).quantize(Decimal("1e-9")))
    use = Gaussian(noise_multiplier=multiplier, count=1)
    assert Decimal("2.5") < job_epsilon(use, delta=Delta(Decimal("1e-6"))).epsilon.value < Decimal("3.1")
    body = canonical.decode(rules.to_bytes(), limit=2**16)
    del body["most_rho"]
    assert Rules.from_bytes(canonical.encode(body)) == rules
