"""Public feature extractors as values: a fixed function from a row's encoded numbers to the numbers a model reads.

Rules
-----
1. An extractor is public and fixed before any row is seen: a scattering transform, or a graph with weights that its
   owner trained elsewhere. It learns nothing here, so it costs no privacy.
2. It works row by row; its result for a row depends on that row alone, bit for bit (`privacy.training.extract`).
3. How many numbers it reads and gives follows from the value alone; both are bounded, and so is the work per row.
4. It stands inside the feature spec, so the spec's digest binds it, weights included.

Form: docs/formats/features.md, "Extractors".
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias

from kernel.checks import whole
from kernel.errors import InvalidError, TooLargeError
from privacy.graph.check import MOST_COST_PER_ROW, check
from privacy.graph.image import check_image
from privacy.graph.spec import ModelGraph, elements
from privacy.jobs.given import check_given
from privacy.jobs.size import scoring_work

LARGEST_WIDTH = 65_536
LARGEST_SIDE = 128
MOST_SCALES, MOST_ANGLES, MOST_CHANNELS = 4, 16, 4
WEIGHTS_LIMIT = 4 * 2**20
_GIVEN: Final = "given"


class Norm(StrEnum):
    """What is done to a row's numbers at the end."""

    NONE = "none"
    GROUP = "group"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scattering:
    """Scattering coefficients of an image: wavelet moduli, averaged, of first and second order.

    Attributes:
        image: Height and width, or channels, height and width: how the encoded numbers are read, row-major.
        scales: J: averages over 2^J pixels, so each side of the result is the image's over 2^J, rounded down.
        angles: L: orientations of the wavelets.
        order: 1, or 2 for coefficients of coefficients too.
        norm: `group` brings each of `groups` equal groups of coefficients of the row to mean 0 and variance 1.
        groups: How many; it divides the number of coefficient maps.
    """

    image: tuple[int, ...]
    scales: int = 2
    angles: int = 8
    order: int = 2
    norm: Norm = Norm.GROUP
    groups: int | None = 1

    def __post_init__(self) -> None:
        whole(1, MOST_SCALES, scales=self.scales)
        whole(1, MOST_ANGLES, angles=self.angles)
        whole(1, 2, order=self.order)
        # A side below twice the averaging window could not be padded by its own reflection.
        sides = (2 ** (self.scales + 1), LARGEST_SIDE)
        check_image(self.image, sides=sides, most_channels=MOST_CHANNELS, grey=True)
        self._check_norm()
        if self.width > LARGEST_WIDTH or self.cost_per_row > MOST_COST_PER_ROW:
            raise TooLargeError("these sides, scales and angles give too many numbers: take fewer", field="extractor")

    def _check_norm(self) -> None:
        if (self.norm is Norm.GROUP) != (self.groups is not None):
            raise InvalidError("give `groups` exactly when `norm` is group", field="groups")
        if self.groups is not None and self.maps % whole(1, self.maps, groups=self.groups) != 0:
            raise InvalidError(f"`groups` must divide the number of maps, {self.maps}", field="groups")

    @property
    def channels(self) -> int:
        """How many images of the same sides a row holds."""
        return self.image[0] if len(self.image) == 3 else 1

    @property
    def paths(self) -> int:
        """Coefficient maps of one channel."""
        second = self.angles**2 * self.scales * (self.scales - 1) // 2 if self.order == 2 else 0
        return 1 + self.scales * self.angles + second

    @property
    def maps(self) -> int:
        """Coefficient maps of all channels."""
        return self.channels * self.paths

    @property
    def inputs(self) -> int:
        """How many encoded numbers it reads."""
        return elements(self.image)

    @property
    def width(self) -> int:
        """How many numbers it gives."""
        height, width = self.image[-2:]
        return self.maps * (height >> self.scales) * (width >> self.scales)

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width with the reflected margin, multiples of 2^scales."""
        height, width = (((side >> self.scales) + 2) << self.scales for side in self.image[-2:])
        return height, width

    @property
    def cost_per_row(self) -> int:
        """About how many multiply-adds a row takes: transforms as matrix products, at most twice per path."""
        height, width = self.padded
        return 4 * self.maps * height * width * (height + width) // 4

    def to_json(self) -> dict[str, Any]:
        """Encode."""
        body = {
            "kind": "scattering",
            "image": list(self.image),
            "scales": self.scales,
            "angles": self.angles,
            "order": self.order,
            "norm": self.norm.value,
        }
        return body if self.groups is None else body | {"groups": self.groups}


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenGraph:
    """A model graph with weights that never change here: an encoder trained on public data.

    Attributes:
        graph: Every weight starts as `given`.
        weights: Its weights as safetensors.
    """

    graph: ModelGraph
    weights: bytes

    def __post_init__(self) -> None:
        if len(self.weights) > WEIGHTS_LIMIT:
            raise TooLargeError(f"an extractor's weights may have at most {WEIGHTS_LIMIT} bytes", field="weights")
        if any(weight.init.rule != _GIVEN for weight in self.graph.weights):
            raise InvalidError("every weight of an extractor's graph starts as `given`", field="graph")
        if check(self.graph).outputs > LARGEST_WIDTH:
            raise TooLargeError(f"an extractor may give at most {LARGEST_WIDTH} numbers", field="graph")
        check_given({weight.name: weight.shape for weight in self.graph.weights}, self.weights)

    @property
    def inputs(self) -> int:
        """How many encoded numbers it reads."""
        return elements(self.graph.inputs[0].shape)

    @property
    def width(self) -> int:
        """How many numbers it gives."""
        return check(self.graph).outputs

    @property
    def cost_per_row(self) -> int:
        """Multiply-adds of one row, and what slow functions take beyond them."""
        return scoring_work(check(self.graph))

    def to_json(self) -> dict[str, Any]:
        """Encode."""
        weights = base64.b64encode(self.weights).decode("ascii")
        return {"kind": "graph", "graph": self.graph.to_json(), "weights": weights}


Extractor: TypeAlias = Scattering | FrozenGraph


def extractor_from_json(body: Any) -> Extractor:
    """Read what an extractor's `to_json` writes; raise `InvalidError` or `TooLargeError` otherwise."""
    kind = body.get("kind") if isinstance(body, Mapping) else None
    if kind == "scattering":
        return _scattering(body)
    if kind == "graph":
        return _frozen(body)
    raise InvalidError("`extractor` needs a `kind`: scattering or graph", field="extractor")


