"""A request for a job on data of sites: what is asked, of whom, under which encryption, and what may come of it.

Rules
-----
1. Whether noise is added is said, never assumed: `result` is `exact`, which is a disclosure (RULES 20), or `noised`:
   every site adds its share, and each population is charged.
2. The profile is one of the registry's for sums; left out, it is the public-key one with the shortest upload that fits.
3. A noised result says for how much: `epsilon` at `delta`, against whoever knows the noise of up to `tolerated` sites.
   `delta` is the least of the populations', and nobody's to choose: it stands in the final form so that a site works
   the noise out from what its owner approved (RULES 13, 33).
4. With noise nobody asks for another `least_persons`: that a site declines is a bit which no noise covers, so that a
   trainer who names the number could count its people. Its own minimum decides, the same for every job.
5. The key holder adds the uploads and the sites the noise, unless the request says otherwise (RULES 34, 35). Where the
   gateway adds, the profile must have room to hide how a sum came about.

Form: docs/formats/job-spec.md, "Jobs on data of sites".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from kernel.amounts import Delta
from kernel.canonical import Digest, digest_of
from kernel.checks import text, whole
from kernel.errors import InvalidError
from kernel.ids import DatasetId, PartyId, Slug
from privacy.homomorphic.documents.order import LEAST_SITES, LONGEST_ROUND, Aggregation, aggregation_of
from privacy.homomorphic.documents.parties import LEAST_PERSONS, MOST_PERSONS
from privacy.homomorphic.flooding import require_hidden
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.noise import NoiseBy, SiteNoise
from privacy.homomorphic.profiles import Mode, Profile, Scheme
from privacy.homomorphic.registry import PROFILES, profile_of
from privacy.homomorphic.requests.kinds import CollectionKind
from privacy.homomorphic.requests.plans import CollectionPlan, Sites
from privacy.homomorphic.requests.privacy import MOST_SITES, Privacy
from privacy.homomorphic.requests.question import Declared, Question
from privacy.homomorphic.requests.questions import question_of
from privacy.jobs.strict import members_of, one_of, text_of
from privacy.schema import TableSchema

VERSION: Final = 1
ROUND_SECONDS: Final = 3600
_HEAD: Final = ("v", "kind", "datasets", "purpose", "key_holder", "result", "profile", "round_seconds", "least_persons")
_SHORT: Final = (
    "v", "profile", "round_seconds", "least_persons", "result", "delta", "epsilon", "tolerated", "aggregation",
    "noise_by",
)  # fmt: skip

TOLERATED: Final = 1
"""Beside those that may be missing. Each site knows its own noise: with 0, epsilon would not hold against one."""
_NOISED: Final = ("delta", "epsilon", "tolerated")
_AT_TIMES: Final = {"aggregation": Aggregation.KEY_HOLDER.value, "noise_by": NoiseBy.SITES.value}
"""Members of the final form that are there only if they are not the usual ones, and these."""


class Result(StrEnum):
    """What may leave: the exact result, which is a disclosure, or one with noise of the sites, which is charged."""

    EXACT = "exact"
    NOISED = "noised"


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionSpec:
    """A request in its final form.

    Attributes:
        datasets: One for each site, in this order.
        purpose: Why.
        key_holder: The party that makes the key and decrypts.
        result: Exact or noised.
        profile: The encryption's named parameters.
        round_seconds: How long each document is waited for.
        least_persons: With fewer persons a site does not take part.
        question: What is asked.
        privacy: What a noised result is worth; nothing for an exact one.
        aggregation: Who adds the uploads; the final form names only who is trusted with more than carrying.
    """

    datasets: tuple[DatasetId, ...]
    purpose: Slug
    key_holder: PartyId
    result: Result
    profile: Slug
    round_seconds: int
    least_persons: int
    question: Question
    privacy: Privacy | None = None
    aggregation: Aggregation = Aggregation.KEY_HOLDER

    def __post_init__(self) -> None:
        self._check_adding()
        if (self.privacy is not None) != (self.result is Result.NOISED):
            raise InvalidError("a noised result has an `epsilon`, an exact one has none", field="epsilon")
        if self.privacy is not None and self.privacy.tolerated >= len(self.datasets):
            raise InvalidError("`tolerated` is below the number of sites", field="tolerated")
        self._check_missing()
        if not LEAST_SITES <= len(self.datasets) <= MOST_SITES or len(set(self.datasets)) != len(self.datasets):
            raise InvalidError(
                f"`datasets` lists {LEAST_SITES} to {MOST_SITES} datasets of sites, each once", field="datasets"
            )
        whole(1, LONGEST_ROUND, round_seconds=self.round_seconds)
        whole(LEAST_PERSONS, MOST_PERSONS, least_persons=self.least_persons)
        if self.privacy is not None and self.least_persons != LEAST_PERSONS:
            raise InvalidError(
                "a noised result leaves `least_persons` out: each site's own minimum decides", field="least_persons"
            )

    def _check_adding(self) -> None:
        """Who adds uploads, and who adds noise to them."""
        if self.aggregation is Aggregation.GATEWAY and profile_of(self.profile).mode is Mode.SEEDED:
            raise InvalidError(
                "under a seeded profile uploads are sealed to the key holder, because every site has the secret key: "
                "the gateway could not add them; choose a public-key profile",
                field="aggregation",
            )
        if self.privacy is None or self.privacy.by is NoiseBy.SITES:
            return
        if self.aggregation is not Aggregation.GATEWAY:
            raise InvalidError(
                "a gateway that adds noise adds the uploads: say `aggregation` is `semi-honest-gateway`",
                field="noise_by",
            )

    def _check_missing(self) -> None:
        """Who is missing and who shares what he knows are tolerated together, one of the latter at least (RULES 34)."""
        missing = self.question.missing
        if not missing:
            return
        if self.privacy is None:
            raise InvalidError("of an exact result no site may be missing", field="dropouts")
        if len(self.datasets) - missing < LEAST_SITES:
            raise InvalidError(f"at least {LEAST_SITES} sites answer in every round", field="dropouts")
        if self.privacy.by is NoiseBy.SITES and self.privacy.tolerated <= missing:
            raise InvalidError(
                "`tolerated` counts the sites that may be missing and at least one more, which knows its own noise",
                field="tolerated",
            )

    @property
    def kind(self) -> CollectionKind:
        """Which kind."""
        return self.question.KIND

    @property
    def digest(self) -> Digest:
        """What decisions and approvals bind."""
        return digest_of("job-request/v1", self.to_json())

    def plan(self, schema: TableSchema, rows_per_unit: int) -> CollectionPlan:
        """What every party computes by, on columns that all sites declare alike."""
        count = len(self.datasets)
        sites = Sites(
            schema=schema,
            rows_per_unit=rows_per_unit,
            least_persons=self.least_persons,
            count=count,
            noise=_noise(self.question, self.privacy, count, self.aggregation),
        )
        return self.question.plan(sites)

    def to_json(self) -> dict[str, Any]:
        """Encode as docs/formats/job-spec.md says."""
        return {
            "v": VERSION,
            "kind": self.kind.value,
            "datasets": [str(dataset) for dataset in self.datasets],
            "purpose": str(self.purpose),
            "key_holder": str(self.key_holder),
            "result": self.result.value,
            "profile": str(self.profile),
            "round_seconds": self.round_seconds,
            "least_persons": self.least_persons,
            **({} if self.aggregation is Aggregation.KEY_HOLDER else {"aggregation": self.aggregation.value}),
            **({} if self.privacy is None else self.privacy.to_json()),
            **self.question.to_json(),
        }

    @classmethod
    def from_json(cls, body: Any) -> CollectionSpec:
        """Read the final form; raise `InvalidError` otherwise."""
        noised = isinstance(body, Mapping) and body.get("result") == Result.NOISED.value
        question = question_of(_kind_of(body), noised=noised)
        needed = (*_HEAD, *(_NOISED if noised else ()), *question.FORM)
        members = members_of(body, "request", needed, (*_AT_TIMES, *question.FORM_AT_TIMES))
        _check_version(members)
        for name in [name for name, usual in _AT_TIMES.items() if members.get(name) == usual]:
            raise InvalidError("the final form names who adds only where it is not the usual one", field=name)
        if "noise_by" in members and not noised:
            raise InvalidError("an exact result has no `noise_by`", field="noise_by")
        return cls(
            **_head_of(members),
            question=question.from_json(members),
            privacy=Privacy.from_json(members) if noised else None,
            aggregation=aggregation_of(members),
        )


def is_collection(body: Mapping[str, Any]) -> bool:
    """Whether a request, in any form, is for a job on data of sites."""
    return isinstance(body, Mapping) and body.get("kind") in tuple(CollectionKind)  # of a list as well as of text


@dataclass(frozen=True, slots=True)
class CollectionOpening:
    """What is read of a request before anybody looks closer: of what kind, on what, and why."""

    kind: CollectionKind
    datasets: tuple[DatasetId, ...]
    purpose: Slug

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> CollectionOpening:
        """Read it; raise `InvalidError` if a member is not what it must be."""
        kind = _kind_of(body)
        return cls(kind, _datasets(body.get("datasets")), Slug(text(64, purpose=body.get("purpose", ""))))


def complete_collection(
    body: Mapping[str, Any], schemas: Sequence[TableSchema], rows_per_unit: int, delta: Delta, public_size: int
) -> CollectionSpec:
    """Fill in what a trainer left out.

    Args:
        body: `kind`, `datasets`, `purpose`, `key_holder`, `result`, and the kind's own members; `profile`,
            `round_seconds`, `least_persons` and `aggregation` may be missing. A noised result needs `epsilon` and may
            have `tolerated`.
        schemas: The datasets' declared schemas.
        rows_per_unit: The most rows of one person at any site.
        delta: The least of the populations' deltas.
        public_size: How many units the populations have together, as their owners declare it.

    Returns:
        The final form, which fits every schema.

    Raises:
        InvalidError: A member that is unknown, missing or out of range, or columns that are declared differently.
        NotFoundError: No such profile.
    """
    noised = _is_noised(body)
    asked = question_of(_kind_of(body), noised=noised)
    for name in [name for name in asked.NOT_HERE if name in body]:
        raise InvalidError(f"there is no `{name}` here: {asked.NOT_HERE[name]}", field=name)
    needed = ("kind", "datasets", "purpose", "key_holder", *asked.NEEDED)
    members = {"v": VERSION, **members_of(body, "request", needed, (*_SHORT, *asked.OPTIONAL))}
    _check_version(members)
    declared = Declared(schema=schemas[0], sites=len(schemas), public_size=public_size, noised=noised)
    question = asked.complete(members, declared)
    privacy = _privacy(members, delta, question)
    adds = aggregation_of(members)
    filled = {"round_seconds": ROUND_SECONDS, "least_persons": LEAST_PERSONS, "profile": "", **members}
    sites = Sites(
        schema=common_schema(question, schemas),
        rows_per_unit=rows_per_unit,
        least_persons=filled["least_persons"],
        count=len(schemas),
        noise=_noise(question, privacy, len(schemas), adds),
    )
    plan = question.plan(sites)
    filled["profile"] = members["profile"] if "profile" in members else _shortest(plan, len(schemas), adds)
    spec = CollectionSpec(**_head_of(filled), question=question, privacy=privacy, aggregation=adds)
    layout_of(spec, plan)
    return spec


def _is_noised(body: Mapping[str, Any]) -> bool:
    """Whether a request is for a noised result; raise `InvalidError` if it does not say."""
    if "result" not in body:
        raise InvalidError(
            "say `result`: `exact` is a disclosure that two people must want, `noised` needs `epsilon`", field="result"
        )
    return one_of(Result, body["result"], "result") is Result.NOISED


def _privacy(members: Mapping[str, Any], delta: Delta, question: Question) -> Privacy | None:
    """What a noised result is asked to be worth; raise `InvalidError` for anything of it in an exact request."""
    if one_of(Result, members["result"], "result") is Result.EXACT:
        if given := [name for name in (*_NOISED, "noise_by") if name in members]:
            raise InvalidError(f"an exact result has no `{given[0]}`", field=given[0])
        return None
    if "epsilon" not in members:
        raise InvalidError("a noised result needs `epsilon`", field="epsilon")
    by_sites = members.get("noise_by", NoiseBy.SITES.value) == NoiseBy.SITES.value
    tolerated = TOLERATED + question.missing if by_sites else 0
    if not by_sites and aggregation_of(members) is not Aggregation.GATEWAY:
        raise InvalidError(
            "a gateway that adds noise adds the uploads as well: say `aggregation: semi-honest-gateway`, "
            "or leave `noise_by` out",
            field="noise_by",
        )
    privacy = Privacy.from_json({"delta": str(delta), "tolerated": tolerated, **members})
    if privacy.delta != delta:
        raise InvalidError("`delta` is the least of the populations', and is left out", field="delta")
    return privacy


def _noise(question: Question, privacy: Privacy | None, sites: int, adds: Aggregation) -> SiteNoise | None:
    return None if privacy is None else privacy.noise(sites, question.gaussians, adds)


def common_schema(question: Question, schemas: Sequence[TableSchema]) -> TableSchema:
    """The columns that a question reads, if every site declares them alike; raise `InvalidError` otherwise."""
    read = question.columns()
    first = tuple(column for column in schemas[0].columns if read is None or column.name in read)
    for schema in schemas[1:]:
        for column in first:
            if column not in schema.columns:
                raise InvalidError(
                    f"column `{column.name}` must have the same bounds, categories and fill at every site",
                    field="datasets",
                )
    return TableSchema(first)


def layout_of(spec: CollectionSpec, plan: CollectionPlan) -> Layout:
    """Where a site's numbers lie; raise `InvalidError` if the profile cannot add them, or not hide how."""
    return _laid_out(plan, profile_of(spec.profile), len(spec.datasets), spec.aggregation)


