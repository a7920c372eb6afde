"""llama.cpp as a loaded library: its symbols, and its log in Python's logging."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock, stack_size
from typing import TypeVar

from jlocal.llama.features import Device, features_in
from jlocal.waiting import result_of


@contextmanager
def _short_spins() -> Iterator[None]:
    """Let waiting threads of GNU OpenMP sleep soon, unless the user chose otherwise.

    By default they spin. When another program uses the cores, llama.cpp's threads then wait for a
    thread that is not running, and small models become twenty times slower; on an idle machine,
    short spins cost large models nothing. The library reads the variable once, when it is loaded.
    """
    chosen = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys()
    if not chosen:
        os.environ["GOMP_SPINCOUNT"] = "300"
    try:
        yield
    finally:
        if not chosen:
            del os.environ["GOMP_SPINCOUNT"]


with _short_spins():
    import llama_cpp
    from llama_cpp import llama_cpp as api

__all__ = [
    "FOLDER",
    "abandonable",
    "api",
    "device_for",
    "features_here",
    "ggml",
    "interruptible",
    "last_errors",
]

# The shared libraries of llama.cpp and ggml.
FOLDER = Path(llama_cpp.__file__).parent / "lib"

_T = TypeVar("_T")

logger = logging.getLogger("jlocal.llama")
logger.addHandler(logging.NullHandler())

# llama.cpp reports what a Python user would call information as INFO and even WARN, so each
# level is lowered by one: at logging's default level, none of these messages appear.
_LEVELS = {1: logging.DEBUG, 2: logging.DEBUG, 3: logging.INFO, 4: logging.WARNING}
_CONTINUATION = 5

_errors: deque[str] = deque(maxlen=8)

# The size of the next thread's stack is a setting of the whole process.
_stack_lock = Lock()


class _LogState:
    """A log line arrives in pieces; it has the level of its first piece."""

    level = logging.DEBUG
    text = ""


@api.llama_log_callback  # type: ignore[untyped-decorator]
def _on_log(level: int, text: bytes, _user_data: object) -> None:
    if level != _CONTINUATION:
        _LogState.level = _LEVELS.get(level, logging.DEBUG)
    _LogState.text += text.decode("utf-8", "replace")
    if not _LogState.text.endswith("\n"):
        return
    line, _LogState.text = _LogState.text.strip(), ""
    if line:
        if _LogState.level >= logging.WARNING:
            _errors.append(line)
        logger.log(_LogState.level, "%s", line)


def interruptible(call: Callable[[], _T]) -> _T:
    """Call, in another thread, a function of llama.cpp that calls back into Python; wait for it.

    Ctrl-C is raised in the main thread as soon as Python runs there. Inside a callback, ctypes
    would print it and drop it.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="jlocal-call") as worker:
        return result_of(worker.submit(call))


def abandonable(call: Callable[[], _T], stack: int = 0) -> _T:
    """Call, in another thread, a function that may take minutes, so that signals are handled.

    An exception from a signal handler leaves this function at once, while the call goes on: it
    must keep alive everything that it uses, and change nothing that others use.

    Args:
        call: the function to call.
        stack: size of the thread's stack in bytes, of which only the pages that are written to
            take memory; 0 for the default size.

    Raises:
        RuntimeError: there is no room for the stack.

    """
    worker = ThreadPoolExecutor(1, thread_name_prefix="jlocal-call")
    try:
        with _stack_lock:
            before = stack_size(stack)
            try:
                begun = worker.submit(call)
            finally:
                stack_size(before)
        return result_of(begun)
    finally:
        worker.shutdown(wait=False)


def features_here() -> frozenset[str]:
    """Return the instruction sets that llama.cpp was built for, by the names of `FLAGS`."""
    return features_in(api.llama_print_system_info().decode())


def device_for(gpu_layers: int | None) -> Device:
    """Return where a model computes if a GPU may take so many layers; None means all."""
    return "gpu" if gpu_layers != 0 and api.llama_supports_gpu_offload() else "cpu"


def last_errors() -> str:
    """Return and forget the error lines that llama.cpp logged since the last call."""
    text = "; ".join(_errors)
    _errors.clear()
    return text


def _load_ggml() -> ctypes.CDLL:
    """Return the ggml that llama.cpp uses: its functions read, quantise and widen tensors.

    A library that is opened by its path may be a second copy, with backends of its own: wheels hold
    copies where a system has links.
    """
    if sys.platform == "win32":
        library = ctypes.CDLL(str(FOLDER / "ggml-base.dll"))
    else:
        # A symbol is looked for in a library and in those that it depends on.
        loaded = api._lib
        library = ctypes.CDLL(loaded._name, handle=loaded._handle)
    library.ggml_version.argtypes = []
    library.ggml_version.restype = ctypes.c_char_p
    if sys.platform == "linux":  # in ggml.dll on Windows
        library.ggml_backend_load.argtypes = [ctypes.c_char_p]
        library.ggml_backend_load.restype = ctypes.c_void_p
    library.ggml_get_name.argtypes = [ctypes.c_void_p]
    library.ggml_get_name.restype = ctypes.c_char_p
    library.ggml_op_desc.argtypes = [ctypes.c_void_p]
    library.ggml_op_desc.restype = ctypes.c_char_p
    library.ggml_nbytes.argtypes = [ctypes.c_void_p]
    library.ggml_nbytes.restype = ctypes.c_size_t
    library.ggml_backend_tensor_get.argtypes = [
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_size_t,
    ]
    library.ggml_backend_tensor_get.restype = None
    library.ggml_backend_tensor_set.argtypes = library.ggml_backend_tensor_get.argtypes
    library.ggml_backend_tensor_set.restype = None
    library.ggml_quantize_chunk.argtypes = [
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_int64,
        ctypes.c_int64,
        ctypes.c_int64,
        ctypes.c_void_p,
    ]
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    library.ggml_row_size.argtypes = [ctypes.c_int, ctypes.c_int64]
    library.ggml_row_size.restype = ctypes.c_size_t
    library.ggml_fp32_to_bf16_row.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    library.ggml_fp32_to_bf16_row.restype = None
    library.ggml_type_name.argtypes = [ctypes.c_int]
    library.ggml_type_name.restype = ctypes.c_char_p
    library.ggml_type_size.argtypes = [ctypes.c_int]
    library.ggml_type_size.restype = ctypes.c_size_t
    library.ggml_blck_size.argtypes = [ctypes.c_int]
    library.ggml_blck_size.restype = ctypes.c_int64
    return library


ggml = _load_ggml()
api.llama_log_set(_on_log, ctypes.c_void_p(0))
api.llama_backend_init()
