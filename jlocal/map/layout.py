"""The child process of `jlocal.map.projection.umap`: vectors as .npy on stdin, points on stdout.

numba, which compiles UMAP, reads settings from a file in the current folder, such as the location
of compiled code. The process therefore runs in a folder of its own.
"""

from __future__ import annotations

import io
import sys
import warnings

import numpy as np
import numpy.typing as npt

from jlocal.vectors import Floats

Points = npt.NDArray[np.float64]


def lay_out(vectors: Floats, seed: int) -> Points:
    """Lay out unit vectors (n, d) as (n, 2), in this process."""
    from umap import UMAP

    with warnings.catch_warnings():
        # One of the warnings is that a seed means one thread.
        warnings.simplefilter("ignore")
        layout = UMAP(
            n_neighbors=min(15, len(vectors) - 1),
            metric="cosine",
            # The initial spectral layout is meaningless for a handful of points.
            init="spectral" if len(vectors) > 50 else "random",
            random_state=seed,
        )
        return np.asarray(layout.fit_transform(vectors), np.float64)


def _main() -> None:
    vectors = np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False)
    points = io.BytesIO()
    np.save(points, lay_out(vectors, int(sys.argv[1])), allow_pickle=False)
    sys.stdout.buffer.write(points.getvalue())


if __name__ == "__main__":
    _main()
