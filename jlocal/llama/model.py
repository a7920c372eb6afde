"""A GGUF file loaded by llama.cpp: weights and vocabulary."""

from __future__ import annotations

import contextlib
import os
import weakref
from pathlib import Path
from typing import Any

from jlocal.caller import warn
from jlocal.errors import DeviceWarning, ModelError
from jlocal.gguf.consistency import check_consistency
from jlocal.gguf.header import Header
from jlocal.llama.choice import ComputeType, check_possible, choose, computes, unpacked_pays
from jlocal.llama.kernels import kernels, offered
from jlocal.llama.library import api, device_for, features_here, interruptible, last_errors
from jlocal.llama.trial import try_once
from jlocal.llama.widen import Widened
from jlocal.models.profile import Profile


class Model:
    """Weights and vocabulary, without a context; freed when nothing refers to it any more.

    Attributes:
        dimensions: length of its vectors.
        vocabulary: number of tokens in its vocabulary.
        compute_type: "stored", "bfloat16" or "int8".
        device: where it computes; a GPU may compute some of its layers only.

    """

    def __init__(
        self,
        profile: Profile,
        *,
        threads: int,
        gpu_layers: int | None,
        compute_type: ComputeType,
        writable: bool = False,
        tried: bool = False,
    ) -> None:
        """Load the file.

        Args:
            profile: the profile of the file to load.
            threads: how many threads widen weights.
            gpu_layers: how many layers to put on a GPU; -1 for all, None for all if they fit.
            compute_type: "stored" computes with the weights as they are in the file; "bfloat16" and
                "int8" convert them while they are loaded, for jlocal's own kernels; where there
                are none, "bfloat16" widens quantised weights for those of llama.cpp. "auto" takes
                the fastest type that is as near to float32 as the stored weights.
            writable: load the weights into private memory, laid out as they are in the file; the
                compute type is then "stored".
            tried: whether llama.cpp may end this process on an unsound file; otherwise a file that
                was never loaded before is tried in a child process (`jlocal.llama.trial`).

        Raises:
            ModelError: the file contradicts itself, llama.cpp cannot load it, or its weights
                cannot be widened.

        """
        self.profile = profile
        check_consistency(profile.header)
        self.device = device_for(gpu_layers)
        if gpu_layers and self.device == "cpu":
            warn(DeviceWarning("llama.cpp finds no GPU here; computing on the CPU"))
        self._writable = writable
        if writable:
            compute_type = "stored"
        self.compute_type, self._kernels = resolve(profile.header, compute_type, gpu_layers)
        if not tried:
            try_once(profile, self._kernels)
        if self.compute_type == "bfloat16" and not self._kernels:
            with contextlib.closing(Widened(profile.header, threads)) as widened:
                self.handle = self._load(widened.path, gpu_layers)
                widened.wait()
        else:
            self.handle = self._load(profile.path, gpu_layers)
        self.vocabulary = int(api.llama_vocab_n_tokens(api.llama_model_get_vocab(self.handle)))
        self.dimensions = int(api.llama_model_n_embd_out(self.handle))
        if self.dimensions != profile.dimensions:
            raise ModelError(
                f"{profile.path} gives vectors of {self.dimensions:,} values, but its header says "
                f"{profile.dimensions:,}; download or convert the model again",
                path=profile.path,
            )

    def _load(self, path: Path, gpu_layers: int | None) -> int:
        params = api.llama_model_default_params()
        params.n_gpu_layers = -1 if gpu_layers is None else gpu_layers
        params.use_extra_bufts = not (
            self._writable
            or self._kernels
            or _built_for_amx()
            or unpacked_pays(self.profile.header, features_here())
        )
        if self._writable:
            params.load_mode = api.LLAMA_LOAD_MODE_NONE
        last_errors()
        with offered(self._kernels):
            handle = interruptible(lambda: self._open(path, params))
        if not handle:
            reason = last_errors() or "no reason given"
            if gpu_layers is None and api.llama_supports_gpu_offload():
                warn(
                    DeviceWarning(f"the GPU cannot take the model ({reason}); computing on the CPU")
                )
                self.device = "cpu"
                return self._load(path, 0)
            raise ModelError(
                f"llama.cpp cannot load {self.profile.path}: {reason}", path=self.profile.path
            )
        return handle

    def new_context(self, params: Any, *, capture: bool = False) -> int:
        """Make a context, which the caller frees; the model must outlive it.

        Args:
            params: llama.cpp's `llama_context_params`.
            capture: the callback in `params` captures `result_norm` and stops there.

        Raises:
            ModelError: llama.cpp cannot make it, for lack of memory for example.

        """
        last_errors()
        with offered(self._kernels, capture=capture):
            handle = api.llama_init_from_model(self.handle, params)
        if not handle:
            reason = last_errors() or "not enough memory"
            raise ModelError(
                f"llama.cpp cannot make a context of {params.n_ctx:,} tokens: {reason}"
            )
        return int(handle)

    def check_decoded(self, status: int) -> None:
        """Check the result of `llama_decode`.

        Raises:
            ModelError: llama.cpp could not compute the batch.

        """
        if status != 0:
            reason = last_errors() or f"status {status}"
            raise ModelError(
                f"llama.cpp cannot compute with {self.profile.path}: {reason}",
                path=self.profile.path,
            )

    def _open(self, path: Path, params: Any) -> int:
        handle = int(api.llama_model_load_from_file(os.fsencode(path), params) or 0)
        if handle:
            weakref.finalize(self, api.llama_model_free, handle)
        return handle


def resolve(
    header: Header, compute_type: ComputeType, gpu_layers: int | None
) -> tuple[ComputeType, str]:
    """Return the compute type of a file, with "auto" resolved; and whose kernels compute.

    Returns:
        The type, and the type again where jlocal's own kernels compute in it; "" where llama.cpp's
        do.

    Raises:
        ModelError: this machine cannot compute in the type.

    """
    on_gpu = device_for(gpu_layers) == "gpu"
    families = kernels().families
    if compute_type == "auto":
        compute_type = "stored" if on_gpu else choose(header, features_here(), families)
    check_possible(header, compute_type, families)
    return compute_type, compute_type if computes(compute_type, families) else ""


def _built_for_amx() -> bool:
    """Tell whether llama.cpp would lay out weights for its AMX kernels.

    They crash the process: GCC drops the stores of their tile configuration, which lies on the
    stack, and only one thread asks the operating system for the tiles
    (https://github.com/ggml-org/llama.cpp/pull/26954). So the weights keep the layout of the file,
    and llama.cpp computes with AVX-512.
    """
    return "AMX_INT8" in features_here()
