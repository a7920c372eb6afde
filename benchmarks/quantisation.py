"""The gain of an importance matrix, and the loss of the token embeddings' type.

jq -r .text convert/jlocal_convert/quantization/data/calibration.jsonl > joined.txt
llama-imatrix -m F16.gguf -f joined.txt -o joined.gguf
python benchmarks/quantisation.py F16.gguf --texts default --theirs joined.gguf --sets SETS

Each type is made without a matrix, with a matrix from each file of --texts, and with each matrix of
--theirs, which llama-imatrix made from the same texts. Vectors are compared with those of F16.gguf,
on the texts of `jlocal verify` and of the retrieval sets, under each prompt; SETS has the layout
that starter/README.md describes. --tensor-type is the option of `jlocal quantize`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from jlocal import Embedder  # noqa: E402
from jlocal.errors import OutputError  # noqa: E402
from jlocal.gguf import imatrix  # noqa: E402
from jlocal.gguf.header import read_header  # noqa: E402
from jlocal.llama.quantize import EMBEDDING  # noqa: E402
from jlocal.llama.threads import default_threads  # noqa: E402
from jlocal.verify.texts import default_texts  # noqa: E402
from jlocal_convert.quantization.calibration import DEFAULT, calibrate, read_calibration  # noqa: E402
from jlocal_convert.quantization.run import Options, quantize  # noqa: E402
from starter.evaluate import Vectors, retrieval  # noqa: E402

_TYPES = ("Q4_K_M", "IQ3_M", "IQ2_M")
_EMBEDDING_TYPES = ("Q8_0", "Q6_K", "Q5_K", "Q4_K", "IQ4_XS", "Q3_K", "IQ3_S", "Q2_K")
SETS = ("xquad/en", "cranfield", "cisi", "cacm")


@dataclass
class Measured:
    """Vectors of one file.

    Attributes:
        texts: of the texts of `jlocal verify` under each prompt, (n, d) float32.
        sets: of all documents and queries of the sets, (n, d) float32.
        ndcg: at 10, of each set.

    """

    texts: Vectors
    sets: Vectors
    ndcg: list[float]


def measured(file: Path, texts: Sequence[str], folders: Sequence[Path]) -> Measured:
    """Embed all texts with one file."""
    seen: list[Vectors] = [np.empty((0, 0), np.float32)]
    with Embedder(file, compute_type="stored", gpu_layers=0, on_long="truncate") as model:

        def embed(texts: Sequence[str], prompt: str) -> Vectors:
            seen.append(np.asarray(model.encode(list(texts), prompt_name=prompt), np.float32))
            return seen[-1]

        vectors = np.concatenate([embed(texts, prompt) for prompt in model.prompts])
        seen.clear()
        scores = [retrieval(embed, folder) for folder in folders]
    return Measured(vectors, np.concatenate(seen or [vectors[:0]]), scores)


def row(name: str, file: Path, before: Measured, after: Measured) -> str:
    """Return a row of a table."""
    cells = [name, f"{file.stat().st_size / 1e6:.2f}"]
    for one, other in ((before.texts, after.texts), (before.sets, after.sets)):
        if len(other):
            cosines = (one.astype(np.float64) * other).sum(1)
            cells += [f"{cosines.mean():.5f}", f"{cosines.min():.4f}"]
    if after.ndcg:
        cells += [f"{score:.4f}" for score in [*after.ndcg, float(np.mean(after.ndcg))]]
    return f"| {' | '.join(cells)} |"


def heading(folders: Sequence[Path]) -> str:
    """Return the first rows of a table."""
    names = ["file", "MB", "mean cosine", "least"]
    if folders:
        names += ["mean cosine, sets", "least", *(folder.name for folder in folders), "mean"]
    return f"| {' | '.join(names)} |\n|{' --- |' * len(names)}"


def matrices(
    model: Path, texts: Sequence[str], theirs: Sequence[Path], folder: Path
) -> Iterator[tuple[str, Path | None]]:
    """Yield what each matrix is, and its file."""
    yield "no matrix", None
    for name in texts:
        given = read_calibration([name])
        path = folder / f"{Path(name).stem}.gguf"
        imatrix.write(path, calibrate(model, given, threads=default_threads()))
        yield Path(name).name, path
    for path in theirs:
        yield f"llama-imatrix, {path.name}", path


def tables(options: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Yield the lines of the tables."""
    texts = [text.text for text in default_texts()]
    folders = [options.sets / "retrieval" / name for name in SETS] if options.sets else []
    before = measured(options.model, texts, folders)
    yield heading(folders)
    yield row("source", options.model, before, before)
    given = list(matrices(options.model, options.texts, options.theirs, folder))
    target = folder / "made.gguf"
    extra = Options(tensor_types=tuple(pair.rpartition("=")[::2] for pair in options.tensor_type))
    for kind in options.types:
        for name, matrix in given:
            try:
                quantize(
                    options.model,
                    types=[kind],
                    output=target,
                    options=extra,
                    imatrix=matrix,
                    overwrite=True,
                )
            except OutputError as error:
                yield f"| {kind}, {name}: {error} |"
                continue
            yield row(f"{kind}, {name}", target, before, measured(target, texts, folders))
    if not options.embedding_types:
        return
    (shape,) = (t.shape for t in read_header(options.model).tensors if t.name == EMBEDDING)
    size = f"{shape[1]:,} x {shape[0]:,}"
    yield f"\nThe token embeddings, {size}, in another type; the rest as it is.\n"
    yield heading([])
    for kind in options.embedding_types:
        quantize(
            options.model,
            types=[options.model_type],
            output=target,
            options=Options(embedding_type=kind),
            overwrite=True,
        )
        yield row(kind, target, before, measured(target, texts, []))


def main() -> None:
    """Read the arguments, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="an F16 file")
    parser.add_argument("--model-type", default="F16", help="type of the file, if not F16")
    parser.add_argument("--texts", nargs="+", default=[DEFAULT], metavar="FILE")
    parser.add_argument("--theirs", nargs="+", type=Path, default=(), metavar="GGUF")
    parser.add_argument("--types", nargs="*", default=_TYPES)
    parser.add_argument("--tensor-type", nargs="+", default=(), metavar="REGEX=TYPE")
    parser.add_argument("--embedding-types", nargs="*", default=_EMBEDDING_TYPES)
    parser.add_argument("--sets", type=Path, metavar="SETS", help="folder of retrieval sets")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for line in tables(options, Path(folder)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
