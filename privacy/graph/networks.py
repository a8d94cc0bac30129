"""The graphs behind the templates: perceptron, convolutional network, transformer encoder.

Rules
-----
1. The same choices give the same graph, byte for byte.
2. Regressions start at zero. In networks matrices start uniform with Glorot's bound, written with six digits, so that
   the graph is exact; biases start at zero; scales of a normalisation start at one.
3. Rows come as the template says: numbers, an image of channels first, or the numbers of tokens.

Reference: Glorot and Bengio 2010, equation 16, for the bound; Papernot et al. 2021 (arXiv 2007.14191) for the small
convolutional network; Xiong et al. 2020 (arXiv 2002.04745) for normalising before each part of a transformer's layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal

from kernel.events import Parameter
from privacy.graph.spec import Attribute, Initial, InitialRule, Input, ModelGraph, Node, Shape, Weight

_EXACT = Context(prec=28)
_ZEROS = Initial(rule=InitialRule.ZEROS)
_ONES = Initial(rule=InitialRule.CONSTANT, value=Parameter(1))
_EPS = Parameter("0.00001")


@dataclass(slots=True)
class _Draft:
    """A graph in the making: nodes are added in the order in which they run."""

    weights: list[Weight] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)

    def add(self, name: str, op: str, *inputs: str, weights: Sequence[str] = (), **attributes: Attribute) -> str:
        """Add a node and return its name."""
        by_name = tuple(sorted(attributes.items()))
        self.nodes.append(Node(name=name, op=op, inputs=inputs, weights=tuple(weights), attributes=by_name))
        return name

    def weigh(self, name: str, shape: Shape, init: Initial) -> str:
        """Add a weight and return its name."""
        self.weights.append(Weight(name=name, shape=shape, init=init))
        return name

    def linear(self, name: str, value: str, before: int, after: int, init: Initial) -> str:
        """A linear layer with bias."""
        weights = (self.weigh(f"{name}.weight", (after, before), init), self.weigh(f"{name}.bias", (after,), _ZEROS))
        return self.add(name, "linear", value, weights=weights)

    def dense(self, name: str, value: str, before: int, after: int) -> str:
        """A linear layer that starts with Glorot's bound."""
        return self.linear(name, value, before, after, _glorot(before, after))

    def normalise(self, name: str, value: str, width: int) -> str:
        """Layer normalisation over the last side."""
        weights = (self.weigh(f"{name}.weight", (width,), _ONES), self.weigh(f"{name}.bias", (width,), _ZEROS))
        return self.add(name, "layer_norm", value, weights=weights, sides=1, eps=_EPS)

    def convolve(self, name: str, value: str, channels: tuple[int, int], kernel: int, padding: int) -> str:
        """A convolution with bias, of stride 2."""
        before, after = channels
        window = kernel * kernel
        init = _glorot(before * window, after * window)
        weights = (
            self.weigh(f"{name}.weight", (after, before, kernel, kernel), init),
            self.weigh(f"{name}.bias", (after,), _ZEROS),
        )
        shape: dict[str, Attribute] = {"stride": (2, 2), "padding": (padding, padding), "dilation": (1, 1), "groups": 1}
        return self.add(name, "conv2d", value, weights=weights, **shape)

    def graph(self, shape: Shape, output: str) -> ModelGraph:
        """The finished graph on rows of a shape."""
        inputs = (Input(name="x", shape=shape),)
        return ModelGraph(inputs=inputs, weights=tuple(self.weights), nodes=tuple(self.nodes), outputs=(output,))


def perceptron(width: int, hidden: Sequence[int], activation: str | None, outputs: int) -> ModelGraph:
    """Linear layers with an activation between them; without hidden layers a regression."""
    draft = _Draft()
    return draft.graph((width,), _head(draft, "x", width, hidden, activation, outputs))


def convolutional(
    image: Shape, channels: Sequence[int], hidden: Sequence[int], activation: str, outputs: int
) -> ModelGraph:
    """Two convolutions of stride 2, each with an activation and a maximum over 2 x 2, then a perceptron."""
    draft = _Draft()
    value, sides, before = "x", image[1:], image[0]
    for number, (after, kernel, padding) in enumerate(zip(channels, (8, 4), (3, 0), strict=True), start=1):
        name = f"conv{number}"
        value = draft.convolve(name, value, (before, after), kernel, padding)
        value = draft.add(f"{name}.active", activation, value)
        value = draft.add(f"{name}.pool", "max_pool2d", value, kernel=(2, 2), stride=(1, 1), padding=(0, 0))
        sides, before = tuple((side + 2 * padding - kernel) // 2 for side in sides), after
    value = draft.add("flat", "flatten", value)
    return draft.graph(image, _head(draft, value, before * sides[0] * sides[1], hidden, activation, outputs))


def transformer(
    vocabulary: int, length: int, dim: int, heads: int, layers: int, activation: str, outputs: int
) -> ModelGraph:
    """An encoder on tokens: embedding and positions, layers of attention and perceptron, mean over places, linear."""
    draft = _Draft()
    start = _uniform(_EXACT.divide(Decimal(3), Decimal(dim)))
    value = draft.add("token", "embedding", "x", weights=[draft.weigh("token.weight", (vocabulary, dim), start)])
    value = draft.add("place", "shift", value, weights=[draft.weigh("place.weight", (length, dim), start)])
    for number in range(1, layers + 1):
        value = _attend(draft, f"layer{number}", value, dim, heads)
        value = _think(draft, f"layer{number}", value, dim, activation)
    value = draft.normalise("norm", value, dim)
    value = draft.add("mean", "mean", value, axes=(0,))
    return draft.graph((length,), draft.dense("score", value, dim, outputs))


def _attend(draft: _Draft, name: str, value: str, dim: int, heads: int) -> str:
    inner = draft.normalise(f"{name}.norm1", value, dim)
    query, key, content = (draft.dense(f"{name}.{part}", inner, dim, dim) for part in ("query", "key", "value"))
    mixed = draft.add(f"{name}.attention", "attention", query, key, content, heads=heads, causal=False)
    return draft.add(f"{name}.add1", "add", value, draft.dense(f"{name}.out", mixed, dim, dim))


def _think(draft: _Draft, name: str, value: str, dim: int, activation: str) -> str:
    inner = draft.normalise(f"{name}.norm2", value, dim)
    wide = draft.add(f"{name}.active", activation, draft.dense(f"{name}.wide", inner, dim, 4 * dim))
    return draft.add(f"{name}.add2", "add", value, draft.dense(f"{name}.narrow", wide, 4 * dim, dim))


def _head(draft: _Draft, value: str, before: int, hidden: Sequence[int], activation: str | None, outputs: int) -> str:
    for number, after in enumerate(hidden, start=1):
        value = draft.dense(f"layer{number}", value, before, after)
        before = after
        if activation is not None:
            value = draft.add(f"{value}.active", activation, value)
    plain = value == "x"
    return draft.linear("score", value, before, outputs, _ZEROS if plain else _glorot(before, outputs))


def _glorot(before: int, after: int) -> Initial:
    return _uniform(_EXACT.divide(Decimal(6), Decimal(before + after)))


def _uniform(square: Decimal) -> Initial:
    # A context of our own: the graph must not depend on the caller's.
    bound = _EXACT.quantize(_EXACT.sqrt(square), Decimal("1e-6"))
    return Initial(rule=InitialRule.UNIFORM, bound=Parameter(bound))
