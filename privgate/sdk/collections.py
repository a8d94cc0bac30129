"""Views of jobs on data that the gateway never sees: parties, and what such a job would take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from kernel.errors import CorruptError
from privgate.sdk.prospects import prospect
from privgate.sdk.view import View

PREFIX = "he."
"""How the kinds of these jobs begin."""


def of_sites(request: Mapping[str, Any]) -> bool:
    """Whether a request is for a job on data of sites."""
    return str(request.get("kind", "")).startswith(PREFIX) and not of_a_model(request)


def of_a_model(request: Mapping[str, Any]) -> bool:
    """Whether a request is for an encrypted question to a released model."""
    return request.get("kind") == "he.infer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Party(View):
    """The agent of a site or a key holder. Compare its fingerprint over a second channel: this one the gateway says."""

    NOUN: ClassVar[str] = "party"
    COLUMNS: ClassVar[tuple[str, ...]] = ("party", "kind", "name", "fingerprint", "connection_until", "disabled")
    party: str
    kind: str
    name: str
    owner: str
    fingerprint: str
    connection_until: str | None
    disabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SitesQuote(View):
    """What a job on data of sites would take, and who would learn what. Nothing is held by asking.

    Attributes:
        result: `exact`: no noise, no epsilon; or `noised`.
        bytes_per_site_and_round, bytes_of_the_key, bytes_per_site_at_most: What a site sends in a round, what the
            job's key is, which each site gets or sends once, and both together for all rounds.
        aggregation: Who adds the uploads: the key holder, or the gateway where it is trusted with that.
        computing_seconds: Of all parties together, on one core each; how long people take to answer is theirs.
        longest_seconds: After which it has failed at the latest, for want of an answer.
        observers: Who holds the secret key, and what each of them sees.
        uncovered_before: Populations from which an exact result left before.
        says: In words.
        privacy: Of a noised result: epsilon for each observer, and what each population would pay.
        request: In its final form; `request_digest` is what approvals would bind.
    """

    NOUN: ClassVar[str] = "quote"
    kind: str
    result: str
    sites: int
    rounds_at_most: int
    profile: str
    numbers: int
    bytes_per_site_and_round: int
    bytes_of_the_key: int
    bytes_per_site_at_most: int
    computing_seconds: int
    longest_seconds: int
    observers: tuple[Mapping[str, Any], ...]
    uncovered_before: tuple[str, ...]
    says: str
    request: Mapping[str, Any] = field(repr=False)
    request_digest: str
    aggregation: str | None = None
    privacy: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, body: Any, **bound: Any) -> Self:
        """Make a quote from the gateway's answer, which holds figures, request and digest."""
        if not isinstance(body, Mapping) or not isinstance(body.get("quote"), Mapping):
            raise CorruptError("the gateway's answer is no quote")
        outer = {"request": body.get("spec"), "request_digest": body.get("request_digest")}
        return super(SitesQuote, cls).read({**body["quote"], **outer}, **bound)

    def lines(self) -> list[tuple[str, object]]:
        """The quote as one would say it."""
        return [
            ("result", self.says),
            ("sites, rounds", f"{self.sites}, at most {self.rounds_at_most}"),
            ("encryption", f"{self.profile}, {self.numbers} numbers of each site in a round"),
            ("a site sends", self._sent()),
            (
                "computing",
                f"about {self.computing_seconds} s in all; it fails after {self.longest_seconds} s of waiting",
            ),
            *((f"{one['observer']} sees", _seen(one)) for one in self.observers),
            *_privacy(self.privacy),
            ("not covered before", ", ".join(self.uncovered_before) or "-"),
            ("request", self.request_digest),
        ]

    def _sent(self) -> str:
        """What a site sends in each round, and what passes once beside the rounds."""
        once = self.bytes_per_site_at_most - self.rounds_at_most * self.bytes_per_site_and_round
        what = f"the job's key passes once, {once:,}"
        if once > self.bytes_of_the_key:
            what = f"once the job's key, {self.bytes_of_the_key:,}, and its rows, {once - self.bytes_of_the_key:,}"
        return (
            f"{self.bytes_per_site_and_round:,} bytes a round; {what}; {self.bytes_per_site_at_most:,} at most in all"
        )


def _seen(observer: Mapping[str, Any]) -> str:
    key = "; holds the secret key" if observer["secret_key"] else ""
    return ", ".join(str(one).replace("-", " ") for one in observer["sees"]) + key


def _privacy(privacy: Mapping[str, Any] | None) -> list[tuple[str, object]]:
    """What a noised job would tell each observer, and what each population would pay."""
    if privacy is None:
        return []
    missing = int(privacy["dropouts"])
    told: list[tuple[str, object]] = [
        ("noise protects", privacy["protects"]),
        ("may be missing", f"{missing} of the sites in a round" if missing else "no site"),
    ]
    told += [
        (
            f"epsilon against {one['observer']}",
            "no bound" if one["epsilon"] is None else f"{one['epsilon']} at delta {privacy['delta']}",
        )
        for one in privacy["observers"]
    ]
    if privacy.get("feasibility") is not None:
        fits = all(one["fits"] for one in privacy["populations"])
        told.append(("can it succeed", prospect("glm", privacy["feasibility"], fits=fits)))
    for one in privacy.get("reaches", ()):
        told.append((f"noise in {one['query']}", f"reaches, at 95 %, plus or minus {one['reach']}"))
    for one in privacy["populations"]:
        room = f"{one['further']} such jobs fit" if one["fits"] else "IT DOES NOT FIT"
        told.append((f"{one['population']} pays", f"{one['budget_share']} of its budget; {room}"))
    return told
