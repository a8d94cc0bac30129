"""Pages that hold still while others write, and versions where two writers can meet."""

from __future__ import annotations

from typing import Any

import pytest

from kernel.canonical import Digest
from tests.support.api import House, dataset_body, done, refused


def register(made: House, count: int) -> set[str]:
    """Register further datasets."""
    body = dataset_body(made.ids["population"])
    return {done(made["owner"].post("/v1/datasets", body), 201)["dataset"] for _ in range(count)}


def pages(made: House, between: Any = lambda: None) -> list[list[str]]:
    """Walk the catalogue by its links, doing something between two pages."""
    found, path = [], "/v1/datasets?limit=3"
    while path:
        response = made["trainer"].get(path)
        found.append([card["dataset"] for card in done(response)])
        link = response.headers.get("link")
        path = "" if link is None else link[link.index("<") + 1 : link.index(">")]
        path += "&limit=3" if path else ""
        between()
    return found


def test_pages_hold_everything_once_in_one_order(made: House) -> None:
    """Every dataset is on exactly one page."""
    register(made, 7)
    walked = [identifier for page in pages(made) for identifier in page]
    assert walked == sorted(set(walked))
    assert set(walked) == {card["dataset"] for card in done(made["trainer"].get("/v1/datasets?limit=200"))}


def test_what_was_there_at_the_start_is_seen_once_while_others_insert(made: House) -> None:
    """A page is a range of ids, not a count: inserts shift nothing, so nothing is skipped or repeated."""
    before = register(made, 6)
    walked = [identifier for page in pages(made, lambda: register(made, 1)) for identifier in page]
    assert len(walked) == len(set(walked))
    assert before <= set(walked)


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "after=x", "after=job_" + "a" * 26])
def test_a_page_has_bounds(made: House, query: str) -> None:
    """422 for anything that is no page."""
    refused(made["trainer"].get(f"/v1/datasets?{query}"), 422, "invalid")


def test_two_writers_of_the_policy_meet(made: House) -> None:
    """The second one, who read what the first has replaced, is told to read again; nothing is overwritten unseen."""
    read = made["admin"].get("/v1/policy")
    policy, tag = done(read)["policy"], {"If-Match": read.headers["etag"]}
    done(made["admin"].put("/v1/policy", policy | {"checked_by": ["owner"]}, headers=tag))
    refused(made["admin"].put("/v1/policy", policy, headers=tag), 412, "stale")
    now = done(made["admin"].get("/v1/policy"))
    assert now["policy"]["checked_by"] == ["owner"]
    done(made["admin"].put("/v1/policy", policy, headers={"If-Match": f'"{now["epoch"]}"'}))


def test_two_writers_of_a_budget_meet(made: House) -> None:
    """Budget and caps are changed at the `ledger_seq` that was read, or not at all."""
    path = f"/v1/populations/{made.ids['population']}"
    tag = {"If-Match": made["owner"].get(path).headers["etag"]}
    changed = made["owner"].put(f"{path}/budget", {"epsilon": "8.5"}, headers=tag)
    assert done(changed)["epsilon"] == "8.5"
    refused(made["owner"].put(f"{path}/budget", {"epsilon": "9"}, headers=tag), 412, "stale")
    cap = {"principal": made["peer"].principal, "share": "0.5"}
    refused(made["owner"].put(f"{path}/caps", cap, headers=tag), 412, "stale")
    done(made["owner"].put(f"{path}/caps", cap, headers={"If-Match": changed.headers["etag"]}))
    assert done(made["owner"].get(path))["epsilon"] == "8.5"


@pytest.mark.parametrize(("tag", "status"), [(None, 428), ("x", 412), ('"x"', 412), ('"' + "9" * 30 + '"', 412)])
def test_a_writer_says_what_it_read(made: House, tag: str | None, status: int) -> None:
    """Without `If-Match` nothing is replaced, and what is no ETag matches nothing."""
    policy = done(made["admin"].get("/v1/policy"))["policy"]
    headers = {} if tag is None else {"If-Match": tag}
    assert refused(made["admin"].put("/v1/policy", policy, headers=headers), status)["field"] == "If-Match"


def test_an_auditor_sees_every_population_and_an_owner_its_own(made: House) -> None:
    """Listing shows what reading one by one would."""
    everything = {view["population"] for view in done(made["auditor"].get("/v1/populations"))}
    own = {view["population"] for view in done(made["owner"].get("/v1/populations"))}
    assert made.ids["population"] in own
    assert own <= everything
    assert made.ids["population"] not in {v["population"] for v in done(made["other-owner"].get("/v1/populations"))}


def test_a_policy_names_its_digest(made: House) -> None:
    """What a reader sees is what decisions cite."""
    view = done(made["auditor"].get("/v1/policy"))
    assert Digest(view["digest"])
    assert max(fields["epoch"] for fields in made.decisions().values()) == view["epoch"]