def _laid_out(plan: CollectionPlan, profile: Profile, sites: int, adds: Aggregation) -> Layout:
    layout = plan.layout(profile, sites)
    if adds is Aggregation.GATEWAY:
        require_hidden(layout, plan.rounds, plan.noise)
    return layout


def _shortest(plan: CollectionPlan, sites: int, adds: Aggregation) -> Slug:
    found: list[tuple[int, Slug]] = []
    for profile in PROFILES.values():
        if profile.scheme is Scheme.BFV and profile.mode is Mode.PUBLIC_KEY:
            found += _fitting(plan, profile, sites, adds)
    if not found:
        hidden = ", and hide how they came about" if adds is Aggregation.GATEWAY else ""
        raise InvalidError(f"no profile can add these sums of so many sites{hidden}", field="profile")
    return min(found)[1]


def _fitting(plan: CollectionPlan, profile: Profile, sites: int, adds: Aggregation) -> list[tuple[int, Slug]]:
    try:
        return [(_laid_out(plan, profile, sites, adds).upload_bytes, profile.name)]
    except InvalidError:
        return []


def _head_of(members: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "datasets": _datasets(members["datasets"]),
        "purpose": Slug(members["purpose"]),
        "key_holder": PartyId(members["key_holder"]),
        "result": one_of(Result, members["result"], "result"),
        "profile": profile_of(text_of(members["profile"], "profile")).name,
        "round_seconds": members["round_seconds"],
        "least_persons": members["least_persons"],
    }


def _datasets(written: Any) -> tuple[DatasetId, ...]:
    if not isinstance(written, list | tuple) or len(written) > MOST_SITES:
        raise InvalidError(f"`datasets` must list {LEAST_SITES} to {MOST_SITES} datasets", field="datasets")
    return tuple(DatasetId(one) for one in written)


def _kind_of(body: Any) -> CollectionKind:
    kind: CollectionKind = one_of(CollectionKind, body.get("kind") if isinstance(body, Mapping) else None, "kind")
    return kind


def _check_version(members: Mapping[str, Any]) -> None:
    if members["v"] != VERSION or isinstance(members["v"], bool):
        raise InvalidError("this version reads requests with `v` 1", field="v")
