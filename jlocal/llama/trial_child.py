"""The child process of `jlocal.llama.trial`: load, tokenise and compute with a file once."""

from __future__ import annotations

import dataclasses
import sys
from typing import cast

from jlocal.errors import JlocalError
from jlocal.llama.choice import ComputeType
from jlocal.llama.context import POOLING, Context, captures
from jlocal.llama.model import Model
from jlocal.llama.planning import token_budget
from jlocal.llama.threads import default_threads
from jlocal.llama.tokenizer import Tokenizer
from jlocal.llama.trial import REFUSED
from jlocal.models.profile import Profile, read_profile

_TEXTS = ("The harbour master keeps the keys.", "What is where?")

# Every byte of UTF-8: llama.cpp notices only while tokenising that a vocabulary lacks one.
_EVERY_BYTE = "".join(
    map(
        chr,
        (
            *range(1, 0x800),
            *range(0x800, 0xD800, 0x1000),
            *range(0xE000, 0x10000, 0x1000),
            *range(0x10000, 0x110000, 0x40000),
        ),
    )
)


def load(profile: Profile, compute_type: ComputeType) -> None:
    """Load weights and vocabulary, tokenise, and compute vectors in each mode of the model.

    Raises:
        ModelError: llama.cpp refuses the file.

    """
    threads = default_threads()
    model = Model(profile, threads=threads, gpu_layers=0, compute_type=compute_type, tried=True)
    tokenizer = Tokenizer(model)
    for piece in (_EVERY_BYTE, " ".join(_EVERY_BYTE), "word" * 100, ""):
        tokenizer.encode(piece)
    sequences = [tokenizer.encode(text)[: profile.context] for text in _TEXTS]
    if profile.pooling not in POOLING or not all(map(len, sequences)):
        return
    for capture in {captures(profile), False}:
        context = Context(model, threads, capture, token_budget(model.device))
        context.embed(sequences, lambda: False)
        context.close()


def _main() -> int:
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    path, pooling, compute_type = sys.argv[1:]
    try:
        load(
            dataclasses.replace(read_profile(path), pooling=pooling),
            cast("ComputeType", compute_type),
        )
    except JlocalError as error:
        sys.stdout.buffer.write(str(error).encode("utf-8", "surrogateescape"))
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(_main())
