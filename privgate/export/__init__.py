"""A released model as one ONNX file: raw columns in, probabilities out, with the certificate inside.

Usage:
    release.export_onnx("model.onnx")
    found = privgate.export.open_onnx("model.onnx", trust)

Rules
-----
1. The file holds the whole way of a row: missing values, bounds, categories, extractor, network, probabilities. What
   the SDK predicts, it predicts.
2. It is made from a verified release alone, and carries certificate, receipt, model card and lineage.
3. The same release gives the same bytes, so that a reader can write the file again and compare.

Form: docs/formats/onnx.md. Needs the extra `onnx`; running the file needs any ONNX runtime, and nothing of Privgate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from privgate.export.reading import OnnxRelease, open_onnx
    from privgate.export.rows import onnx_inputs

__all__ = ["OnnxRelease", "onnx_inputs", "open_onnx"]


def __getattr__(name: str) -> Any:
    """Load what needs onnx when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'privgate.export' has no attribute {name!r}")
    try:
        from privgate.export import reading, rows
    except ImportError:
        from privgate.sdk.errors import ExtraMissingError

        raise ExtraMissingError("reading an ONNX file", "onnx") from None
    return rows.onnx_inputs if name == "onnx_inputs" else getattr(reading, name)
