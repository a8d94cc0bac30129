"""Who is let in: tokens, their ends, and what is open to nobody in particular."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from gateway.api import jobs
from gateway.credentials import parse_token
from gateway.services.authenticating import REMEMBERED_SECONDS
from kernel.clock import ManualClock
from tests.support.api import House, Person, done, house, neighbour, refused
from tests.support.asgi import HANG, ask, piece

IDENTIFIER = re.compile(r"[a-z]{3}_[a-z2-7]{26}")


@pytest.fixture
def timed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, ManualClock]]:
    """A house whose clock moves when told to."""
    clock = ManualClock(datetime(2027, 1, 1, tzinfo=UTC))
    with house(tmp_path_factory.mktemp("timed") / "home", clock=clock, people=False) as made:
        yield made, clock


def further_token(made: House, name: str, days: int = 1) -> Person:
    """Another token for somebody."""
    path = f"/v1/principals/{made[name].principal}/credentials"
    issued = done(made["admin"].post(path, {"token_days": days}), 201)
    return Person(made.client, issued["principal"], issued["token"], issued["credential"])


def test_a_token_is_stored_as_a_hash_and_nowhere_else(made: House) -> None:
    """Neither the token nor its secret is in the database, the log or the files of the gateway."""
    token = further_token(made, "member").token
    secret = parse_token(token).secret.encode()
    made.gateway.on.database.dispose()
    files = {path.name: path.read_bytes() for path in made.gateway.settings.home.rglob("*") if path.is_file()}
    assert "privgate.sqlite" in files
    assert [name for name, content in files.items() if secret in content] == []


def test_a_token_that_was_changed_proves_nobody(made: House) -> None:
    """Each single change of a character is refused, and the answer does not say which part is wrong."""
    token = made["member"].token
    details = set()
    for place in range(0, len(token), 7):
        changed = token[:place] + ("a" if token[place] != "a" else "b") + token[place + 1 :]
        problem = refused(Person(made.client, "", changed).get("/v1/self"), 401)
        assert changed not in str(problem)
        details.add(problem["detail"])
    assert len(details) == 1


def test_an_expired_token_proves_nobody(timed: tuple[House, ManualClock]) -> None:
    """At the instant of its end it has ended, remembered or not."""
    made, clock = timed
    made.enrol("member")
    person = further_token(made, "member", days=1)
    done(person.get("/v1/self"))
    clock.advance(24 * 3600 - 1)
    done(person.get("/v1/self"))
    clock.advance(1)
    refused(person.get("/v1/self"), 401)


def test_a_revoked_token_ends_at_once_and_the_other_one_stays(made: House) -> None:
    """In the process that revokes it nothing is remembered of it."""
    person = further_token(made, "member")
    done(person.get("/v1/self"))
    done(made["admin"].delete(f"/v1/credentials/{person.credential}"))
    refused(person.get("/v1/self"), 401)
    done(made["member"].get("/v1/self"))


def test_a_token_revoked_elsewhere_ends_within_seconds(timed: tuple[House, ManualClock]) -> None:
    """Another process's revocation shows once the memory of the token has faded."""
    made, clock = timed
    member = made.enrol("member")
    done(member.get("/v1/self"))
    with made.gateway.on.database.writing() as connection:
        connection.exec_driver_sql("UPDATE credential SET revoked = 1 WHERE principal = ?", (member.principal,))
    clock.advance(REMEMBERED_SECONDS + 1)
    refused(member.get("/v1/self"), 401)


def test_whoever_is_disabled_is_out_at_once(made: House) -> None:
    """Every token ends with the principal."""
    person = made.enrol("leaver", "owner")
    second = further_token(made, "leaver")
    done(made["admin"].delete(f"/v1/principals/{person.principal}"))
    refused(person.get("/v1/self"), 401)
    refused(second.get("/v1/self"), 401)


def test_a_new_principal_can_do_nothing(made: House) -> None:
    """Until a role is given, a token opens its holder's own card and the house rules."""
    person = made.enrol("newcomer")
    assert done(person.get("/v1/self"))["roles"] == []
    refused(person.get("/v1/datasets"), 403)
    done(made["admin"].post(f"/v1/principals/{person.principal}/roles", {"role": "trainer"}))
    done(person.get("/v1/datasets"))


