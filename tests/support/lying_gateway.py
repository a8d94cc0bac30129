"""A real gateway process that lies to the parties of chosen jobs: `python -m tests.support.lying_gateway serve ...`.

Everything is the gateway's own, certificates and both listeners included; between its app for parties and the wire
stands `Liar`, which shows documents of a job otherwise than they lie there, and signs with the gateway's real key what
a gateway may sign. Which job is lied to in which way stands in a file that is read for each request.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api.state import ApiState
from gateway.channel.peer import PEER
from kernel.canonical import digest_of
from kernel.signing import Signer
from privacy.homomorphic.documents.key import JobKey
from privacy.homomorphic.documents.order import Order
from privacy.homomorphic.documents.signed import Parcel
from privgate.demo.processes import LocalGateway

LIES = "LIES_FILE"
ROOT = Path(__file__).resolve().parents[2]
HUGE = 81 * 2**20
_PIECE = b"\0" * 2**20


class LyingGateway(LocalGateway):
    """The processes of a gateway whose API lies."""

    @property
    def lies(self) -> Path:
        """Where it is said which job is lied to, and how."""
        return self.logs / "lies.json"

    def lie(self, job: str, how: str) -> None:
        """Lie to the parties of a job from now on."""
        known = json.loads(self.lies.read_text(encoding="utf-8")) if self.lies.exists() else {}
        fresh = self.lies.with_suffix(".new")
        fresh.write_text(json.dumps({**known, job: how}), encoding="utf-8")
        fresh.replace(self.lies)

    def _command(self, *arguments: str) -> list[str]:
        if arguments[0] != "serve":
            return super()._command(*arguments)
        return [sys.executable, "-m", "tests.support.lying_gateway", *arguments]

    def _environment(self) -> dict[str, str]:
        own = {LIES: str(self.lies), "PYTHONPATH": str(ROOT)}
        return super()._environment() | own


@dataclass(frozen=True)
class Answer:
    """What is said."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    times: int = 1


@dataclass
class Asked:
    """One request of a party, and how the gateway would answer.

    Attributes:
        turn: The how-manieth of this party to this address.
        tried: How often anybody has tried a method on a path below the job.
        ask: Another document, as this party.
    """

    method: str
    path: str
    turn: int
    signer: Signer
    tried: Callable[[str, str], int]
    ask: Callable[[str], Awaitable[Answer]]
    honest: Callable[[], Awaitable[Answer]]
    body: Callable[[], Awaitable[bytes]]

    @property
    def what(self) -> str:
        """The path below the job."""
        return self.path.split("/", 5)[5]

    @property
    def order_path(self) -> str:
        """Where the job's order lies."""
        return "/".join([*self.path.split("/", 5)[:5], "order"])

    def gets(self, start: str) -> bool:
        """Whether a document of that kind is asked for."""
        return self.method == "GET" and self.what.startswith(start)


Lie = Callable[[Asked], Awaitable[Answer]]
LYING: dict[str, Lie] = {}


def _lie(made: Lie) -> Lie:
    LYING[made.__name__.replace("_", "-")] = made
    return made


@_lie
async def key_of_the_gateways_own(asked: Asked) -> Answer:
    """A public key whose secret half the gateway has, in a document that the gateway signs."""
    answer = await asked.honest()
    if not asked.gets("key") or answer.status != 200:
        return answer
    order = Order.read((await asked.ask(asked.order_path)).body)
    return replace(answer, body=Parcel(JobKey.of(order, _own_key()).signed(asked.signer), _own_key()).to_bytes())


@_lie
async def key_beside_the_real_document(asked: Asked) -> Answer:
    """The same key beside what the key holder signed."""
    answer = await asked.honest()
    if not asked.gets("key") or answer.status != 200:
        return answer
    return replace(answer, body=Parcel(Parcel.from_bytes(answer.body).document, _own_key()).to_bytes())


_KEYS: list[bytes] = []


def _own_key() -> bytes:
    if not _KEYS:
        from privacy.homomorphic.registry import profile_of
        from privacy.homomorphic.tenseal_backend.keys import make_keys

        _KEYS.append(make_keys(profile_of("bfv-2048-wide-public")).public)
    return _KEYS[0]


