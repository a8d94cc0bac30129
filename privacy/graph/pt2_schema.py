"""The description inside a `torch.export` file, as plain values: nodes with named arguments, and what comes in.

Rules
-----
1. Only kinds of arguments that are listed here exist. Text is never parsed as an expression: of an open size it is
   known that it is open, no more.
2. Buffers and constants are refused: what is not learned and not computed from a row has no place in a graph.

Reference: schema version 8 of torch's `_export/serde/schema.py`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeAlias

from kernel.errors import CorruptError, InvalidError, TooLargeError
from privacy.graph.foreign import MOST_DIMS
from privacy.graph.foreign_graph import MOST_FOREIGN_NODES, shown
from privacy.graph.pt2_archive import Archive
from privacy.graph.spec import MOST_WEIGHTS

SCHEMA_MAJOR = 8
FLOAT32, INT32, INT64 = 7, 4, 5
LARGEST_NUMBER = 2**63


@dataclass(frozen=True, slots=True)
class Ref:
    """A value by its name."""

    name: str


@dataclass(frozen=True, slots=True)
class SizeRef:
    """A computed size by its name."""

    name: str


@dataclass(frozen=True, slots=True)
class Marker:
    """A dtype, or a device, layout or memory format, which change no number."""

    kind: str
    value: int | None = None


Argument: TypeAlias = (
    "bool | int | float | str | Ref | SizeRef | Marker | tuple[int | SizeRef, ...] | tuple[Ref, ...] | None"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One node.

    Attributes:
        name: Its name.
        target: What it calls.
        arguments: By the names of the operation's schema.
        results: Names of what it gives; more than one for a list.
    """

    name: str
    target: str
    arguments: Mapping[str, Argument]
    results: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a file describes.

    Attributes:
        input: Name of the one input.
        sizes: Its sizes; None for an open one.
        whole: It holds whole numbers.
        parameters: Names of values that are learned, with the parameter each is.
        calls: Nodes in order.
        output: Name of the one result.
    """

    input: str
    sizes: tuple[int | None, ...]
    whole: bool
    parameters: Mapping[str, str]
    calls: tuple[Call, ...]
    output: str


def read_program(archive: Archive) -> Program:
    """Read the description; raise `InvalidError`, `CorruptError` or `TooLargeError`."""
    with well_formed():
        return _program(decoded(archive.only("models/", ".json")))


@contextmanager
def well_formed() -> Iterator[None]:
    """Members that are missing or of another type: the description is not one that torch wrote."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError):
        raise CorruptError("the model's description is malformed", field="model") from None


def decoded(text: bytes) -> Any:
    """Read JSON: no duplicate members, no numbers that are not finite, whatever its depth or length."""
    try:
        return json.loads(text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refused, parse_float=_finite)
    except (ValueError, RecursionError):
        raise CorruptError("the model's description is not JSON", field="model") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member is given twice")
    return found


def _refused(_: str) -> NoReturn:
    raise ValueError("not a finite number")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refused(text)


def _program(body: Mapping[str, Any]) -> Program:
    if body["schema_version"]["major"] != SCHEMA_MAJOR:
        raise InvalidError("this schema version is not read: export the model with torch 2.9 to 2.13", field="model")
    graph, signature = body["graph_module"]["graph"], body["graph_module"]["signature"]
    if len(graph["nodes"]) > MOST_FOREIGN_NODES or len(graph["inputs"]) > MOST_WEIGHTS + 1:
        raise TooLargeError("the model has too many nodes or inputs: make it smaller", field="model")
    calls = tuple(_call(node) for node in graph["nodes"])
    given, parameters = _inputs(signature["input_specs"], calls)
    outputs = [_one(spec, "output")[1]["arg"] for spec in signature["output_specs"] if "user_output" in spec]
    if len(outputs) != 1 or len(signature["output_specs"]) != 1:
        raise InvalidError("the model must give one result and change nothing: return one tensor", field="model")
    meta = graph["tensor_values"][given]
    dtype = meta["dtype"]
    if type(dtype) is not int or dtype not in (FLOAT32, INT32, INT64):
        raise InvalidError("the input must be float32, or whole numbers that an embedding looks up", field="model")
    sizes = tuple(_size(item) for item in short_list(meta["sizes"], MOST_DIMS))
    return Program(
        input=given,
        sizes=sizes,
        whole=dtype != FLOAT32,
        parameters=parameters,
        calls=calls,
        output=short_text(outputs[0]["as_tensor"]["name"]),
    )


def _inputs(specs: Sequence[Mapping[str, Any]], calls: Sequence[Call]) -> tuple[str, dict[str, str]]:
    given: list[str] = []
    parameters: dict[str, str] = {}
    for spec in specs:
        kind, member = _one(spec, "input")
        if kind == "user_input":
            given.append(short_text(member["arg"]["as_tensor"]["name"]))
        elif kind == "parameter":
            parameters[short_text(member["arg"]["name"])] = short_text(member["parameter_name"])
        else:
            _refuse_input(kind, member, calls)
    if len(given) != 1 or given[0] in parameters or len(set(parameters.values())) != len(parameters):
        raise InvalidError("the model must read one tensor, the rows", field="model")
    return given[0], parameters


