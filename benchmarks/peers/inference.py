"""Another library's inference on our released counts, in an environment of its own: counts in, cells out.

    PYTHON_WITH_MBI benchmarks/peers/inference.py IN.json OUT.npz

`mbi` is the library of MST's authors; it needs JAX. It gets what a `synthesis.json` holds, the noise's deviations
included, and fits a Markov random field by mirror descent; both are post-processing of the same release.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np


def main(source: str, sink: str) -> None:
    """Fit to counts and draw rows."""
    import jax  # type: ignore[import-not-found,unused-ignore]

    jax.config.update("jax_enable_x64", True)
    from mbi import Domain, LinearMeasurement, estimation  # type: ignore[import-not-found,unused-ignore]

    given = json.loads(Path(source).read_text(encoding="utf-8"))
    domain = Domain(given["names"], given["cells"])
    measured = [
        LinearMeasurement(np.array(one["noisy"], dtype=float), tuple(one["columns"]), stddev=one["deviation"])
        for one in given["measured"]
    ]
    model = estimation.MirrorDescent().estimate(domain, measured, iters=2000)
    drawn = model.synthetic_data(rows=given["rows"], method="sample").to_dict()
    np.savez(sink, **{name: np.asarray(drawn[name], dtype=np.int64) for name in given["names"]})


if __name__ == "__main__":
    main(*sys.argv[1:])
