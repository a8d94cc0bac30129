"""Orders of every kind, altered at random places and signed by the gateway's own key: what only a gateway could do.

No agent and no verifier stops running because of one, and no agent acts upon an order that is not what its request asks
for.
"""

from __future__ import annotations

import contextlib
import copy
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kernel import canonical
from kernel.canonical import digest_of
from kernel.errors import PrivgateError
from kernel.ids import JobId
from kernel.signing import sign_envelope
from privacy.homomorphic.documents.order import Order
from privacy.homomorphic.requests.following import is_as_asked, plan_follows
from privgate.agents.verifying import verify_home
from privgate.verify.history import History
from privgate.verify.parties.case import Case
from privgate.verify.parties.endings import ending_problems
from privgate.verify.parties.orders import log_problems, party_problems
from privgate.verify.parties.states import state_problems
from tests.attacks.test_forged_noised_orders import NOISE, ORDERS
from tests.support.consortium import Carrier, Consortium, Unconfined

MUTANTS = 50
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**53 - 1, "", "x", "0", "-1", "1e999999", "NaN", "9" * 400, [], {}, [[]], [None],
    {"a": 1}, "he.glm", "he.aggregate", "he.statistics", "he.blind-logistic", "\0", "sha256:" + "0" * 64,
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in JSON."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inside:
        yield (*path, name)
        yield from places(part, (*path, name))


def mutant(body: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """Up to three changes; often with a digest that fits the request as it then is."""
    made = copy.deepcopy(body)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        _changed(made, draw.choice(list(places(made))), draw)
    if isinstance(made.get("spec"), dict) and draw.random() < 0.7:
        made["spec_digest"] = str(digest_of("job-request/v1", made["spec"]))
    return made


def _changed(made: dict[str, Any], place: tuple[Any, ...], draw: random.Random) -> None:
    within: Any = made
    for name in place[:-1]:
        within = within[name]
    match draw.choice(("replace", "replace", "replace", "drop", "wrap", "add")):
        case "replace":
            within[place[-1]] = copy.deepcopy(draw.choice(VALUES))
        case "drop":
            del within[place[-1]]
        case "wrap":
            within[place[-1]] = [within[place[-1]]]
        case _ if isinstance(within, dict):
            within["another"] = copy.deepcopy(draw.choice(VALUES))
        case _:
            within.append(copy.deepcopy(within[place[-1]]))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["exact model", *ORDERS])
def test_no_altered_order_ends_an_agent_or_is_acted_upon(tmp_path: Path, kind: str) -> None:
    """Drawn from a fixed seed; the agents live through all of them in their own homes, and their logs verify."""
    draw, of, tried = random.Random(20261127), Consortium(tmp_path), 0
    while tried < MUTANTS:
        of.job = JobId.new(os.urandom)
        honest = of.order(**(ORDERS[kind](NOISE) if kind in ORDERS else {}))
        try:
            data = sign_envelope(Order.TYPE, canonical.encode(mutant(honest.to_json(), draw)), of.signer).to_bytes()
        except PrivgateError:
            continue  # there is no such JSON
        tried += 1
        carrier = Carrier(data, of.job)
        for party in (of.holder, of.sites[0]):
            of.turn(party, carrier, confined=Unconfined())
            with party.home(of.clock) as home:
                accepted = home.log.history.of(of.job).order is not None
            if accepted:
                order = Order.opened(data, [of.signer.public_key])
                assert is_as_asked(order), party.told[-1]
                assert plan_follows(order), party.told[-1]
    for party in of.everybody:
        verify_home(party.path)


def looked_at(made: dict[str, Any]) -> list[str] | None:
    """What a verifier finds about an order in an empty log; nothing if it is no order at all."""
    try:
        order = Order.from_json(made)
    except PrivgateError:
        return None
    case, history = Case(order, {}), History()
    with contextlib.suppress(PrivgateError):
        assert case.layout.values
    assert not [*ending_problems(case, history), *state_problems(case, None)]
    return [*log_problems(order, history), *party_problems(order, 0, history, {})]


def test_an_order_of_another_kind_stops_no_verifier(tmp_path: Path) -> None:
    """A gateway may sign one: there are findings, and the steps after it go on."""
    honest = Consortium(tmp_path).order().to_json()
    assert looked_at({**honest, "kind": "he.blind-logistic"})


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["exact model", *ORDERS])
def test_no_altered_order_stops_a_verifier(tmp_path: Path, kind: str) -> None:
    """Whatever was signed: findings about it, or an error that the verifier knows."""
    draw, of = random.Random(20261127), Consortium(tmp_path)
    honest = of.order(**(ORDERS[kind](NOISE) if kind in ORDERS else {})).to_json()
    found = [looked_at(mutant(honest, draw)) for _ in range(MUTANTS)]
    assert [one for one in found if one is not None]
    assert [] not in found