def test_roles_that_must_not_meet_are_refused(made: House) -> None:
    """Administrator and auditor share a principal with no other role, and an administrator stays."""
    for name, role in (("owner", "auditor"), ("auditor", "owner"), ("trainer", "admin")):
        problem = refused(made["admin"].post(f"/v1/principals/{made[name].principal}/roles", {"role": role}), 403)
        assert problem["reason"] == "role-conflict"
    last = made["admin"].delete(f"/v1/principals/{made['admin'].principal}")
    assert refused(last, 403)["reason"] == "last-admin"


def test_another_organisation_sees_nothing_of_this_one(made: House) -> None:
    """Lists are empty of it, and its own trust file names another tenant."""
    stranger = neighbour(made)
    listed = done(stranger.get("/v1/principals"))
    assert [view["principal"] for view in listed] == [stranger.principal]
    assert done(stranger.get("/v1/purposes")) == []
    theirs, ours = done(stranger.get("/v1/self"))["tenant"], done(made["admin"].get("/v1/self"))["tenant"]
    assert theirs != ours
    refused(stranger.post(f"/v1/principals/{made['member'].principal}/roles", {"role": "trainer"}), 403)


def test_probes_need_no_token_and_tell_nothing(made: House) -> None:
    """Health is words and truth values; no identifier, path, count or time is among them."""
    for path in ("/healthz", "/livez", "/readyz", "/startupz"):
        health = done(made.client.get(path))
        assert health["status"] == "ok"
        assert set(health) == {"status", "parts"}
        assert set(map(type, health["parts"].values())) <= {bool}


def test_metrics_name_nobody(made: House) -> None:
    """No label holds an identifier, a name or a path of a request."""
    done(made["trainer"].get(f"/v1/datasets/{made.ids['dataset']}"))
    made.client.get("/v1/kept-between-us-8461")
    written = made.client.get("/metrics").text
    assert "privgate_requests_total" in written
    assert IDENTIFIER.search(written) is None
    for private in ("kept-between-us-8461", "v1/", "oncology", "Doses", str(made.tenant)):
        assert private not in written


def test_metrics_tell_nothing_of_the_process(made: House) -> None:
    """Its memory and processor time follow the size of an upload; a host's operator sees them elsewhere."""
    lines = made.client.get("/metrics").text.splitlines()
    names = {line.split("{")[0].split(" ")[0] for line in lines if not line.startswith("#")}
    assert names == {"privgate_requests_total", "privgate_requests_created"}


def test_a_stream_ends_when_its_reader_may_read_no_more(made: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that was opened with a good token does not outlive it."""
    monkeypatch.setattr(jobs, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(jobs, "KEEP_ALIVE_POLLS", 2)
    waiting = _waiting_job(made)
    person = further_token(made, "trainer")
    headers = {"Authorization": f"Bearer {person.token}"}
    monkeypatch.setattr(jobs, "new_lines", _revoking(made, person))
    answer = ask(
        made.client.app, "GET", f"/v1/jobs/{waiting}/events", headers, [piece(b"", more=False), HANG], seconds=20
    )
    assert answer.status == 200
    assert answer.body.count(b": still here") < 50


def _revoking(made: House, person: Person) -> object:
    """In place of reading progress: nothing new ever comes, and after a few looks the token is revoked."""
    looks = iter(range(10**9))

    def none(*_: object) -> list[object]:
        if next(looks) == 5:
            with made.gateway.on.database.writing() as connection:
                connection.exec_driver_sql("UPDATE credential SET revoked = 1 WHERE id = ?", (person.credential,))
            made.client.app.state.privgate.authenticator.forget()
        return []

    return none


def _waiting_job(made: House) -> str:
    """A job that waits for its owner's yes: parked rows exist without a worker."""
    monday = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=1)
    row = {
        "id": "job_" + "b" * 26, "tenant": str(made.tenant), "principal": made["trainer"].principal,
        "dataset": made.ids["dataset"], "population": made.ids["population"], "kind": "training",
        "state": "awaiting-approval", "purpose": "research/oncology", "spec": "{}", "plan": "{}",
        "request_digest": "sha256:" + "0" * 64, "epsilon": "1", "policy_epoch": 1, "attempts": 0, "steps_started": 0,
        "cancel_requested": 0, "savepoint_step": 0, "row_version": 1,
        "created_at": monday.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }  # fmt: skip
    with made.gateway.on.database.writing() as connection:
        names, places = ", ".join(row), ", ".join("?" for _ in row)
        connection.exec_driver_sql(f"INSERT INTO job ({names}) VALUES ({places})", tuple(row.values()))
    return str(row["id"])
