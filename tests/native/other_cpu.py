"""Products as another processor computes them: `other_cpu.py LIBRARY TESTS FAMILIES`.

An emulator runs this; nothing of llama.cpp is imported, which is built for the processor here.
"""

from __future__ import annotations

import sys
from pathlib import Path

tests, expected = sys.argv[2:]
sys.path.insert(0, tests)

import numpy as np  # noqa: E402

from support.kernels import F32, Kernels, attention, error, masks, normal, product  # noqa: E402

kernels = Kernels(Path(sys.argv[1]))
assert kernels.families == expected.split(","), kernels.families
assert kernels.library.ggml_backend_score() == bool(expected)
rng = np.random.default_rng(0)
for family in (name for name in kernels.families if name not in {"", "attention"}):
    for m, n, k in ((1, 1, 32), (2, 17, 96), (7, 33, 64), (13, 16, 256), (50, 64, 32)):
        x, w = normal(rng, (m, k)), normal(rng, (n, k))
        out = kernels.multiply(family, x, w, F32, n, threads=1 + m % 2)
        assert error(out, product(family, x, w), x, w) < 2e-6, (family, m, n, k)
    x[3, 5] = np.nan
    out = kernels.multiply(family, x, w, F32, n)
    assert np.isnan(out[3]).all()
    assert np.isfinite(out[4:]).all()
if "attention" in kernels.families:
    q, k, v = (
        normal(rng, (4, 40, 32)),
        *(normal(rng, (2, 150, 32)).astype(np.float16) for _ in "kv"),
    )
    mask = masks(rng, 40, 150, "causal")
    out = kernels.attend(q, k, v, mask, 0.25, threads=2, name="avx2")
    assert np.abs(out - attention(q, k, v, mask, 0.25)).max() < 1e-4
