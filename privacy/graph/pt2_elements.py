"""Rules of aten operations that work number by number, on one value or on two.

Rules
-----
1. An operation in place is read only where nobody else can see the value that it changes.
2. Plain numbers become exact decimal text. A size of the batch is never a number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from kernel.errors import InvalidError
from privacy.graph import foreign_ops as ops
from privacy.graph.foreign import Batched, Parameter
from privacy.graph.pt2_calls import Reading, Rule, Value


def _plain(op: str) -> Rule:
    def rule(r: Reading) -> Sequence[Value]:
        return [ops.elementwise(r.graph, op, r.rows("self"))]

    return rule


def _in_place(inner: Rule) -> Rule:
    def rule(r: Reading) -> Sequence[Value]:
        if not r.sole_reader(r.rows("self")):
            raise InvalidError("it changes a value that others may read: use the operation without `inplace`")
        return inner(r)

    return rule


def _gelu(r: Reading) -> Sequence[Value]:
    r.must_be("approximate", "none", "tanh")
    op = "gelu" if r.raw("approximate") == "tanh" else "gelu_exact"
    return [ops.elementwise(r.graph, op, r.rows("self"))]


def _elu(r: Reading) -> Sequence[Value]:
    for name in ("alpha", "scale", "input_scale"):
        r.must_be(name, 1, 1.0)
    return [ops.elementwise(r.graph, "elu", r.rows("self"))]


def _leaky_relu(r: Reading) -> Sequence[Value]:
    slope = ops.exact(r.number("negative_slope", 0.01))
    return [ops.elementwise(r.graph, "leaky_relu", r.rows("self"), slope=slope)]


def _hardtanh(r: Reading) -> Sequence[Value]:
    return [_clamped(r, r.number("min_val", -1.0), r.number("max_val", 1.0))]


def _relu6(r: Reading) -> Sequence[Value]:
    return [_clamped(r, 0.0, 6.0)]


def _clamp(r: Reading) -> Sequence[Value]:
    if r.raw("min") is None or r.raw("max") is None:
        raise InvalidError("give both bounds of it; for one bound of 0 write `relu`")
    return [_clamped(r, r.number("min", 0.0), r.number("max", 0.0))]


def _clamped(r: Reading, low: float, high: float) -> Batched:
    return ops.elementwise(r.graph, "clamp", r.rows("self"), low=ops.exact(low), high=ops.exact(high))


def _softplus(r: Reading) -> Sequence[Value]:
    r.must_be("beta", 1, 1.0)
    r.must_be("threshold", 20, 20.0)
    return [ops.elementwise(r.graph, "softplus", r.rows("self"))]


def _add(r: Reading) -> Sequence[Value]:
    r.must_be("alpha", 1, 1.0)
    left, right = r.any("self"), r.any("other")
    if isinstance(left, Batched) and isinstance(right, Batched):
        return [ops.pair(r.graph, "add", left, right)]
    value, other = (left, right) if isinstance(left, Batched) else (right, left)
    if not isinstance(value, Batched):
        raise InvalidError("it adds parameters to each other: one of the two must come from the rows")
    if isinstance(other, Parameter):
        return [ops.add_parameter(r.graph, value, other)]
    return [_shifted(r, value, _constant(other))]


def _sub(r: Reading) -> Sequence[Value]:
    r.must_be("alpha", 1, 1.0)
    left, right = r.any("self"), r.any("other")
    if isinstance(left, Batched) and isinstance(right, Batched):
        return [ops.pair(r.graph, "subtract", left, right)]
    if isinstance(left, Batched):
        return [_shifted(r, left, -_constant(right))]
    if isinstance(right, Batched):
        return [_shifted(r, _scaled(r, right, -1.0), _constant(left))]
    raise InvalidError("it reads no rows")


def _rsub(r: Reading) -> Sequence[Value]:
    r.must_be("alpha", 1, 1.0)
    return [_shifted(r, _scaled(r, r.rows("self"), -1.0), _constant(r.any("other")))]


def _mul(r: Reading) -> Sequence[Value]:
    left, right = r.any("self"), r.any("other")
    if isinstance(left, Batched) and isinstance(right, Batched):
        return [ops.pair(r.graph, "multiply", left, right)]
    value, other = (left, right) if isinstance(left, Batched) else (right, left)
    if not isinstance(value, Batched):
        raise InvalidError("it reads no rows")
    return [_scaled(r, value, _constant(other))]


def _div(r: Reading) -> Sequence[Value]:
    divisor = _constant(r.any("other"))
    if divisor == 0:
        raise InvalidError("it divides by 0")
    return [_scaled(r, r.rows("self"), 1 / divisor)]


def _neg(r: Reading) -> Sequence[Value]:
    return [_scaled(r, r.rows("self"), -1.0)]


def _constant(value: Value | bool | float | None) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidError("it combines the rows with something else than rows or a plain number")
    return float(value)


def _scaled(r: Reading, value: Batched, factor: float) -> Batched:
    return value if factor == 1 else ops.elementwise(r.graph, "scale", value, factor=ops.exact(factor))


def _shifted(r: Reading, value: Batched, offset: float) -> Batched:
    return value if offset == 0 else ops.elementwise(r.graph, "offset", value, value=ops.exact(offset))


ELEMENTS: Final[Mapping[str, Rule]] = {
    **{name: _plain(op) for name, op in {"relu.default": "relu", "tanh.default": "tanh"}.items()},
    "sigmoid.default": _plain("sigmoid"),
    "silu.default": _plain("silu"),
    "sin.default": _plain("sine"),
    "cos.default": _plain("cosine"),
    "relu_.default": _in_place(_plain("relu")),
    "tanh_.default": _in_place(_plain("tanh")),
    "sigmoid_.default": _in_place(_plain("sigmoid")),
    "silu_.default": _in_place(_plain("silu")),
    "gelu.default": _gelu,
    "elu.default": _elu,
    "elu_.default": _in_place(_elu),
    "leaky_relu.default": _leaky_relu,
    "leaky_relu_.default": _in_place(_leaky_relu),
    "hardtanh.default": _hardtanh,
    "hardtanh_.default": _in_place(_hardtanh),
    "relu6.default": _relu6,
    "relu6_.default": _in_place(_relu6),
    "clamp.default": _clamp,
    "clip.default": _clamp,
    "clamp_.default": _in_place(_clamp),
    "softplus.default": _softplus,
    "add.Tensor": _add,
    "sub.Tensor": _sub,
    "rsub.Scalar": _rsub,
    "mul.Tensor": _mul,
    "div.Tensor": _div,
    "neg.default": _neg,
}