@_lie
async def one_sites_upload_for_all(asked: Asked) -> Answer:
    """Whoever's upload is asked for, the same site's is shown: the sum would be that site's own numbers."""
    answer = await asked.honest()
    if not asked.gets("rounds/") or "/uploads/" not in asked.what or answer.status != 200:
        return answer
    folder, _, _ = asked.path.rpartition("/")
    first = min(site.party for site in Order.read((await asked.ask(asked.order_path)).body).sites)
    return await asked.ask(f"{folder}/{first}")


@_lie
async def upload_of_the_round_before(asked: Asked) -> Answer:
    """In the second round the first one's uploads, which were valid then."""
    if asked.gets("rounds/2/uploads/"):
        return await asked.ask(asked.path.replace("/rounds/2/", "/rounds/1/"))
    return await asked.honest()


@_lie
async def round_again(asked: Asked) -> Answer:
    """The first round in place of the second."""
    if asked.gets("rounds/2/round"):
        return await asked.ask(asked.path.replace("/rounds/2/", "/rounds/1/"))
    return await asked.honest()


async def _order(asked: Asked, change: Callable[[Order], Order]) -> Answer:
    answer = await asked.honest()
    if not asked.gets("order") or answer.status != 200:
        return answer
    return replace(answer, body=change(Order.read(answer.body)).signed(asked.signer))


@_lie
async def plan_of_another_question(asked: Asked) -> Answer:
    """The request that was approved, and a plan that does not follow from it."""
    return await _order(asked, lambda order: replace(order, plan={**order.plan, "queries": _asked_twice(order.plan)}))


def _asked_twice(body: Any) -> Any:
    return [*body["queries"], body["queries"][0]]


@_lie
async def request_that_nobody_approved(asked: Asked) -> Answer:
    """Request and plan both for another question, with a digest that fits."""

    def change(order: Order) -> Order:
        spec = {**order.spec, "queries": _asked_twice(order.spec)}
        plan = {**order.plan, "queries": _asked_twice(order.plan)}
        return replace(order, spec=spec, spec_digest=digest_of("job-request/v1", spec), plan=plan)

    if asked.what in ("key", "rounds/1/round"):
        # What the key holder makes for this order is not for the one that lies there: it is kept beside it.
        if asked.method == "PUT":
            _KEPT[asked.path] = await asked.body()
            return Answer(201, b"{}")
        return Answer(200, _KEPT[asked.path]) if asked.path in _KEPT else Answer(404, b"{}")
    return await _order(asked, change)


_KEPT: dict[str, bytes] = {}


@_lie
async def order_that_changes(asked: Asked) -> Answer:
    """Another order, signed by the gateway, once the first was accepted."""
    return await _order(asked, lambda order: order if asked.turn == 1 else replace(order, decisions=order.approvals))


@_lie
async def less_noise(asked: Asked) -> Answer:
    """A tenth of the noise that the request asks for."""

    def change(order: Order) -> Order:
        noise = dict(order.plan["noise"])
        noise["noise_multiplier"] = str(round(float(noise["noise_multiplier"]) / 10, 6))
        return replace(order, plan={**order.plan, "noise": noise})

    return await _order(asked, change)


@_lie
async def no_noise(asked: Asked) -> Answer:
    """None at all, of a request that asks for it."""
    return await _order(asked, lambda order: replace(order, plan={**order.plan, "noise": None}))


def _damaged(start: str, part: str, how: Callable[[bytes], bytes]) -> Lie:
    async def lie(asked: Asked) -> Answer:
        answer = await asked.honest()
        if not asked.gets(start) or part not in asked.what or answer.status != 200:
            return answer
        return replace(answer, body=how(answer.body))

    return lie


def _flipped(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]


LYING["order-cut-short"] = _damaged("order", "", lambda body: body[:-1])
LYING["key-cut-short"] = _damaged("key", "", lambda body: body[:-1])
LYING["round-altered"] = _damaged("rounds/1/round", "", _flipped)
LYING["upload-altered"] = _damaged("rounds/1/uploads", "", _flipped)
LYING["result-altered"] = _damaged("rounds/1/result", "", _flipped)
LYING["final-altered"] = _damaged("final", "", _flipped)
LYING["garbage"] = _damaged("", "", lambda _: os.urandom(5000))


