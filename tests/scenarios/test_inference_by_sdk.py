"""A client asks by SDK and by command, over TLS and real processes: killed in between, it goes on; it alone reads."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import privgate
from audit.trust import TrustFile
from kernel.errors import ConflictError, InvalidError
from privgate.cli.app import app
from privgate.client import profiles
from privgate.client.errors import DeniedError
from privgate.client.profiles import Profile
from privgate.sdk import inferring
from privgate.sdk.errors import JobEndedError
from privgate.sdk.gateway import Gateway
from tests.support.inference import FEATURES, PEOPLE, RECIPE, SCHEMA, rows_of_patients
from tests.support.processes import Home

pytestmark = pytest.mark.slow
PURPOSE = "research"
ROWS = [*PEOPLE, {"age": "", "sex": "male"}, {"age": 44, "sex": "female"}]
"""One of them cannot be scored."""


@dataclass(frozen=True)
class People:
    """Who is signed in, and what they work on."""

    owner: Gateway
    trainer: Gateway
    client: Gateway
    release: str
    dataset: str
    sign_in: Profile
    trust: Path


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    """A running gateway with a released model, which the client may ask and may not fetch; answers leave by policy."""
    home = Home(tmp_path_factory.mktemp("asked"), {"PRIVGATE_TICK_SECONDS": "1"})
    home.init()
    with ExitStack() as stack:
        stack.enter_context(home.api())
        stack.enter_context(home.worker())
        yield _prepared(home, stack)


def _prepared(home: Home, stack: ExitStack) -> People:
    port = home.port_file.read_text().strip()
    authority, url = str(home.path / "tls" / "ca.pem"), f"https://localhost:{port}"

    def connect(token: str, trust: Any = None) -> Gateway:
        made = privgate.connect(url=url, token=token, authority=authority, trust=trust)
        stack.callback(made.close)
        return made

    admin = connect(home.token)
    admin.define_purpose(PURPOSE)
    admin.set_policy({"ceilings": [{"sensitivity": "confidential", "epsilon": "4"}]})
    trust = home.folder / "trust.json"
    trust.write_bytes(admin.trust().to_bytes())
    tokens, signed_in = {}, {}
    for name, role in (("owner", "owner"), ("trainer", "trainer"), ("client", "trainer")):
        enrolled = admin.enrol(name)
        admin.assign_role(enrolled.principal, role)
        tokens[name], signed_in[name] = enrolled.token, connect(enrolled.token, trust)
    owner, trainer, client = signed_in["owner"], signed_in["trainer"], signed_in["client"]
    population = owner.create_population(
        unit_kind="record", unit_noun="patient", unit_domain="patients", public_size=2000, epsilon="20",
        delta="0.000001",
    )  # fmt: skip
    dataset = owner.register_dataset(
        title="Patients", population=population, schema=SCHEMA, unit={"kind": "record", "noun": "patient"},
        sensitivity="confidential", purposes=[PURPOSE], legal_basis="gdpr-6-1-e-public-task",
        retention_until="2099-01-01",
    )  # fmt: skip
    rows = home.folder / "patients.csv"
    rows.write_bytes(rows_of_patients())
    owner.upload(dataset, rows)
    common = {"dataset": dataset, "purpose": PURPOSE, "until": "2099-01-01"}
    owner.grant(principal=trainer.whoami().principal, auto_release_epsilon="4", **common)
    owner.grant(principal=client.whoami().principal, job_kinds=["he.infer"], auto_release_epsilon="0", **common)
    job = trainer.train(dataset, purpose=PURPOSE, epsilon="4", features=FEATURES, recipe=RECIPE).wait()
    pem = Path(authority).read_text()
    sign_in = Profile(url=url, token=tokens["client"], authority=pem)
    return People(owner, trainer, client, str(job.release), dataset.dataset, sign_in, trust)


def in_the_clear(people: People) -> list[float | None]:
    """What the trainer, who may fetch the model, gets for the same rows."""
    return people.trainer.releases[people.release].fetch().scorer().scores(ROWS)


def test_the_client_reads_what_the_trainer_would(people: People) -> None:
    """Each row in its place, none for one that cannot be scored; the model's files stay closed to him."""
    quoted = people.client.quote_inference(people.release, purpose=PURPOSE)
    assert (quoted.charge, quoted.rows_at_most) == ("0", 2048)
    before = people.owner.populations[people.owner.datasets[people.dataset].population]
    found = people.client.infer(people.release, ROWS, purpose=PURPOSE)
    expected = in_the_clear(people)
    assert [numbers is None for numbers in found.outputs] == [score is None for score in expected]
    for numbers, score in zip(found.outputs, expected, strict=True):
        assert numbers is None or numbers[0] == pytest.approx(score, abs=10 * found.error)
    assert found.predict() == people.trainer.releases[people.release].fetch().predict(ROWS)
    assert people.owner.populations[people.owner.datasets[people.dataset].population] == before
    with pytest.raises(DeniedError):
        people.client.releases[people.release].fetch()
    with pytest.raises(InvalidError):
        people.client.infer(people.release, [], purpose=PURPOSE)
    shown = people.client.releases[found.release].fetch()
    assert "charged: nothing" in repr(shown)
    with pytest.raises(InvalidError):
        shown.scorer()


