"""Which datasets a job is about, and as whose a question about it is asked.

A job on one dataset concerns that. One on data of several sites concerns them all: an owner asks as the owner of its
own among them, whoever owns none as a stranger to the first.
"""

from __future__ import annotations

from typing import Any

from gateway.records import JobRecord
from gateway.unit_of_work import Reading
from kernel.ids import DatasetId, JobId, PrincipalId
from policies.snapshot import PolicySnapshot
from privacy.homomorphic.blind.spec import is_blind
from privacy.homomorphic.requests.spec import CollectionSpec, is_collection

EXACT = "exact"
"""In place of a job's or release's epsilon: it has none, because nothing in it is noisy."""
KEPT = "kept"
"""Likewise: it has none, because its owner has the result alone."""


def priced_as(spec: CollectionSpec) -> dict[str, Any]:
    """What a decision is told of a job's price: its epsilon, or that its result is exact."""
    return {"exact": True} if spec.privacy is None else {"epsilon": spec.privacy.epsilon}


def datasets_of(reading: Reading, job: JobRecord) -> tuple[DatasetId, ...]:
    """Every dataset of a job, in the order of its request."""
    return (job.dataset,) if not of_sites(job.kind) else _of_sites(reading, job.id)


def of_sites(kind: str) -> bool:
    """Whether jobs of this kind are on data of sites."""
    return is_collection({"kind": kind}) or is_blind({"kind": kind})


def concerned(snapshot: PolicySnapshot, datasets: tuple[DatasetId, ...], principal: PrincipalId) -> DatasetId:
    """The first of a job's datasets that the principal owns; the first of all if he owns none."""
    own = (d for d in datasets if d in snapshot.datasets and snapshot.datasets[d].owner == principal)
    return next(own, datasets[0])


def _of_sites(reading: Reading, job: JobId) -> tuple[DatasetId, ...]:
    sites = sorted(reading.job_sites.all(job=job), key=lambda site: site.number)
    return tuple(site.dataset for site in sites)
