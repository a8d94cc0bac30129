"""Another library's synthetic tables, in an environment of its own: cells in, cells out.

    PYTHON_WITH_DPMM benchmarks/peers/marginals.py METHOD EPSILON DELTA IN.npz OUT.npz

`dpmm` pins numpy, pandas, scikit-learn and opendp to exact versions, so that it cannot stand beside the program. It
gets the cells that the program counts in, and nothing else; `METHOD` is `mst` or `aim`.
"""

from __future__ import annotations

import sys

import numpy as np


def main(method: str, epsilon: str, delta: str, source: str, sink: str) -> None:
    """Fit on cells and draw as many rows."""
    import pandas as pd  # type: ignore[import-untyped]
    from dpmm.pipelines import AIMPipeline, MSTPipeline  # type: ignore[import-not-found]

    given = np.load(source)
    rows = pd.DataFrame({name: given[name] for name in given.files if name != "cells"})
    domain = dict(zip(rows.columns, map(int, given["cells"]), strict=True))
    kind = {"mst": MSTPipeline, "aim": AIMPipeline}[method]
    model = kind(epsilon=float(epsilon), delta=float(delta), disable_processing=True, n_jobs=1)
    model.fit(rows, domain)
    drawn = model.generate(n_records=len(rows))
    np.savez(sink, **{name: drawn[name].to_numpy(dtype=np.int64) for name in rows.columns})


if __name__ == "__main__":
    main(*sys.argv[1:])
