"""Why an agent does not go on with a job: one word for its own people, none for the gateway."""

from __future__ import annotations

from enum import StrEnum

from kernel.errors import Kind, PrivgateError


class Why(StrEnum):
    """The reasons, as the agent's own log has them."""

    ANOTHER_ORDER = "another-order"
    NOT_OURS = "not-ours"
    UNPINNED = "unpinned"
    RULES = "rules"
    PROFILE = "profile"
    KEY = "key"
    CHAIN = "chain"
    UPLOAD = "upload"
    LEFT_OUT = "left-out"
    DEADLINE = "deadline"
    PERSONS = "persons"
    DATA = "data"
    RESULT = "result"
    GATEWAY = "gateway"
    REJECTED = "rejected"
    RANGE = "range"


MEANINGS = {
    Why.ANOTHER_ORDER: "the gateway shows another order than the one that was accepted, or one that nobody may sign",
    Why.NOT_OURS: "the order is not for this party as it is",
    Why.UNPINNED: "the order names a party whose identity nobody pinned here",
    Why.RULES: "the rules of this agent do not allow such a job",
    Why.PROFILE: "the order's encryption profile is unknown, or not the one of that name",
    Why.KEY: "the job's key is not the pinned key holder's, not for this order, or not the first one",
    Why.CHAIN: "a round does not follow from the one before",
    Why.UPLOAD: "an upload is not that site's for this round",
    Why.LEFT_OUT: "a result leaves out a site, or does not name what this site sent",
    Why.DEADLINE: "a site did not answer in time",
    Why.PERSONS: "there are too few persons",
    Why.DATA: "the data cannot be read as it is declared",
    Why.RESULT: "what was decrypted cannot be the sum of such uploads",
    Why.GATEWAY: "the gateway keeps another document in place of ours, or has ended the job",
    Why.REJECTED: "the gateway does not take a document, or does not give one, and will not do so later either",
    Why.RANGE: "the polynomial that stands in for the logistic function does not hold: lower `rate` or `epochs`",
}


class RefusalError(PrivgateError):
    """The agent does not go on with this job.

    Args:
        why: The reason, for the agent's own log.
        detail: More for its own people; names fields and rules, never a value.
    """

    kind = Kind.CONFLICT

    def __init__(self, why: Why, detail: str = "") -> None:
        super().__init__(MEANINGS[why] + (f": {detail}" if detail else ""))
        self.why = why
