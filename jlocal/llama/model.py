"""A GGUF file loaded by llama.cpp: weights and vocabulary."""

from __future__ import annotations

import os
import weakref

from jlocal.errors import ModelError
from jlocal.llama.library import api, last_errors
from jlocal.models.profile import Profile


class Model:
    """Weights and vocabulary, without a context; freed when nobody refers to it."""

    def __init__(self, profile: Profile, gpu_layers: int) -> None:
        """Load the file.

        Args:
            profile: of the file to load.
            gpu_layers: how many layers to put on a GPU; -1 for all.

        Raises:
            ModelError: llama.cpp cannot load the file.

        """
        params = api.llama_model_default_params()
        params.n_gpu_layers = gpu_layers
        last_errors()
        handle = api.llama_model_load_from_file(os.fsencode(profile.path), params)
        if not handle:
            reason = last_errors() or "no reason given"
            raise ModelError(f"llama.cpp cannot load {profile.path}: {reason}")
        weakref.finalize(self, api.llama_model_free, handle)
        self.handle = handle
        self.profile = profile
        self.dimensions = int(api.llama_model_n_embd_out(handle))