def check_inputs(extractor: Extractor, width: int) -> None:
    """Raise `InvalidError` unless the encoded row has as many numbers as the extractor reads."""
    if extractor.inputs != width:
        sentence = f"the extractor reads {extractor.inputs} numbers, but the columns give {width}"
        raise InvalidError(sentence, field="extractor")


def _scattering(body: Mapping[str, Any]) -> Scattering:
    needed = {"kind", "image", "scales", "angles", "order", "norm"}
    if not needed <= set(body) <= needed | {"groups"}:
        raise InvalidError(
            "a scattering needs kind, image, scales, angles, order, norm and may have groups, nothing else",
            field="extractor",
        )
    norms = {norm.value: norm for norm in Norm}
    if not isinstance(body["norm"], str) or body["norm"] not in norms:
        raise InvalidError("`norm` must be none or group", field="norm")
    if not isinstance(body["image"], (list, tuple)):
        raise InvalidError("`image` must list height and width, or channels, height and width", field="image")
    return Scattering(
        image=tuple(body["image"]),
        scales=body["scales"],
        angles=body["angles"],
        order=body["order"],
        norm=norms[body["norm"]],
        groups=body.get("groups"),
    )


def _frozen(body: Mapping[str, Any]) -> FrozenGraph:
    if set(body) != {"kind", "graph", "weights"}:
        raise InvalidError("a graph extractor has exactly kind, graph and weights", field="extractor")
    weights = body["weights"]
    if not isinstance(weights, str) or len(weights) > WEIGHTS_LIMIT * 3 // 2:
        raise InvalidError("`weights` must be base64 text within the limit", field="weights")
    try:
        data = base64.b64decode(weights, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidError("`weights` must be base64 text", field="weights") from None
    if base64.b64encode(data).decode("ascii") != weights:
        # One value has one encoding: padding bits that say nothing would change the digest and nothing else.
        raise InvalidError("`weights` must be canonical base64", field="weights")
    return FrozenGraph(graph=ModelGraph.from_json(body["graph"]), weights=data)
