"""Templates: models that a trainer names with a few choices.

Rules
-----
1. The same choices, width and outputs give the same graph, byte for byte (`privacy.graph.networks`).
2. A template has its own choices and no others; the written form has all of them, so defaults can change later.
3. How many numbers come out follows from the label: one (the target itself, or the log-odds of a binary target), or a
   score for each class.

Form: docs/formats/model-graph.md, "Templates".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from kernel.checks import whole
from kernel.errors import InvalidError
from privacy.graph.image import check_image
from privacy.graph.networks import convolutional, perceptron, transformer
from privacy.graph.spec import LARGEST_SIDE, ModelGraph, elements

MOST_LAYERS = 8
LARGEST_LAYER = 4096
SMALLEST_IMAGE, LARGEST_IMAGE, MOST_CHANNELS = 14, 256, 16
LARGEST_VOCABULARY, LONGEST, LARGEST_DIM, MOST_HEADS = 65_536, 1024, 1024, 16


class Template(StrEnum):
    """The models a trainer can name."""

    LINEAR = "linear"
    LOGISTIC = "logistic"
    SOFTMAX = "softmax"
    GAM = "gam"
    MLP = "mlp"
    CNN = "cnn"
    TRANSFORMER = "transformer"


class Activation(StrEnum):
    """What stands between the layers of a network."""

    RELU = "relu"
    TANH = "tanh"
    GELU = "gelu"


CHOICES: Final[Mapping[Template, tuple[str, ...]]] = {
    Template.LINEAR: (),
    Template.LOGISTIC: (),
    Template.SOFTMAX: (),
    Template.GAM: (),
    Template.MLP: ("hidden", "activation"),
    Template.CNN: ("image", "channels", "hidden", "activation"),
    Template.TRANSFORMER: ("vocabulary", "length", "dim", "heads", "layers", "activation"),
}
DEFAULTS: Final[Mapping[Template, Mapping[str, Any]]] = {
    Template.MLP: {"activation": "tanh"},
    Template.CNN: {"channels": (16, 32), "hidden": (32,), "activation": "tanh"},
    Template.TRANSFORMER: {"dim": 64, "heads": 4, "layers": 2, "activation": "gelu"},
}
_LISTS: Final = ("hidden", "image", "channels")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """A template and its choices; what a template does not have stays empty.

    Attributes:
        template: Which model.
        hidden: Widths of the hidden linear layers.
        activation: What stands between layers.
        image: Channels, height and width of an image; a row holds it in this order.
        channels: Of the results of the two convolutions.
        vocabulary: How many tokens there are; a row holds their numbers from 0.
        length: How many tokens a row has.
        dim: Width of a transformer; its heads divide it.
        heads: Of each attention.
        layers: Of a transformer.
    """

    template: Template
    hidden: tuple[int, ...] = ()
    activation: Activation | None = None
    image: tuple[int, ...] = ()
    channels: tuple[int, ...] = ()
    vocabulary: int | None = None
    length: int | None = None
    dim: int | None = None
    heads: int | None = None
    layers: int | None = None

    def __post_init__(self) -> None:
        own = CHOICES[self.template]
        for name in sorted({name for names in CHOICES.values() for name in names}):
            given = getattr(self, name) not in ((), None)
            if given and name not in own:
                raise InvalidError(f"`{name}` is no choice of this template: leave it out", field=name)
            if not given and name in own and not (name == "hidden" and self.template is Template.CNN):
                raise InvalidError(f"this template needs `{name}`", field=name)
        match self.template:
            case Template.CNN:
                self._check_image()
            case Template.TRANSFORMER:
                self._check_transformer()
        if len(self.hidden) > MOST_LAYERS:
            raise InvalidError(f"`hidden` must list at most {MOST_LAYERS} widths", field="hidden")
        for width in self.hidden:
            whole(1, LARGEST_LAYER, hidden=width)

    def _check_image(self) -> None:
        check_image(self.image, sides=(SMALLEST_IMAGE, LARGEST_IMAGE), most_channels=MOST_CHANNELS)
        if len(self.channels) != 2:
            raise InvalidError("`channels` must list two widths, one for each convolution", field="channels")
        for count in self.channels:
            whole(1, LARGEST_LAYER, channels=count)

    def _check_transformer(self) -> None:
        for name, least, most in _RANGES:
            whole(least, most, **{name: getattr(self, name)})
        if self.dim is None or self.heads is None or self.dim % self.heads:
            raise InvalidError("`heads` must divide `dim`", field="heads")

    def graph(self, width: int, outputs: int = 1) -> ModelGraph:
        """The graph on rows of `width` numbers, with `outputs` numbers for each.

        Raises:
            InvalidError: The rows do not hold what the choices say.
        """
        whole(1, LARGEST_SIDE, width=width)
        whole(1, LARGEST_LAYER, outputs=outputs)
        activation = None if self.activation is None else self.activation.value
        match self.template, activation:
            case Template.CNN, str(active):
                _require_width("image", elements(self.image), width)
                return convolutional(self.image, self.channels, self.hidden, active, outputs)
            case Template.TRANSFORMER, str(active):
                _require_width("length", self.length or 0, width)
                sizes = (self.vocabulary or 0, width, self.dim or 0, self.heads or 0, self.layers or 0)
                return transformer(*sizes, active, outputs)
            case _:
                return perceptron(width, self.hidden, activation, outputs)

    def to_json(self) -> dict[str, Any]:
        """Encode; what a template does not have is left out."""
        body: dict[str, Any] = {"template": self.template.value}
        for name in CHOICES[self.template]:
            value = getattr(self, name)
            body[name] = list(value) if isinstance(value, tuple) else value.value if name == "activation" else value
        return body

    @classmethod
    def from_json(cls, body: Any) -> ModelChoice:
        """Read what `to_json` writes; choices that have a default may be left out."""
        if not isinstance(body, Mapping):
            raise InvalidError("`model` must be an object with a `template`", field="model")
        template = _one_of(Template, body.get("template"), "template")
        own = CHOICES[template]
        if not set(body) <= {"template", *own}:
            raise InvalidError("`model` may have: " + ", ".join(("template", *own)), field="model")
        written = {**DEFAULTS.get(template, {}), **body}
        values = {name: _read(name, written[name]) for name in own if name in written}
        return cls(template=template, **values)


_RANGES: Final = (
    ("vocabulary", 2, LARGEST_VOCABULARY),
    ("length", 1, LONGEST),
    ("dim", 2, LARGEST_DIM),
    ("heads", 1, MOST_HEADS),
    ("layers", 1, MOST_LAYERS),
)


def _require_width(name: str, needed: int, width: int) -> None:
    if needed != width:
        raise InvalidError(
            f"a row becomes {width} numbers, but `{name}` asks for {needed}: change `{name}` or the features",
            field=name,
        )


def _read(name: str, value: Any) -> Any:
    if name == "activation":
        return _one_of(Activation, value, name)
    if name not in _LISTS:
        return value
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > MOST_LAYERS:
        raise InvalidError(f"`{name}` must list at most {MOST_LAYERS} whole numbers", field=name)
    return tuple(value)


def _one_of(kind: type[Any], value: Any, field: str) -> Any:
    known = {member.value: member for member in kind}
    if not isinstance(value, str) or value not in known:
        raise InvalidError(f"`{field}` must be one of " + ", ".join(known), field=field)
    return known[value]
