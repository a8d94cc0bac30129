"""Templates: the graphs of linear and logistic regression and of a multi-layer perceptron, from a few choices.

Rules
-----
1. The same choices and width give the same graph, byte for byte.
2. Regressions start at zero. A perceptron's matrices start uniform with Glorot's bound, written with six digits, so
   that the graph is exact; its biases start at zero.
3. The output is one number per row: the target itself, or the log-odds of a binary target.

Reference: Glorot and Bengio 2010, equation 16, for the bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from enum import StrEnum
from typing import Any

from kernel.checks import whole
from kernel.errors import InvalidError
from kernel.events import Parameter
from privacy.graph.spec import LARGEST_SIDE, Initial, InitialRule, Input, ModelGraph, Node, Weight

MOST_LAYERS = 8
LARGEST_LAYER = 4096
_EXACT = Context(prec=28)
_ZEROS = Initial(rule=InitialRule.ZEROS)


class Template(StrEnum):
    """The models a trainer can name."""

    LINEAR = "linear"
    LOGISTIC = "logistic"
    SOFTMAX = "softmax"
    MLP = "mlp"


class Activation(StrEnum):
    """What stands between the layers of a perceptron."""

    RELU = "relu"
    TANH = "tanh"
    GELU = "gelu"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """A template and its choices.

    Attributes:
        template: Which model.
        hidden: Widths of a perceptron's hidden layers.
        activation: What stands between them.
    """

    template: Template
    hidden: tuple[int, ...] = ()
    activation: Activation | None = None

    def __post_init__(self) -> None:
        if self.template is Template.MLP:
            whole(1, MOST_LAYERS, hidden=len(self.hidden))
            for width in self.hidden:
                whole(1, LARGEST_LAYER, hidden=width)
            if self.activation is None:
                raise InvalidError("name the `activation` of an mlp: relu, tanh or gelu", field="activation")
        elif self.hidden or self.activation is not None:
            raise InvalidError("`hidden` and `activation` are for the template mlp", field="model")

    def graph(self, width: int, outputs: int = 1) -> ModelGraph:
        """The graph on rows of `width` numbers, with `outputs` numbers for each."""
        return _layers((*self.hidden, outputs), self.activation, width)

    def to_json(self) -> dict[str, Any]:
        """Encode; what a template does not have is left out."""
        body: dict[str, Any] = {"template": self.template.value}
        if self.activation is not None:
            body |= {"hidden": list(self.hidden), "activation": self.activation.value}
        return body

    @classmethod
    def from_json(cls, body: Any) -> ModelChoice:
        """Read what `to_json` writes; a perceptron's activation may be left out and is then `tanh`."""
        if not isinstance(body, Mapping) or not set(body) <= {"template", "hidden", "activation"}:
            raise InvalidError("`model` has a `template` and for mlp also `hidden` and `activation`", field="model")
        template = _one_of(Template, body.get("template"), "template")
        hidden = body.get("hidden", ())
        if not isinstance(hidden, Sequence) or isinstance(hidden, str) or len(hidden) > MOST_LAYERS:
            raise InvalidError(f"`hidden` must list 1 to {MOST_LAYERS} widths", field="hidden")
        written = body.get("activation", Activation.TANH.value if template is Template.MLP else None)
        activation = None if written is None else _one_of(Activation, written, "activation")
        return cls(template=template, hidden=tuple(hidden), activation=activation)


def _layers(widths: Sequence[int], activation: Activation | None, width: int) -> ModelGraph:
    whole(1, LARGEST_SIDE, width=width)
    weights: list[Weight] = []
    nodes: list[Node] = []
    value, before = "x", width
    for number, after in enumerate(widths, start=1):
        last = number == len(widths)
        name = "score" if last else f"layer{number}"
        init = _glorot(before, after) if len(widths) > 1 else _ZEROS
        weights += [
            Weight(name=f"{name}.weight", shape=(after, before), init=init),
            Weight(name=f"{name}.bias", shape=(after,), init=_ZEROS),
        ]
        nodes.append(Node(name=name, op="linear", inputs=(value,), weights=(f"{name}.weight", f"{name}.bias")))
        value, before = name, after
        if not last and activation is not None:
            value = f"{name}.active"
            nodes.append(Node(name=value, op=activation.value, inputs=(name,)))
    inputs = (Input(name="x", shape=(width,)),)
    return ModelGraph(inputs=inputs, weights=tuple(weights), nodes=tuple(nodes), outputs=(value,))


def _glorot(before: int, after: int) -> Initial:
    # A context of our own: the graph must not depend on the caller's.
    bound = _EXACT.quantize(_EXACT.sqrt(_EXACT.divide(Decimal(6), Decimal(before + after))), Decimal("1e-6"))
    return Initial(rule=InitialRule.UNIFORM, bound=Parameter(bound))


def _one_of(kind: type[Any], value: Any, field: str) -> Any:
    known = {member.value: member for member in kind}
    if not isinstance(value, str) or value not in known:
        raise InvalidError(f"`{field}` must be one of " + ", ".join(known), field=field)
    return known[value]
