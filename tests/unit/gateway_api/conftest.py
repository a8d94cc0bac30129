"""A running gateway for the tests of the API, one for each module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.api import House, dataset_body, done, grant_body, house, population_body


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house with the cast, purposes, one population, one registered dataset and a grant for `trainer`."""
    with house(tmp_path_factory.mktemp("api") / "home", upload_bytes=2**20) as made:
        admin, owner = made["admin"], made["owner"]
        for purpose, within in (("research", []), ("research/oncology", ["research"]), ("marketing", [])):
            done(admin.post("/v1/purposes", {"purpose": purpose, "within": within}), 201)
        made.ids["population"] = done(owner.post("/v1/populations", population_body()), 201)["population"]
        made.ids["dataset"] = done(owner.post("/v1/datasets", dataset_body(made.ids["population"])), 201)["dataset"]
        grant = owner.post("/v1/grants", grant_body(made["trainer"].principal, made.ids["dataset"]))
        made.ids["grant"] = done(grant, 201)["grant"]
        yield made
