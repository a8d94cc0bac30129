"""Agents that are killed at every point of a job and started again: nothing is done twice, nothing is lost (RULES 34).

A kill is an exception at a crash point that nothing catches on the way; the home is then opened anew, as after a kill.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from privacy.glm.families import Family
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.signed import DocumentKind, Parcel
from privgate.agents.verifying import verify_home
from tests.support.consortium import Carrier, Consortium, Party, Unconfined


class Killed(BaseException):
    """The agent is gone."""


class Killer:
    """A crash point that kills at the n-th point that is passed, and counts them."""

    def __init__(self, at: int | None = None) -> None:
        self.at, self.passed = at, 0
        self.name = ""

    def __call__(self, name: str) -> None:
        self.passed += 1
        if self.passed == self.at:
            self.name = name
            raise Killed


def points_of(folder: Path, role: str) -> list[str]:
    """The points that one life of an agent passes, without harm."""
    of = Consortium(folder, Family.LINEAR)
    carrier: Carrier = of.carrier()
    party, passed = of.holder if role == "holder" else of.sites[0], []
    before(of, party, carrier)
    of.turn(party, carrier, passed.append)
    return passed


def before(of: Consortium, party: Party, carrier: Carrier) -> None:
    """Play up to where this party has the most to do: answering the first round, or decrypting it."""
    of.turn(of.holder, carrier)
    if party is of.holder:
        for site in of.sites:
            of.turn(site, carrier)


def uploads(carrier: Carrier) -> dict[Place, bytes]:
    """Every upload that was sent."""
    return {place: data for place, data in carrier.kept.items() if place.kind is DocumentKind.UPLOAD}


EACH = 7
"""Of all points of a life each seventh is killed at: about a hundred are passed, most of them those of papers."""


@pytest.mark.slow
@pytest.mark.parametrize("role", ["holder", "site"])
def test_killed_at_any_point_it_goes_on_as_if_nothing_had_been(tmp_path: Path, role: str) -> None:
    """A model of one round (linear), so that the points of a whole life are passed."""
    total = len(points_of(tmp_path / "counting", role))
    assert total > 30
    for at in range(1, total + 1, EACH):
        killed_at(tmp_path / f"{role}-{at}", role, at)


@pytest.mark.parametrize(("role", "deed"), [("holder", "decrypting"), ("holder", "decrypted"), ("site", "answered")])
def test_killed_around_what_cannot_be_taken_back(tmp_path: Path, role: str, deed: str) -> None:
    """Before the entry is written, before it is flushed, and after."""
    points = points_of(tmp_path / "counting", role)
    for end in ("before-write", "before-fsync", "after-fsync"):
        name = f"party-log-{deed}:{end}"
        assert killed_at(tmp_path / end, role, points.index(name) + 1) == name


def killed_at(folder: Path, role: str, at: int) -> str:
    """Kill one party at one point, start it again, and hold what comes of it against the rules; the point's name."""
    of = Consortium(folder, Family.LINEAR)
    carrier: Carrier = of.carrier()
    party = of.holder if role == "holder" else of.sites[0]
    before(of, party, carrier)
    killer, confined = Killer(at), Unconfined()
    with pytest.raises(Killed):
        of.turn(party, carrier, killer, confined)
    sent = uploads(carrier)
    final = of.play(carrier, confined=confined)
    assert final is not None, killer.name
    assert {name for name, data in sent.items() if carrier.kept[name] != data} == set(), "an upload was made anew"
    assert len(set(confined.decrypted)) == 1, "another set was decrypted"
    assert of.refused(carrier) == set()
    found = verify_home(of.holder.path)
    assert found.history.of(of.job).decryptions == len(confined.decrypted) + lost(killer.name)
    assert Parcel.from_bytes(final).attachment
    for site in of.sites:
        assert verify_home(site.path).results == 1
    return killer.name


def lost(name: str) -> int:
    """A decryption that was entered and never begun counts, too."""
    return int(name == "party-log-decrypting:after-fsync" or name == "party-log-decrypting:before-fsync")


def test_a_line_that_was_cut_off_is_cut_away(tmp_path: Path) -> None:
    """The write of an entry may arrive in part; its deed had no effect yet."""
    of = Consortium(tmp_path)
    carrier: Carrier = of.carrier()
    of.turn(of.holder, carrier)
    log = of.holder.path / "log.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole + whole.splitlines()[-1][:50])
    of.turn(of.holder, carrier)
    assert log.read_bytes() == whole


def test_papers_that_were_not_yet_entered_are_used_and_not_made_anew(tmp_path: Path) -> None:
    """An upload that is on the disk is the one that is sent: under noise a second one would average it out."""
    of = Consortium(tmp_path)
    carrier: Carrier = of.carrier()
    of.turn(of.holder, carrier)
    site = of.sites[0]

    def die(name: str) -> None:
        if name == "party-log-answered:before-write":
            raise Killed

    with pytest.raises(Killed):
        of.turn(site, carrier, die)
    kept = (site.path / "jobs" / of.job / "upload-1").read_bytes()
    of.turn(site, carrier)
    assert list(uploads(carrier).values()) == [kept]
