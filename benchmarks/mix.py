"""A searched mix of tensor types, compared with llama.cpp's own types at the same size.

python benchmarks/mix.py F16.gguf --sets SETS

Each type is made without and with an importance matrix; the mix uses the same matrix, and has at
most the size of the second file. Measurements are those of `quantisation.py`. The search does not
use any of the texts of `jlocal verify`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from quantisation import SETS, heading, measured, row

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from jlocal.llama.quantize import NEEDS_IMPORTANCE_MATRIX  # noqa: E402
from jlocal.verify.texts import default_texts  # noqa: E402
from jlocal_convert.quantization.calibration import DEFAULT, read_calibration  # noqa: E402
from jlocal_convert.quantization.mix.search import quantize_mixture, split  # noqa: E402
from jlocal_convert.quantization.run import quantize  # noqa: E402

_TYPES = ("Q5_K_M", "Q4_K_M", "Q3_K_M", "IQ3_XXS", "IQ2_M")


def table(options: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Yield the lines of the table."""
    searched, _ = split(read_calibration([options.texts]))
    texts = [text.text for text in default_texts() if text.text not in set(searched.texts)]
    sets = [options.sets / "retrieval" / name for name in SETS] if options.sets else []
    yield f"Searched with {len(searched.texts)} texts; cosines of {len(texts)} others.\n"
    before = measured(options.model, texts, sets)
    yield heading(sets)
    yield row("source", options.model, before, before)
    matrix, training = folder / "searched.imatrix.gguf", folder / "searched.jsonl"
    training.write_text("".join(f"{json.dumps({'text': text})}\n" for text in searched.texts))
    quantize(
        options.model, types=["Q8_0"], output=folder, calibration=[training], save_imatrix=matrix
    )
    made = folder / "made.gguf"
    for kind in options.types:
        if kind not in NEEDS_IMPORTANCE_MATRIX:
            quantize(options.model, types=[kind], output=made, overwrite=True)
            yield row(f"{kind}, no matrix", made, before, measured(made, texts, sets))
        quantize(options.model, types=[kind], output=made, imatrix=matrix, overwrite=True)
        yield row(kind, made, before, measured(made, texts, sets))
        start = time.perf_counter()
        quantize_mixture(
            options.model,
            output=made,
            size=made.stat().st_size,
            calibration=[options.texts],
            imatrix=matrix,
            tensor_types=options.mix_of,
            overwrite=True,
        )
        seconds = time.perf_counter() - start
        yield row(f"mix, {seconds:.0f} s", made, before, measured(made, texts, sets))


def main() -> None:
    """Read the arguments, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="an F16, BF16 or F32 file")
    parser.add_argument(
        "--texts", default=DEFAULT, help="texts for the search; jlocal's own if not given"
    )
    parser.add_argument("--types", nargs="+", default=_TYPES)
    parser.add_argument("--mix-of", nargs="+", default=(), help="tensor types to choose from")
    parser.add_argument("--sets", type=Path, metavar="SETS", help="folder of retrieval sets")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for line in table(options, Path(folder)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