def test_more_rows_than_a_ciphertext_has_slots_are_asked_in_batches(people: People) -> None:
    """Each row in its place, across the border of a batch."""
    many = [{"age": place % 100, "sex": "male" if place % 2 else "female"} for place in range(2100)]
    found = people.client.infer(people.release, many, purpose=PURPOSE)
    assert found.certificate.predicate.question.batches == 2
    expected = people.trainer.releases[people.release].fetch().scorer().scores(many)
    for numbers, score in zip(found.outputs, expected, strict=True):
        assert numbers is not None
        assert numbers[0] == pytest.approx(score, abs=10 * found.error)


def sign_in(people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's profile, as `privgate login` leaves it."""
    monkeypatch.setenv("PRIVGATE_CONFIG", str(tmp_path / "config"))
    profiles.save("default", people.sign_in)
    profiles.save_trust("default", TrustFile.from_bytes(people.trust.read_bytes()))


class Killed(BaseException):
    """The client dies here."""


@pytest.mark.parametrize("before", [True, False])
def test_a_client_that_was_killed_goes_on_with_the_same_job(
    people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    """Killed before or after its question left: the same call finishes the same job; then nothing is kept."""
    keep, sent = tmp_path / "kept", inferring._Terms.send

    def dying(*given: Any) -> None:
        if not before:
            sent(*given)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(inferring._Terms, "send", dying)
        with pytest.raises(Killed):
            people.client.infer(people.release, ROWS, purpose=PURPOSE, keep=keep)
    jobs = {job.job for job in people.client.jobs if job.state != "finished"} if before else None
    assert b"secret" not in b"".join(path.read_bytes() for path in keep.iterdir())
    with pytest.raises(ConflictError):
        people.client.infer(people.release, ROWS[:2], purpose=PURPOSE, keep=keep)
    found = people.client.infer(people.release, ROWS, purpose=PURPOSE, keep=keep)
    assert jobs is None or found.job in jobs
    assert found.outputs[0] is not None
    assert found.outputs[0][0] == pytest.approx(in_the_clear(people)[0], abs=10 * found.error)
    assert not keep.exists()


def test_a_job_that_ended_while_the_client_was_away_leaves_nothing_kept(
    people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its question can never be sent: the client is told how it ended, and the same call then asks anew."""
    keep = tmp_path / "kept"

    def dying(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(inferring._Terms, "send", dying)
        with pytest.raises(Killed):
            people.client.infer(people.release, ROWS, purpose=PURPOSE, keep=keep)
    (job,) = (one for one in people.client.jobs if one.state == "collecting")
    job.cancel()
    with pytest.raises(JobEndedError):
        people.client.infer(people.release, ROWS, purpose=PURPOSE, keep=keep)
    assert not keep.exists()
    assert people.client.infer(people.release, ROWS, purpose=PURPOSE, keep=keep).job != job.job


def test_whoever_waits_for_people_comes_back_with_the_same_command(
    people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A grant that wants the owner's yes, and lets nothing leave by itself: two waits, one job, one question."""
    sign_in(people, tmp_path, monkeypatch)
    strict = people.owner.grant(
        principal=people.client.whoami().principal, dataset=people.dataset, purpose=PURPOSE, until="2099-01-01",
        job_kinds=["he.infer"], approval_required=True,
    )  # fmt: skip
    rows, out = tmp_path / "rows.jsonl", tmp_path / "scores.csv"
    rows.write_text('{"age": 71.5, "sex": "male"}\n')
    again = ["infer", people.release, "--purpose", PURPOSE, "--rows", str(rows), "--out", str(out)]
    assert CliRunner().invoke(app, again).exit_code == 8
    (job,) = (one for one in people.client.jobs if one.state == "awaiting-approval")
    people.owner.approve(job.job)
    held = CliRunner().invoke(app, again)
    assert held.exit_code == 8, held.output
    release = people.client.jobs[job.job].result()
    assert f"privgate releases check {release.release} release" in held.output
    assert "goes on" in held.output
    assert release.state == "held"
    people.owner.check_release(release, "release")
    for _ in range(100):
        if (found := CliRunner().invoke(app, again)).exit_code != 5:  # until the log has published it
            break
    assert found.exit_code == 0, found.output
    assert len(out.read_text().splitlines()) == 2
    assert out.stat().st_mode & 0o077 == 0
    people.owner.revoke_grant(strict)


def test_an_answer_that_its_door_keeper_refuses_is_read_by_nobody(
    people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client is told so, and nothing of the question is kept: the same command then asks anew."""
    sign_in(people, tmp_path, monkeypatch)
    strict = people.owner.grant(
        principal=people.client.whoami().principal, dataset=people.dataset, purpose=PURPOSE, until="2099-01-01",
        job_kinds=["he.infer"], approval_required=True,
    )  # fmt: skip
    rows, out = tmp_path / "rows.jsonl", tmp_path / "scores.csv"
    rows.write_text('{"age": 17.5, "sex": "male"}\n')
    again = ["infer", people.release, "--purpose", PURPOSE, "--rows", str(rows), "--out", str(out)]
    assert CliRunner().invoke(app, again).exit_code == 8
    (job,) = (one for one in people.client.jobs if one.state == "awaiting-approval")
    people.owner.approve(job.job)
    assert CliRunner().invoke(app, again).exit_code == 8
    people.owner.check_release(people.client.jobs[job.job].result(), "refuse")
    refused = CliRunner().invoke(app, again)
    assert refused.exit_code == 8, refused.output
    assert not out.exists()
    assert not (tmp_path / "scores.csv.question").exists()
    people.owner.revoke_grant(strict)


def test_the_command_writes_scores_and_overwrites_nothing(
    people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`privgate infer`: a line for each row; a quote by `--quote`; the same file a second time is refused."""
    sign_in(people, tmp_path, monkeypatch)
    rows, out = tmp_path / "rows.csv", tmp_path / "scores.csv"
    with rows.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["age", "sex"])
        writer.writeheader()
        writer.writerows(ROWS)
    always = ["infer", people.release, "--purpose", PURPOSE]
    runner = CliRunner()
    quoted = runner.invoke(app, [*always, "--quote"])
    assert quoted.exit_code == 0, quoted.output
    assert "holds the secret key" in quoted.output
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    done = runner.invoke(app, [*always, "--rows", "rows.csv", "--out", "scores.csv"])
    assert done.exit_code == 0, done.output
    assert "ill = true" in done.output
    lines = list(csv.DictReader(out.open()))
    assert [line["prediction"] for line in lines] == [
        "" if said is None else str(said).lower()
        for said in people.trainer.releases[people.release].fetch().predict(ROWS)
    ]
    numbers = [line[name] for line in lines for name in ("score", "probability of ill = true") if line[name]]
    assert len(numbers) == 2 * sum(bool(line["prediction"]) for line in lines)
    assert all(len(number.partition(".")[2]) <= 5 for number in numbers)
    assert not (tmp_path / "scores.csv.question").exists()
    assert runner.invoke(app, [*always, "--rows", str(rows), "--out", str(out)]).exit_code == 2


def test_rows_that_cannot_be_asked_leave_no_job_and_no_folder(
    people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing column is named, in an ordinary directory; neither it nor rows without values are asked about."""
    sign_in(people, tmp_path, monkeypatch)
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    before, there = {job.job for job in people.client.jobs}, {*tmp_path.iterdir(), tmp_path / "rows.csv"}
    command = ["infer", people.release, "--purpose", PURPOSE, "--rows", "rows.csv", "--out", "scores.csv"]
    for written, said in (("age,Sex\n71,male\n", "`sex`"), ("age,sex\n,male\n", "None of the rows can be scored")):
        Path("rows.csv").write_text(written)
        refused = CliRunner().invoke(app, command)
        assert refused.exit_code == 2, refused.output
        assert said in refused.output.replace("\n", " ")
    Path("rows.csv").write_text("age,sex\n71,male\n")
    command[3] = "elsewhere"
    assert CliRunner().invoke(app, command).exit_code != 0
    assert {job.job for job in people.client.jobs} == before
    assert set(tmp_path.iterdir()) == there


def test_a_job_whose_terms_differ_from_the_quote_is_cancelled(
    people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that turn out not to fit once there is a job: it does not wait a day for nothing, and nothing is kept."""

    def passing(*_: Any) -> list[Any]:
        return []

    def refusing(*_: Any) -> Any:
        raise InvalidError("none of the rows can be scored", field="rows")

    before = {job.job for job in people.client.jobs}
    monkeypatch.setattr(inferring, "encoded_rows", passing)
    monkeypatch.setattr(inferring._Terms, "asked", refusing)
    with pytest.raises(InvalidError):
        people.client.infer(people.release, ROWS, purpose=PURPOSE, keep=tmp_path / "kept")
    assert {job.state for job in people.client.jobs if job.job not in before} == {"cancelled"}
    assert not (tmp_path / "kept").exists()
