"""The child at a site: its own minimum of persons holds for every cell, whatever the order says."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from kernel.ids import Slug
from privacy.homomorphic.registry import profile_of
from privacy.homomorphic.site.assignment import ROLE, Answer, SiteAssignment
from privacy.homomorphic.site.runner import main
from privacy.homomorphic.statistics.plan import FederatedStatistics
from privacy.homomorphic.tenseal_backend.keys import make_keys
from privacy.ingest.formats import UploadFormat
from privacy.jobs.asking import complete_query
from privacy.sandbox.frames import Channel
from privacy.schema import TableSchema
from privacy.units import PrivacyUnit

PROFILE = profile_of("bfv-2048-wide-public")
SCHEMA = TableSchema.from_json({"columns": [{"name": "sex", "kind": "categorical", "categories": ["female", "male"]}]})


def assignment(file: Path, least_persons: int) -> SiteAssignment:
    """A histogram, by an order that asks for five persons in a cell."""
    queries = complete_query({"kind": "histogram", "columns": ["sex"]}, SCHEMA)
    plan = FederatedStatistics(queries=tuple(queries), covariances=(), schema=SCHEMA, least_persons=5)
    return SiteAssignment(
        file=str(file),
        format=UploadFormat.of("csv"),
        schema=SCHEMA,
        unit=PrivacyUnit.from_json({"kind": "record", "noun": "patient"}),
        kind=Slug("he.statistics"),
        plan=plan.to_json(),
        state={},
        layout=plan.layout(PROFILE, 3),
        least_persons=least_persons,
        place=0,
    )


def said(given: SiteAssignment) -> str:
    """What the child answers."""
    (ours, their_end), (theirs, our_end) = os.pipe(), os.pipe()
    channel, their = Channel(ours, our_end), Channel(theirs, their_end)
    thread = threading.Thread(target=main, args=(their, {"role": ROLE}))
    thread.start()
    try:
        channel.send({"m": "assignment"}, given.to_bytes())
        channel.send({"m": "key"}, make_keys(PROFILE).public)
        header, _ = channel.receive(2**26)
        return str(header["m"])
    finally:
        thread.join()
        channel.close()
        their.close()


@pytest.mark.parametrize(("least_persons", "answer"), [(5, Answer.UPLOAD), (7, Answer.UPLOAD), (8, Answer.FEW)])
def test_the_sites_own_minimum_holds_for_cells(tmp_path: Path, least_persons: int, answer: Answer) -> None:
    """Seven men of twenty-seven people: enough for the order, too few for a site that wants eight."""
    file = tmp_path / "rows.csv"
    file.write_text("\n".join(["sex", *["female"] * 20, *["male"] * 7]) + "\n", encoding="utf-8")
    assert said(assignment(file, least_persons)) == answer.value
