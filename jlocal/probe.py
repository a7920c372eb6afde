"""What llama.cpp says and computes here, as JSON, in a process of its own.

A llama.cpp that was compiled for another CPU ends the process that uses it without a word, and
`jlocal doctor` has to live to say so.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

TEXT = "Which planet is known as the Red Planet?"
_ANOTHER = "An embedding is a vector that stands for a text, so that near ones mean alike. " * 8

# Of ggml_backend_dev_type.
_GPUS = (1, 2)


def build() -> dict[str, Any]:
    """Return the versions and settings of llama.cpp, and the GPUs that it has."""
    from jlocal.llama.library import api

    return {
        "llama.cpp": api.llama_version().decode(),
        "system info": api.llama_print_system_info().decode().strip(" |"),
        "gpu offload": bool(api.llama_supports_gpu_offload()),
        "backends": _backends(),
        "gpus": _gpus(),
    }


def vectors(model: str, text: str = TEXT) -> dict[str, Any]:
    """Embed a text as jlocal does, and once more with llama.cpp's own pooling, among others.

    Raises:
        ModelError: the file cannot be found, read, or used for embeddings.

    """
    from jlocal.embedder import Embedder

    with Embedder(model, compute_type="stored") as embedder:
        ours = embedder.encode(text)
    with Embedder(model, compute_type="stored", capture=False) as embedder:
        theirs = embedder.encode([_ANOTHER, text])[1]
    return {"ours": ours.tolist(), "theirs": theirs.tolist()}


def _folder() -> Path:
    import llama_cpp

    return Path(llama_cpp.__file__).parent / "lib"


def _backends() -> list[str]:
    """Name the backends that were compiled, by their libraries."""
    names = {path.name.split(".")[0].partition("ggml-")[2] for path in _folder().glob("*ggml-*")}
    return sorted(names - {"", "base"})


def _gpus() -> list[str]:
    for name in ("libggml.so", "libggml.dylib", "ggml.dll"):
        if (_folder() / name).exists():
            ggml = ctypes.CDLL(str(_folder() / name))
            break
    else:
        return []
    found = []
    ggml.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    ggml.ggml_backend_dev_get.restype = ctypes.c_void_p
    ggml.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
    ggml.ggml_backend_dev_description.argtypes = [ctypes.c_void_p]
    ggml.ggml_backend_dev_description.restype = ctypes.c_char_p
    ggml.ggml_backend_dev_count.restype = ctypes.c_size_t
    for number in range(ggml.ggml_backend_dev_count()):
        device = ggml.ggml_backend_dev_get(number)
        if ggml.ggml_backend_dev_type(device) in _GPUS:
            found.append(ggml.ggml_backend_dev_description(device).decode("utf-8", "replace"))
    return found


def _main() -> None:
    from jlocal.errors import JlocalError

    try:
        found = vectors(*sys.argv[1:]) if len(sys.argv) > 1 else build()
    except (JlocalError, ImportError, OSError, RuntimeError) as error:
        sys.exit(str(error))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    _main()
