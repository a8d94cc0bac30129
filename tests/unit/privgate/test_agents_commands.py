"""`privgate site` and `privgate keyholder`, without a gateway: homes, pins, rules, datasets, logs; and a real child."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kernel.errors import InvalidError, NotFoundError
from privacy.homomorphic.confined import Confined
from privacy.homomorphic.documents.parties import Identity, PartyKind
from privgate.agents.courses import course_of
from privgate.agents.home import identity_of, require_kind
from privgate.agents.refusing import RefusalError
from privgate.agents.site.computing import Computing
from privgate.agents.site.datasets import SiteDatasets
from privgate.cli.app import app
from tests.support.consortium import SCHEMA, Consortium


def run(*arguments: str | Path, code: int = 0) -> str:
    """Run a command; what it wrote to standard output, or to standard error if it should fail."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == code, done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The home of a new site."""
    run("site", "init", "north", "--home", tmp_path / "north")
    return tmp_path / "north"


def test_a_site_is_made_and_shown(site: Path, tmp_path: Path) -> None:
    """Its key file lies beside its home, and its identity is a file for others."""
    shown = json.loads(run("site", "identity", "--home", site, "--json", "--out", tmp_path / "identity.json"))
    who = Identity.from_bytes((tmp_path / "identity.json").read_bytes())
    assert (who.name, who.kind, who.fingerprint) == ("north", "site", shown["fingerprint"])
    assert (tmp_path / "north.key").stat().st_mode & 0o077 == 0
    assert "already" in run("site", "init", "other", "--home", site, code=8)


def test_a_home_opens_with_a_passphrase_too(tmp_path: Path) -> None:
    """And with no other."""
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse battery", encoding="utf-8")
    passphrase.chmod(0o600)
    home = tmp_path / "holder"
    run("keyholder", "init", "holder", "--home", home, "--passphrase-file", passphrase)
    run("keyholder", "rules", "--home", home, "--passphrase-file", passphrase)
    passphrase.write_text("another horse battery", encoding="utf-8")
    run("keyholder", "rules", "--home", home, "--passphrase-file", passphrase, code=2)


def test_identities_are_pinned_and_compared(site: Path, tmp_path: Path) -> None:
    """A fingerprint that was read out over the telephone has to be the file's."""
    run("keyholder", "init", "holder", "--home", tmp_path / "holder")
    identity = tmp_path / "holder.json"
    shown = json.loads(run("keyholder", "identity", "--home", tmp_path / "holder", "--json", "--out", identity))
    wrong = shown["fingerprint"][:-1] + ("0" if shown["fingerprint"][-1] != "0" else "1")
    assert "fingerprint" in run("site", "trust", identity, "--home", site, "--fingerprint", wrong, code=2)
    run("site", "trust", identity, "--home", site, "--fingerprint", shown["fingerprint"])
    assert [file.name for file in (site / "pins").iterdir()] == ["keyholder-holder.json"]


def test_rules_are_shown_and_set(site: Path) -> None:
    """Exact results are somebody's decision."""
    assert json.loads(run("site", "rules", "--home", site))["outcomes"] == ["noised"]
    changed = json.loads(run("site", "rules", "--home", site, "--outcome", "exact", "--least-sites", "4"))
    assert (changed["outcomes"], changed["least_sites"]) == (["exact"], 4)
    assert "least_sites" in run("site", "rules", "--home", site, "--least-sites", "2", code=2)
    assert json.loads(run("site", "rules", "--home", site, "--most-rho", "0.5"))["most_rho"] == "0.5"
    assert "most_rho" in run("site", "rules", "--home", site, "--most-rho", "0", code=2)
    run("site", "allow", f"sha256:{'0' * 64}", "--home", site)
    assert [file.name for file in (site / "allowed").iterdir()] == [f"request-{'0' * 64}-1"]


def test_a_dataset_is_a_file_that_stays(site: Path, tmp_path: Path) -> None:
    """Declared as at the gateway; its file is nobody else's to know."""
    declaration = tmp_path / "declaration.json"
    unit = {"kind": "record", "noun": "patient"}
    population = "pop_" + "a" * 26
    body = {"schema": SCHEMA.to_json(), "unit": unit, "population": population}
    declaration.write_text(json.dumps(body), encoding="utf-8")
    (tmp_path / "rows.csv").write_text("age,dose,ill\n", encoding="utf-8")
    dataset = "dst_" + "b" * 26
    run("site", "dataset", dataset, declaration, tmp_path / "rows.csv", "--home", site)
    assert "5" in run(
        "site", "dataset", dataset, declaration, "rows.csv", "--home", site, "--least-persons", "4", code=2
    )
    assert json.loads((site / "datasets" / f"{dataset}.json").read_bytes())["least_persons"] == 5