def _refuse_input(kind: str, member: Mapping[str, Any], calls: Sequence[Call]) -> NoReturn:
    argument = member.get("arg")
    name = argument.get("name") if isinstance(argument, Mapping) else None
    reader = next((call for call in calls if Ref(name) in call.arguments.values()), None) if name is not None else None
    where = "" if reader is None else f"node `{shown(reader.name)}` ({shown(reader.target)}) reads it; "
    if kind == "buffer":
        raise InvalidError(
            f"the model has the buffer `{shown(member.get('buffer_name'))}`: {where}state such as running means of rows"
            " (BatchNorm, InstanceNorm) would leave without noise: use GroupNorm or LayerNorm, and no buffers",
            field="model",
        )
    raise InvalidError(
        f"the model has a constant or object of kind `{shown(kind)}`: {where}make it a parameter, or compute it from"
        " numbers in `forward`",
        field="model",
    )


def _call(node: Mapping[str, Any]) -> Call:
    name, target = short_text(node["name"]), short_text(node["target"])
    try:
        arguments = _arguments(short_list(node["inputs"], MOST_WEIGHTS))
        return Call(name=name, target=target, arguments=arguments, results=tuple(_results(node["outputs"])))
    except InvalidError as error:
        raise InvalidError(f"node `{shown(name)}` ({shown(target)}): {error.message}", field="model") from None


def _arguments(items: Sequence[Mapping[str, Any]]) -> dict[str, Argument]:
    found = {short_text(item["name"]): _argument(item["arg"]) for item in items}
    if len(found) != len(items):
        raise InvalidError("it has arguments without names, or two of the same name: it is not read")
    return found


def _results(outputs: Sequence[Mapping[str, Any]]) -> list[str]:
    found: list[str] = []
    for output in outputs:
        kind, value = _one(output, "result")
        if kind == "as_tensor":
            found.append(short_text(value["name"]))
        elif kind == "as_tensors":
            found += [short_text(item["name"]) for item in short_list(value, 64)]
        elif kind == "as_sym_int":
            found.append(short_text(value["as_name"]))
        elif kind != "as_none":
            raise InvalidError("its results are not tensors")
    return found


def _argument(body: Mapping[str, Any]) -> Argument:
    kind, value = _one(body, "argument")
    reader = _KINDS.get(kind)
    if reader is None:
        raise InvalidError(f"an argument of the kind `{shown(kind)}` is not read: write the model without it")
    return reader(value)


def whole_number(value: Any) -> int:
    """A whole number, no flag."""
    if type(value) is not int or not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
        raise TypeError("not a whole number")
    return value


def _real(value: Any) -> float:
    if type(value) not in (int, float):
        raise InvalidError("an argument is not a finite number: write the model without it")
    return float(whole_number(value) if isinstance(value, int) else value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("not a flag")
    return value


def short_text(value: Any) -> str:
    """A text of usual length."""
    if not isinstance(value, str) or len(value) > 512:
        raise TypeError("not a short text")
    return value


def short_list(value: Any, most: int) -> list[Any]:
    """A list of at most so many items."""
    if not isinstance(value, list) or len(value) > most:
        raise TypeError("not a short list")
    return value


def _sym_int(value: Mapping[str, Any]) -> int | SizeRef:
    kind, inner = _one(value, "size")
    if kind not in ("as_name", "as_int"):
        raise TypeError("not a size")
    return SizeRef(short_text(inner)) if kind == "as_name" else whole_number(inner)


def _none(_: Any) -> None:
    return None


_KINDS: Final[Mapping[str, Callable[[Any], Argument]]] = {
    "as_none": _none,
    "as_tensor": lambda value: Ref(short_text(value["name"])),
    "as_tensors": lambda value: tuple(Ref(short_text(item["name"])) for item in short_list(value, 64)),
    "as_int": whole_number,
    "as_ints": lambda value: tuple(whole_number(item) for item in short_list(value, MOST_DIMS)),
    "as_float": _real,
    "as_bool": _flag,
    "as_string": short_text,
    "as_sym_int": _sym_int,
    "as_sym_ints": lambda value: tuple(_sym_int(item) for item in short_list(value, MOST_DIMS)),
    "as_scalar_type": lambda value: Marker("dtype", whole_number(value)),
    "as_memory_format": lambda _: Marker("memory_format"),
    "as_layout": lambda _: Marker("layout"),
    "as_device": lambda _: Marker("device"),
}


def _one(body: Mapping[str, Any], what: str) -> tuple[str, Any]:
    """The one member of a union."""
    if not isinstance(body, dict) or len(body) != 1:
        raise CorruptError(f"an {what} of the model's description is malformed", field="model")
    return next(iter(body.items()))


def _size(body: Mapping[str, Any]) -> int | None:
    kind, value = _one(body, "input size")
    if kind not in ("as_expr", "as_int"):
        raise TypeError("not a size")
    return None if kind == "as_expr" else whole_number(value)
