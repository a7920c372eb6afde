"""Build information of the installed llama.cpp, and the GPUs that it sees."""

from __future__ import annotations

import ctypes

from jlocal.llama.features import BuildInfo
from jlocal.llama.kernels import kernels
from jlocal.llama.library import FOLDER, api

# GGML_BACKEND_DEVICE_TYPE_GPU and _IGPU of ggml_backend_dev_type.
_GPUS = (1, 2)


def build_info() -> BuildInfo:
    """Return the version and settings of llama.cpp, its backends, its GPUs, and our kernels."""
    own = kernels()
    return BuildInfo(
        version=api.llama_version().decode(),
        system_info=api.llama_print_system_info().decode().strip(" |"),
        gpu_offload=bool(api.llama_supports_gpu_offload()),
        backends=_backends(),
        gpus=_gpus(),
        kernels=list(own.families),
        no_kernels=own.reason,
    )


def _backends() -> list[str]:
    """List the backends that were compiled, by their libraries."""
    names = {path.name.split(".")[0].partition("ggml-")[2] for path in FOLDER.glob("*ggml-*")}
    return sorted(names - {"", "base"})


def _gpus() -> list[str]:
    for name in ("libggml.so", "libggml.dylib", "ggml.dll"):
        if (FOLDER / name).exists():
            ggml = ctypes.CDLL(str(FOLDER / name))
            break
    else:
        return []
    descriptions = []
    ggml.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    ggml.ggml_backend_dev_get.restype = ctypes.c_void_p
    ggml.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
    ggml.ggml_backend_dev_description.argtypes = [ctypes.c_void_p]
    ggml.ggml_backend_dev_description.restype = ctypes.c_char_p
    ggml.ggml_backend_dev_count.restype = ctypes.c_size_t
    for number in range(ggml.ggml_backend_dev_count()):
        device = ggml.ggml_backend_dev_get(number)
        if ggml.ggml_backend_dev_type(device) in _GPUS:
            description = ggml.ggml_backend_dev_description(device)
            descriptions.append(description.decode("utf-8", "replace"))
    return descriptions
