"""The Casbin model, checked and compiled.

Casbin reads `model.conf`; what it reads is checked against a short list of shapes and turned into one Python function
and a plan for an index. Stock Casbin parses the matcher again for every question and tries every row.

Rules
-----
1. A matcher may hold `&&`, `||`, `==`, fields of request and row, text constants, and calls of declared links. Nothing
   else: no other function, operator, attribute or number. What is not on the list is refused when the model is loaded.
2. The index is derived from the matcher's own top-level conjuncts, so it can only leave out rows that the matcher would
   refuse as well.
3. The effect is "some allow and no deny"; a model with another effect is refused.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from casbin.constant.constants import ALLOW_AND_DENY_EFFECT
from casbin.model import Model

from kernel.errors import InvalidError

Row = tuple[str, ...]
Reaches = tuple[tuple[str, ...], ...]
Match = Callable[[Row, Row, Reaches], bool]

ANY = "*"


class Link(NamedTuple):
    """One use of a link function: `name(request[child], row[parent], request[domain])`."""

    name: str
    child: int
    parent: int
    domain: int | None


@dataclass(frozen=True, slots=True)
class Pin:
    """A field of the row that the matcher ties to the request.

    Attributes:
        row: Position in the row.
        request: Position in the request of the value that it must equal, unless `link` is set.
        link: Position in `Matcher.links` of the link that must reach it, or `None`.
        wildcard: Whether `*` in the row matches as well.
    """

    row: int
    request: int
    link: int | None
    wildcard: bool


@dataclass(frozen=True, slots=True)
class Matcher:
    """A compiled model.

    Attributes:
        request_fields, row_fields: Field names, in order.
        links: The link calls; `match` expects their reaches in this order.
        equal: The row fields to index by that plain equality pins.
        spread: The row fields to index by that a link pins, or equality with a wildcard.
        match: Whether a row applies to a request.
        effect: Position of the effect in a row.
    """

    request_fields: tuple[str, ...]
    row_fields: tuple[str, ...]
    links: tuple[Link, ...]
    equal: tuple[Pin, ...]
    spread: tuple[Pin, ...]
    match: Match
    effect: int


def load_matcher(model_text: str, index_by: Sequence[str]) -> Matcher:
    """Compile a model.

    Args:
        model_text: The text of a `model.conf`.
        index_by: Row fields to index by. One that a link pins multiplies the probes of a question by the names that
            the link reaches, so a field with few different values is better left to `match`.

    Raises:
        InvalidError: The model is not of the allowed shape, or the matcher does not pin a field of `index_by`.
    """
    model = _casbin_model(model_text)
    request, row = _fields(model, "r"), _fields(model, "p")
    tree = _parse(model["m"]["m"].value)
    reader = _Reader(request, row, {name: assertion.value.count("_") for name, assertion in model["g"].items()})
    compiled = reader.read(tree)
    pinned = {row[field.row]: field for field in reader.pinned(tree)}
    if not index_by or not pinned.keys() >= set(index_by):
        raise InvalidError("the matcher must pin each indexed field by equality or a link", field="m")
    pins = [pinned[name] for name in index_by]
    equal = tuple(pin for pin in pins if pin.link is None and not pin.wildcard)
    spread = tuple(pin for pin in pins if pin not in equal)
    return Matcher(request, row, tuple(reader.links), equal, spread, _function(compiled), row.index("eft"))


def _casbin_model(text: str) -> Model:
    model = Model()
    try:
        model.load_model_from_text(text)
    except (RuntimeError, AttributeError, IndexError):
        raise InvalidError("the model is not a Casbin model", field="model") from None
    sections = model.keys()
    if not {"r", "p", "e", "m", "g"} <= set(sections) or any(set(model[name]) != {name} for name in "rpem"):
        raise InvalidError("the model needs one r, p, e and m, and links", field="model")
    if model["e"]["e"].value != ALLOW_AND_DENY_EFFECT:
        raise InvalidError("the effect must be: some allow and no deny", field="e")
    return model


def _fields(model: Model, section: str) -> tuple[str, ...]:
    fields = tuple(token.removeprefix(f"{section}_") for token in model[section][section].tokens)
    if len(set(fields)) != len(fields) or (section == "p" and "eft" not in fields):
        raise InvalidError("fields must differ, and a row needs `eft`", field=section)
    return fields


def _parse(text: str) -> ast.expr:
    try:
        # The two operators that Casbin writes its own way. `!` is not allowed, so no row can match by absence.
        return ast.parse(text.replace("&&", " and ").replace("||", " or ").strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError):
        raise InvalidError("the matcher does not parse", field="m") from None


class _Reader:
    """Checks a matcher and rewrites it over the tuples `r` (request), `p` (row) and `reach` (links)."""

    def __init__(self, request: tuple[str, ...], row: tuple[str, ...], arity: dict[str, int]) -> None:
        self._position = {f"r_{name}": ("r", i) for i, name in enumerate(request)}
        self._position |= {f"p_{name}": ("p", i) for i, name in enumerate(row)}
        self._arity = arity
        self.links: list[Link] = []

    def read(self, node: ast.expr) -> ast.expr:
        """The same expression over tuples; raise `InvalidError` for anything that is not on the list."""
        match node:
            case ast.BoolOp(op=ast.And() | ast.Or(), values=values):
                return ast.BoolOp(node.op, [self.read(value) for value in values])
            case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]):
                return ast.Compare(self._value(left), [ast.Eq()], [self._value(right)])
            case ast.Call():
                link = self._link(node)
                return ast.Compare(_item("p", link.parent), [ast.In()], [_item("reach", self._number(link))])
            case _:
                raise InvalidError("a matcher holds `&&`, `||`, `==` and links only", field="m")

    def pinned(self, node: ast.expr) -> Iterator[Pin]:
        """The row fields that the matcher's top level ties to the request."""
        conjuncts = node.values if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And) else [node]
        for conjunct in conjuncts:
            match conjunct:
                case ast.BoolOp(op=ast.Or(), values=[first, second]):
                    pin, star = self._pin(second), self._pin(first)
                    if pin and star and star.request < 0 and star.row == pin.row and pin.request >= 0:
                        yield Pin(pin.row, pin.request, pin.link, wildcard=True)
                case _:
                    pin = self._pin(conjunct)
                    if pin and pin.request >= 0:
                        yield pin

    def _pin(self, node: ast.expr) -> Pin | None:
        """What one comparison or link pins; request -1 stands for `row field == "*"`."""
        match node:
            case ast.Call():
                link = self._link(node)
                return Pin(link.parent, link.child, self._number(link), wildcard=False)
            case ast.Compare(left=ast.Name(id=left), comparators=[ast.Name(id=right)]):
                sides = dict(self._position[name] for name in (left, right))
                return Pin(sides["p"], sides["r"], None, wildcard=False) if len(sides) == 2 else None
            case ast.Compare(left=ast.Name(id=left), comparators=[ast.Constant(value="*")]):
                side, position = self._position[left]
                return Pin(position, -1, None, wildcard=True) if side == "p" else None
            case _:
                return None

    def _value(self, node: ast.expr) -> ast.expr:
        match node:
            case ast.Name(id=name) if name in self._position:
                return _item(*self._position[name])
            case ast.Constant(value=str() as text):
                return ast.Constant(text)
            case _:
                raise InvalidError("a matcher compares fields and text constants only", field="m")

    def _link(self, node: ast.Call) -> Link:
        names = [argument.id for argument in node.args if isinstance(argument, ast.Name)]
        sides = [self._position.get(name, ("", -1)) for name in names]
        known = isinstance(node.func, ast.Name) and self._arity.get(node.func.id) == len(node.args)
        if not known or node.keywords or [side for side, _ in sides] != ["r", "p", "r"][: len(node.args)]:
            raise InvalidError("a call is a declared link from a request field to a row field", field="m")
        domain = sides[2][1] if len(sides) == 3 else None
        return Link(cast(ast.Name, node.func).id, sides[0][1], sides[1][1], domain)

    def _number(self, link: Link) -> int:
        if link not in self.links:
            self.links.append(link)
        return self.links.index(link)


def _item(name: str, position: int) -> ast.Subscript:
    return ast.Subscript(ast.Name(name, ast.Load()), ast.Constant(position), ast.Load())


def _function(expression: ast.expr) -> Match:
    names = [ast.arg("r"), ast.arg("p"), ast.arg("reach")]
    arguments = ast.arguments(posonlyargs=names, args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
    tree = ast.fix_missing_locations(ast.Expression(ast.Lambda(arguments, expression)))
    code = compile(tree, "policies/models/model.conf", "eval")
    # The tree was built above from allow-listed nodes alone: no name but r, p and reach, no call, no attribute.
    scope: dict[str, Any] = {"__builtins__": {}}
    return cast(Match, eval(code, scope))  # noqa: S307
