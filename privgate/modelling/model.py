"""A model that was read: its graph, the values it starts from, and where each lives in the original."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kernel.errors import InvalidError
from privacy.graph.check import CheckedGraph, check
from privacy.graph.spec import ModelGraph
from privacy.jobs.model import GraphChoice

if TYPE_CHECKING:
    from privacy.graph.foreign_graph import ForeignModel, Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model as data.

    Attributes:
        graph: Its structure.
        initial: The values it starts from, as safetensors.
        origins: By the graph's names: which parameter of the original a weight is.
    """

    graph: ModelGraph
    initial: bytes
    origins: Mapping[str, Origin] = field(repr=False)

    @classmethod
    def of(cls, read: ForeignModel) -> Model:
        """From what a reader gave."""
        from privacy.graph.weights import pack_initial

        return cls(graph=read.graph, initial=pack_initial(read.graph, read.initial), origins=read.origins)

    def __repr__(self) -> str:
        rows = list(self.graph.inputs[0].shape)
        return f"Model(input {rows}, {self.graph.weight_elements} parameters, graph {self.graph.digest.hex[:16]}...)"

    @property
    def checked(self) -> CheckedGraph:
        """The graph with its shapes and costs."""
        return check(self.graph)

    def to_request(self) -> dict[str, Any]:
        """The `model` member of a job request (docs/formats/job-spec.md)."""
        return GraphChoice(own=self.graph, initial=self.initial).to_json()

    def describe(self) -> str:
        """What it costs and how it will be run, in a few lines."""
        checked = self.checked
        way = "in whole micro-batches (every operation is proven)" if checked.proven else "one row at a time"
        operations = ", ".join(dict.fromkeys(node.op for node in self.graph.nodes))
        return "\n".join(
            (
                f"input {list(self.graph.inputs[0].shape)} -> output {list(checked.output_shape)}",
                f"{self.graph.weight_elements} parameters in {len(self.graph.weights)} arrays",
                f"{checked.activations_per_row} activations and {checked.cost_per_row} multiply-adds a row",
                f"run {way}",
                f"operations: {operations}",
                f"graph {self.graph.digest}",
            )
        )

    def original(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Weights of the graph under the names and in the shapes of the original, as numpy arrays.

        Usage: `network.load_state_dict({n: torch.from_numpy(a) for n, a in model.original(arrays).items()})`.

        Raises:
            InvalidError: They are not the weights of this graph.
        """
        from privacy.graph.foreign import undone

        wanted = {weight.name: weight.shape for weight in self.graph.weights}
        if {name: tuple(array.shape) for name, array in arrays.items()} != wanted:
            raise InvalidError("these are not the weights of this graph", field="weights")
        return {self.origins[name].parameter: undone(array, self.origins[name].undo) for name, array in arrays.items()}
