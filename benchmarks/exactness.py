"""How close each compute type is to float32, with trained weights and with artificial outliers.

    python benchmarks/exactness.py

The starter model is measured as it is and with outliers: some channels are multiplied, and the
weights that read them are divided, so that the function is the same in exact arithmetic, but
activations spread over a range that is almost too wide for eight bits. The vectors of its F32 file
are the reference. Figures are 1 - cosine in millionths, the mean and the largest over the texts of
`jlocal verify`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from jlocal import Embedder  # noqa: E402
from jlocal.llama.kernels import kernels  # noqa: E402
from jlocal.verify.texts import default_texts  # noqa: E402
from jlocal_convert import convert  # noqa: E402
from support.checkpoints import merged  # noqa: E402
from support.gguf_files import edit_tensors  # noqa: E402

STARTER = ROOT / "starter" / "jlocal-starter"
KINDS = ("BF16", "F16", "Q8_0")

Tensors = dict[str, npt.NDArray[np.float32]]


def with_outliers(factor: float) -> Callable[[Tensors], None]:
    """Return a change that multiplies every 97th channel of each feed-forward and of each norm."""

    def change(tensors: Tensors) -> None:
        for name in [name for name in tensors if name.endswith("up_proj.weight")]:
            layer = name.removesuffix("mlp.up_proj.weight")
            tensors[name][::97] *= factor
            tensors[f"{layer}mlp.down_proj.weight"][:, ::97] /= factor
            tensors[f"{layer}input_layernorm.weight"][::97] *= factor
            for part in ("q", "k", "v"):
                tensors[f"{layer}self_attn.{part}_proj.weight"][:, ::97] /= factor

    return change


def vectors(file: Path, compute_type: str) -> npt.NDArray[np.float64]:
    """Embed the texts."""
    with Embedder(file, compute_type=compute_type, on_long="truncate") as model:  # type: ignore[arg-type]
        return np.asarray(model.encode([text.text for text in default_texts()]), np.float64)


def rows(folder: Path, factor: float) -> Iterator[tuple[str, str, float, float]]:
    """Yield type of the file, compute type, and the mean and largest loss."""
    checkpoint = merged(STARTER, "retrieval", folder / "merged", dtype="F32")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(STARTER / name, checkpoint)
    if factor != 1:
        edit_tensors(checkpoint / "model.safetensors", with_outliers(factor))
    files = convert(checkpoint, tasks=("retrieval",), types=("F32", *KINDS), output=folder / "out")
    reference, *others = files
    exact = vectors(reference, "stored")
    for kind, file in zip(KINDS, others, strict=True):
        for compute_type in ("stored", "bfloat16", "int8"):
            lost = 1e6 * (1 - (vectors(file, compute_type) * exact).sum(axis=1))
            yield kind, compute_type, float(lost.mean()), float(lost.max())


def main() -> None:
    """Print a table for each factor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--factors", nargs="+", type=float, default=[1, 10, 100])
    options = parser.parse_args()
    print(f"kernels: {', '.join(kernels().families) or kernels().reason}")
    print("| outliers | file | compute type | mean | largest |")
    print("| ---: | --- | --- | ---: | ---: |")
    for factor in options.factors:
        with tempfile.TemporaryDirectory() as folder:
            for kind, compute_type, mean, largest in rows(Path(folder), factor):
                print(f"| {factor:g} | {kind} | {compute_type} | {mean:,.1f} | {largest:,.1f} |")


if __name__ == "__main__":
    main()