@_lie
async def nuisance(asked: Asked) -> Answer:
    """Each document is at first huge, elsewhere, an error; what is sent is not taken at first. Then all is well."""
    answers = {
        ("GET", 1): Answer(200, _PIECE, times=HUGE // len(_PIECE)) if asked.what == "order" else Answer(500, b"?"),
        ("GET", 2): Answer(307, b"", ((b"location", b"https://127.0.0.1:9/elsewhere"),)),
        ("GET", 3): Answer(200, b"") if asked.what == "order" else Answer(404, b"{}"),
        ("PUT", 1): Answer(503, b"x" * 10_000_000),
        ("PUT", 2): Answer(302, b"", ((b"location", b"/parties/v1/work"),)),
    }
    early = answers.get((asked.method, asked.turn))
    if early is None or (early.status == 200 and not early.body):
        return await asked.honest()
    return early


@_lie
async def result_that_is_lost(asked: Asked) -> Answer:
    """A result is not taken for a while; meanwhile the key holder is shown other uploads, to decrypt a second set."""
    if asked.method == "PUT" and asked.what == "rounds/1/result" and asked.turn < 4:
        return Answer(503, b"")
    if asked.gets("rounds/1/uploads/") and asked.tried("PUT", "rounds/1/result"):
        return Answer(200, os.urandom(5000))
    return await asked.honest()


@_lie
async def never_taken(asked: Asked) -> Answer:
    """An upload is refused for good."""
    if asked.method == "PUT" and "/uploads/" in asked.what:
        return Answer(422, b'{"detail": "no"}')
    return await asked.honest()


class Liar:
    """The app for parties, and what is said in its place."""

    def __init__(self, app: ASGIApp, state: ApiState, lies: Path) -> None:
        self._app, self._signer, self._lies = app, state.on.certificate_signer, lies
        self._turns: Counter[tuple[Any, ...]] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the lie for the request's job has it, or as the gateway does."""
        lie = self._lie_for(scope["path"]) if scope["type"] == "http" else None
        if lie is None:
            await self._app(scope, receive, send)
            return
        key = (scope[PEER], scope["method"], scope["path"])
        self._turns[key] += 1
        folder = "/".join(scope["path"].split("/", 5)[:5])

        def tried(method: str, what: str) -> int:
            return sum(n for (_, used, path), n in self._turns.items() if (used, path) == (method, f"{folder}/{what}"))

        async def body() -> bytes:
            pieces, more = bytearray(), True
            while more:
                message = await receive()
                pieces += message.get("body", b"")
                more = message.get("more_body", False)
            return bytes(pieces)

        async def honest() -> Answer:
            return await self._ask(scope, receive)

        async def ask(path: str) -> Answer:
            return await self._ask({**scope, "method": "GET", "path": path, "raw_path": path.encode()}, _nothing)

        turn = self._turns[key]
        await _say(send, await lie(Asked(scope["method"], scope["path"], turn, self._signer, tried, ask, honest, body)))

    def _lie_for(self, path: str) -> Lie | None:
        parts = path.split("/")
        if len(parts) < 6 or not self._lies.exists():
            return None
        return LYING.get(json.loads(self._lies.read_text(encoding="utf-8")).get(parts[4], ""))

    async def _ask(self, scope: Scope, receive: Receive) -> Answer:
        found: list[Message] = []

        async def keep(message: Message) -> None:
            found.append(message)

        await self._app(scope, receive, keep)
        return Answer(found[0]["status"], b"".join(message.get("body", b"") for message in found[1:]))


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _say(send: Send, answer: Answer) -> None:
    length = (b"content-length", str(len(answer.body) * answer.times).encode())
    await send({"type": "http.response.start", "status": answer.status, "headers": [length, *answer.headers]})
    for number in range(answer.times):
        more = number + 1 < answer.times
        await send({"type": "http.response.body", "body": answer.body, "more_body": more})


def main() -> None:
    """Serve, and lie."""
    from gateway import command, serve

    honest, lies = serve.create_channel, Path(os.environ.pop(LIES))
    serve.create_channel = lambda state: Liar(honest(state), state, lies)  # type: ignore[assignment,return-value]
    command.main()


if __name__ == "__main__":
    main()
