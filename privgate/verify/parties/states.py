"""What the rounds asked, worked out again: states lie in no evidence, but a released file has what they were made of.

Rules
-----
1. The state of a round of statistics is empty. Those of a model without noise are the file's points, those of one with
   noise its sums; those of an average are weights of rounds before the last, and in no file.
2. The file was made by the order's plan, over the sites and in the rounds that the documents tell. Weights have no
   plan beside them: they are of the model that was ordered.
3. A file without noise has no sums: that each point follows from the one before, the key holder alone can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from kernel import canonical
from kernel.errors import PrivgateError
from privacy.homomorphic.averaging.course import is_file_of
from privacy.homomorphic.averaging.plan import FederatedAverage
from privacy.homomorphic.documents.rounds import state_digest
from privacy.homomorphic.glm.noised import FORMAT as NOISED_GLM
from privacy.homomorphic.glm.noised import NoisedGlm, asked_json
from privacy.homomorphic.glm.report import FORMAT as EXACT_GLM
from privacy.homomorphic.glm.steps import State, ask_json
from privgate.verify.parties.case import Case

LIMIT: Final = 64 * 2**20
_States: TypeAlias = Callable[[Mapping[str, Any]], Sequence[Mapping[str, Any]]]
WITHOUT_PLAN: Final = frozenset({"he.aggregate"})
"""Kinds whose file is a model's weights."""


def state_problems(case: Case, artifact: bytes | None) -> Iterator[str]:
    """What the rounds asked otherwise than it follows from the order, or from the released file."""
    order = case.order
    if order.kind == "he.statistics" and any(made.state != state_digest({}) for made in case.rounds.values()):
        yield "a round of statistics asked the sites for something"
    if artifact is None or case.final is None:
        return
    if order.kind in WITHOUT_PLAN:
        yield from _weight_problems(case, artifact)
        return
    try:
        body = canonical.decode(artifact, limit=LIMIT, canonical=True)
        yield from _file_problems(case, body)
        yield from _asked_problems(case, body)
    except (PrivgateError, KeyError, TypeError, ValueError):
        yield "what its rounds asked cannot be worked out again from the released file"


def _weight_problems(case: Case, artifact: bytes) -> Iterator[str]:
    try:
        plan = case.plan
    except PrivgateError:
        return  # its order's step has said so
    if isinstance(plan, FederatedAverage) and not is_file_of(plan, artifact):
        yield "the released file does not hold weights of the model that was ordered"


def _file_problems(case: Case, body: Mapping[str, Any]) -> Iterator[str]:
    if body["plan"] != case.order.plan:
        yield "the released file was made by another plan than was ordered"
    if body["sites"] != len(case.results[len(case.results)].added):
        yield "the released file tells another number of sites than the results"
    if "rounds" in body and body["rounds"] != len(case.results):
        yield "the released file tells another number of rounds than there were"


def _asked_problems(case: Case, body: Mapping[str, Any]) -> Iterator[str]:
    states = _STATES.get(body["format"])
    if states is None:
        return
    wanted = [state_digest(state) for state in states(body)]
    if [case.rounds[number].state for number in sorted(case.rounds)] != wanted:
        yield "the rounds asked the sites at other points, or showed them other sums, than the released file lists"


def _exact_points(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [ask_json(State.first()), *({"point": point} for point in body["points"])]


def _noised_sums(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    plan = NoisedGlm.from_json(body["plan"])
    names = [[one.name for one in plan.measurements(step)] for step in range(plan.rounds)]
    before = [[name for step in names[:number] for name in step] for number in range(plan.rounds)]
    return [asked_json({name: tuple(body["sums"][name]) for name in known}) for known in before]


_STATES: Final[Mapping[str, _States]] = {EXACT_GLM: _exact_points, NOISED_GLM: _noised_sums}
