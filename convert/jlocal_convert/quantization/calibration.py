"""Computation of an importance matrix: each text, with each prompt of the model, is one sequence.

The texts that come with this package, `data/calibration.jsonl`, were written for it and share its
licence, Apache-2.0: questions, sentences and paragraphs in many languages, code, tables, logs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jlocal.errors import ModelError, TextError
from jlocal.gguf.imatrix import Entry, ImportanceMatrix
from jlocal.models.profile import Profile, read_profile
from jlocal.terms import Argument, Message

DEFAULT = "default"
# The name of the default texts in files.
DEFAULT_NAME = "jlocal's"

_OURS = Path(__file__).with_name("data") / "calibration.jsonl"

# A text is computed in one piece, so memory grows with its length.
_LONGEST = 4096
# Fewer say too little about thousands of columns.
_FEWEST_TEXTS, _FEWEST_TOKENS = 20, 1024

OnText = Callable[[int, int], None]


@dataclass(frozen=True)
class Calibration:
    """Calibration texts, none of them blank, and the names of their files."""

    texts: Sequence[str]
    names: Sequence[str]


def read_calibration(files: Sequence[str | Path]) -> Calibration:
    """Read calibration texts.

    Args:
        files: UTF-8 files; a line of a `.jsonl` file is an object with `text`, a line of any other
            file is a text. Blank texts are skipped. "default" takes the texts that come with
            jlocal.

    Raises:
        TextError: a file cannot be read, is not text, or has too few texts.

    """
    # It imports llama.cpp, which `import jlocal_convert` avoids.
    from jlocal.verify.texts import read_texts

    texts: list[str] = []
    for file in files:
        path = _OURS if str(file) == DEFAULT else Path(file)
        lines = [text.text for text in read_texts([path]) if text.text.strip()]
        if not lines:
            raise TextError(f"{path} has no calibration texts in it")
        texts += lines
    if len(texts) < _FEWEST_TEXTS:
        default = Argument("calibration", [DEFAULT])
        message = (
            f"{len(texts)} texts are too few for calibration; give at least {_FEWEST_TEXTS}, "
            f"one per line, or take the texts that come with jlocal: {default}"
        )
        raise TextError(Message(message, default))
    names = [DEFAULT_NAME if str(file) == DEFAULT else Path(file).name for file in files]
    return Calibration(texts, names)


def calibrate(
    model: Path,
    calibration: Calibration,
    *,
    threads: int,
    progress: OnText | None = None,
) -> ImportanceMatrix:
    """Compute the importance of each column of a model's matrices.

    Args:
        model: a GGUF file, F32, F16 or BF16.
        calibration: the texts.
        threads: CPU threads.
        progress: called with (sequences done, sequences in all).

    Raises:
        ModelError: llama.cpp cannot compute with the model.
        TextError: a text is too long, or all texts together are too short.

    """
    from jlocal.llama.activations import Activations
    from jlocal.llama.model import Model
    from jlocal.llama.tokenizer import Tokenizer

    profile = read_profile(model)
    _check_model(profile)
    loaded = Model(profile, threads=threads, gpu_layers=None, compute_type="stored")
    tokenizer = Tokenizer(loaded)
    prompts = list(dict.fromkeys(profile.prompts.values())) or [""]
    sequences = []
    for number, text in enumerate(calibration.texts):
        for prompt in prompts:
            tokens = tokenizer.encode(prompt + text)
            if len(tokens) > min(_LONGEST, profile.context):
                raise TextError(
                    f"has {len(tokens):,} tokens, above the limit of "
                    f"{min(_LONGEST, profile.context):,} for calibration; split it",
                    number,
                )
            sequences.append(tokens)
    total = sum(map(len, sequences))
    if total < _FEWEST_TOKENS:
        raise TextError(
            f"the texts have {total:,} tokens together, too few for calibration; "
            f"give at least {_FEWEST_TOKENS:,}"
        )
    with Activations(loaded, threads=threads) as activations:
        # With the longest first, the context is made once.
        for done, tokens in enumerate(sorted(sequences, key=len, reverse=True), start=1):
            activations.add(tokens)
            if progress:
                progress(done, len(sequences))
        entries = {
            name: Entry(sums.squares[None], np.array([sums.count]))
            for name, sums in activations.sums.items()
        }
    names = tuple(calibration.names)
    return ImportanceMatrix(entries, names, len(sequences), -(-total // len(sequences)))


def _check_model(profile: Profile) -> None:
    if profile.pooling not in ("last", "mean", "cls"):
        raise ModelError(
            f"{profile.path} names no pooling, so it is not an embedding model to calibrate",
            path=profile.path,
        )
