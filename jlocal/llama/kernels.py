"""jlocal's own kernels: a backend of ggml, compiled from native/, which is found and loaded here.

The library may be absent, or not fit this CPU; llama.cpp then computes without it. With a build of
llama.cpp for a GPU, only its callback that captures hidden states is used, which reads tensors
wherever they lie.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock

from jlocal.llama.library import api, ggml

# Beside this module, where the build puts it; without it, a text that says why there is none.
LIBRARY = Path(__file__).with_name("libjlocal_kernels.so")
NOT_BUILT = LIBRARY.with_suffix(".txt")

_ABI = 2
# The library's names of compute types.
_NAMES = {"": b"", "bfloat16": b"bf16", "int8": b"int8"}
_LONGEST_REASON = 500

# The families in use are a setting of the whole process.
_lock = Lock()


@dataclass(frozen=True)
class Kernels:
    """The kernels that can be used here.

    Attributes:
        families: names of the kernels that this CPU can run; empty if none can be used.
        reason: why none can be used; None if they can.
        capture: whether the callback that captures hidden states can be used.

    """

    families: tuple[str, ...] = ()
    reason: str | None = None
    capture: bool = False


class _UnusableError(Exception):
    """The library cannot be used; the message says why."""


def kernels() -> Kernels:
    """Load the library once, and return its kernels; none if JLOCAL_KERNELS=0."""
    if os.environ.get("JLOCAL_KERNELS") == "0":
        return Kernels(reason="JLOCAL_KERNELS=0 switches them off")
    return _usable()


@cache
def _usable() -> Kernels:
    try:
        library = _library()
        if api.llama_supports_gpu_offload():
            return Kernels(reason="llama.cpp was built for a GPU", capture=True)
        return Kernels(families=_registered(library), capture=True)
    except _UnusableError as error:
        return Kernels(reason=str(error))


def identity() -> tuple[object, ...]:
    """Return facts that change with the library."""
    if not kernels().families:
        return ()
    status = LIBRARY.stat()
    return status.st_size, status.st_mtime_ns


def capture_function() -> int | None:
    """Return the address of the callback that captures hidden states (native/capture.h)."""
    if not kernels().capture:
        return None
    return ctypes.cast(_library().jlocal_kernels_capture, ctypes.c_void_p).value


@contextlib.contextmanager
def offered(compute_type: str, *, capture: bool = False) -> Iterator[None]:
    """Offer the kernels of a compute type to a model or context that is made meanwhile.

    Args:
        compute_type: "bfloat16" or "int8"; "" offers none.
        capture: a callback of the context captures `result_norm` and stops there.

    """
    if not kernels().families:
        yield
        return
    library = _library()
    with _lock:
        library.jlocal_kernels_configure(_NAMES[compute_type], bool(compute_type), capture)
        try:
            yield
        finally:
            library.jlocal_kernels_configure(b"", 0, 0)


@cache
def _library() -> ctypes.CDLL:
    """Load the library, if it was compiled for this jlocal and this ggml."""
    library = _opened()
    for name in ("refusal", "ggml_version", "families"):
        getattr(library, f"jlocal_kernels_{name}").restype = ctypes.c_char_p
    made_for, here = library.jlocal_kernels_ggml_version(), ggml.ggml_version()
    if made_for != here:
        raise _UnusableError(
            f"they are for ggml {made_for.decode()}, and llama.cpp has ggml {here.decode()}"
        )
    if refusal := library.jlocal_kernels_refusal():
        raise _UnusableError(refusal.decode())
    return library


def _registered(library: ctypes.CDLL) -> tuple[str, ...]:
    """Register the library as a backend of ggml; return its families."""
    families = tuple(filter(None, library.jlocal_kernels_families().decode().split(",")))
    if not families:
        raise _UnusableError("there are none for this CPU")
    library.jlocal_kernels_configure.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_int]
    library.jlocal_kernels_configure(b"", 0, 0)
    if not ggml.ggml_backend_load(os.fsencode(LIBRARY)):
        raise _UnusableError("llama.cpp does not accept them")
    return families


def _opened() -> ctypes.CDLL:
    if not LIBRARY.exists():
        raise _UnusableError(_why_not_built())
    try:
        library = ctypes.CDLL(str(LIBRARY))
        abi = library.jlocal_kernels_abi()
    except (OSError, AttributeError) as error:
        raise _UnusableError(f"the library cannot be loaded: {error}") from error
    if abi != _ABI:
        raise _UnusableError("the library is of another version of jlocal; install jlocal again")
    return library


def _why_not_built() -> str:
    if sys.platform != "linux":
        return "they are for Linux on x86-64 processors"
    try:
        with NOT_BUILT.open(encoding="utf-8") as file:
            return " ".join(file.read(_LONGEST_REASON).split())
    except (OSError, UnicodeDecodeError):
        return "they were not compiled when jlocal was installed"