def test_a_file_is_of_one_population(site: Path, tmp_path: Path) -> None:
    """Under another name it is the same one; its people would have two budgets. Of one population it may be two."""
    declaration, rows = tmp_path / "declaration.json", tmp_path / "rows.csv"
    unit = {"kind": "record", "noun": "patient"}
    declaration.write_text(json.dumps({"schema": SCHEMA.to_json(), "unit": unit}), encoding="utf-8")
    rows.write_text("age,dose,ill\n", encoding="utf-8")
    (tmp_path / "other.csv").symlink_to(rows)

    def declared(dataset: str, file: Path, population: str, code: int = 0) -> str:
        whose = ("--population", "pop_" + population * 26)
        return run("site", "dataset", "dst_" + dataset * 26, declaration, file, "--home", site, *whose, code=code)

    declared("a", rows, "a")
    declared("b", rows, "a")
    assert "another population" in declared("c", tmp_path / "other.csv", "b", code=8)
    assert not (site / "datasets" / f"dst_{'c' * 26}.json").exists()
    declared("c", tmp_path / "third.csv", "b")


def test_logs_are_shown_if_they_verify(tmp_path: Path) -> None:
    """Entry by entry, or what all of it comes to."""
    of = Consortium(tmp_path)
    assert of.play(of.carrier()) is not None
    counted = json.loads(run("keyholder", "log", "--home", of.holder.path, "--verify", "--json"))
    assert (counted["verified"], counted["decryptions"]) == (True, counted["results"])
    assert "log of this keyholder verifies" in run("keyholder", "log", "--home", of.holder.path, "--verify")
    assert "answered 1" in run("site", "log", "--home", of.sites[0].path)
    log = of.holder.path / "log.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"payload":"ey', b'"payload":"ez', 1))
    run("keyholder", "log", "--home", of.holder.path, "--verify", code=9)


def test_running_wants_an_enrolment(site: Path) -> None:
    """And says so."""
    assert "enrol" in run("site", "run", "--home", site, "--once", code=7)


def test_an_agent_of_another_kind_does_not_run_here(tmp_path: Path) -> None:
    """A site's home is no key holder's."""
    home = tmp_path / "north"
    run("site", "init", "north", "--home", home)
    with pytest.raises(InvalidError):
        require_kind(identity_of(home), PartyKind.KEYHOLDER)


def test_a_site_computes_in_a_confined_child(tmp_path: Path) -> None:
    """The real one, with the real key holder's child beside it: three sites, one sum, and no plaintext in between."""
    of = Consortium(tmp_path)
    order, confined = of.order(), Confined()
    course, computing = course_of(order), Computing()
    public, secret = confined.make_keys(course.layout.profile)
    bodies = []
    for site, own in zip(of.sites, order.sites, strict=True):
        dataset = SiteDatasets(site.path).get(own.dataset)
        bodies.append(computing.ciphertexts(order, own, dataset, course.layout, course.asked(course.first()), public))
    sums = confined.decrypt(course.layout, secret, bodies)
    assert sums[0] == sum(len(rows) for rows in of.rows)


def test_a_broken_file_is_told_to_the_sites_own_people(tmp_path: Path) -> None:
    """By row, column and rule; never a value."""
    of = Consortium(tmp_path)
    file = tmp_path / "hospital-1.csv"
    file.write_text("age,dose,ill\n40,secret,true\n", encoding="utf-8")
    order = of.order()
    course, own = course_of(order), order.sites[0]
    dataset = SiteDatasets(of.sites[0].path).get(own.dataset)
    with pytest.raises(RefusalError) as caught:
        Computing().ciphertexts(order, own, dataset, course.layout, course.asked(course.first()), b"no key")
    assert "not-a-number in `dose` at row 1" in caught.value.message
    assert "secret" not in caught.value.message
    file.unlink()
    with pytest.raises(NotFoundError):
        Computing().ciphertexts(order, own, dataset, course.layout, course.asked(course.first()), b"no key")
