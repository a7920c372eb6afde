"""Quantisation of a GGUF file by llama.cpp, in a process of its own.

The call takes minutes and cannot be interrupted from Python, and llama.cpp aborts the process on
inputs that it does not expect. A child process can be ended, and can fail, without harm.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

from jlocal.errors import ModelError

# Numbers of `enum llama_ftype` in llama.h. They are written into files, so they never change.
FILE_TYPES = MappingProxyType(
    {
        "F32": 0,
        "F16": 1,
        "Q4_0": 2,
        "Q4_1": 3,
        "Q8_0": 7,
        "Q5_0": 8,
        "Q5_1": 9,
        "Q2_K": 10,
        "Q3_K_S": 11,
        "Q3_K_M": 12,
        "Q3_K_L": 13,
        "Q4_K_S": 14,
        "Q4_K_M": 15,
        "Q5_K_S": 16,
        "Q5_K_M": 17,
        "Q6_K": 18,
        "IQ2_XXS": 19,
        "IQ2_XS": 20,
        "Q2_K_S": 21,
        "IQ3_XS": 22,
        "IQ3_XXS": 23,
        "IQ1_S": 24,
        "IQ4_NL": 25,
        "IQ3_S": 26,
        "IQ3_M": 27,
        "IQ2_S": 28,
        "IQ2_M": 29,
        "IQ4_XS": 30,
        "IQ1_M": 31,
        "BF16": 32,
    }
)

# llama.cpp refuses to make these without an importance matrix.
NEEDS_IMPORTANCE_MATRIX = frozenset(
    {"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS", "Q2_K_S"}
)

# Rows that llama.cpp holds at once; its default of 8 GiB would hold the largest tensor whole.
_BUFFER_BYTES = 64 << 20


def quantize(
    source: Path,
    target: Path,
    type_name: str,
    *,
    threads: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write `source` (an F32, F16 or BF16 GGUF) to `target` in another type.

    Args:
        source: the GGUF file to read.
        target: the file to write; the caller makes it appear under its final name.
        type_name: a key of `FILE_TYPES`.
        threads: CPU threads; 0 takes one for each core.
        progress: called with (tensors done, tensors in all).

    Raises:
        ModelError: llama.cpp cannot make this file.

    """
    command = [sys.executable, "-m", "jlocal.llama.quantize"]
    command += [str(source), str(target), type_name, str(threads)]
    with subprocess.Popen(  # noqa: S603
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as child:
        try:
            log = _follow(child, progress)
        except BaseException:
            child.kill()
            raise
    if child.returncode != 0:
        reason = log or f"the process ended with status {child.returncode}"
        raise ModelError(f"llama.cpp cannot make {type_name} from {source}: {reason}")


def _follow(child: subprocess.Popen[str], progress: Callable[[int, int], None] | None) -> str:
    """Report progress from the child's log; return its last line that was no progress."""
    last = ""
    assert child.stdout is not None
    for line in child.stdout:
        if step := re.match(r"\[ *(\d+)/ *(\d+)\]", line):
            if progress:
                progress(int(step[1]), int(step[2]))
        elif line.strip():
            last = line.strip()
    return last


def _main(source: str, target: str, type_name: str, threads: str) -> int:
    import logging

    from jlocal.llama.library import api, last_errors, logger

    logger.setLevel(logging.DEBUG)
    handler = logging.StreamHandler(sys.stdout)
    handler.addFilter(lambda record: record.getMessage().startswith("["))
    logger.addHandler(handler)
    params = api.llama_model_quantize_default_params()
    params.ftype = FILE_TYPES[type_name]
    params.nthread = int(threads)
    params.max_buf_size = _BUFFER_BYTES
    status = api.llama_model_quantize(source.encode(), target.encode(), params)
    if status != 0:
        print(last_errors() or f"status {status}", flush=True)  # noqa: T201
    return 1 if status else 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
