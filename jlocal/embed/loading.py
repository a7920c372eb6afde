"""Lazy loading of a model, in whichever process first needs it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import threading
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from jlocal.embed.options import ComputeOptions
from jlocal.errors import ModelError
from jlocal.files import open_regular
from jlocal.llama.runtime import Runtime
from jlocal.models.profile import Profile, read_profile

Pooling = Literal["last", "mean", "cls"]

# Samples that identify a file: enough to hit any changed weights, and quick to read.
_SAMPLES, _SAMPLE = 64, 4096


class LazyModel:
    """A GGUF file and its runtime; thread-safe.

    Pickling keeps the path, the options, and a digest of samples of the file. The unpickled model,
    in another process for example, loads the file when it is first needed, and refuses a file
    whose samples differ.
    """

    def __init__(self, path: Path, options: ComputeOptions, pooling: Pooling | None = None) -> None:
        """Name a file; nothing is read yet."""
        self._path, self._options, self._pooling = path, options, pooling
        self._expected = ""
        self._begin()

    def _begin(self) -> None:
        self._runtime: Runtime | None = None
        self.is_closed = False
        self._loading = threading.Lock()

    @cached_property
    def profile(self) -> Profile:
        """How texts become vectors with this file.

        Raises:
            ModelError: the file cannot be read, or is not the pickled one.

        """
        if self._expected and self._digest() != self._expected:
            raise ModelError(
                f"{self._path} has changed since this Embedder was made; make a new Embedder",
                path=self._path,
            )
        profile = read_profile(self._path)
        return dataclasses.replace(profile, pooling=self._pooling) if self._pooling else profile

    @property
    def runtime(self) -> Runtime:
        """The runtime of the model, loaded on first use.

        Raises:
            ModelError: the model was closed, or cannot be loaded.

        """
        return self._runtime or self.load()

    def load(self) -> Runtime:
        """Return the runtime; load it if it is not loaded yet."""
        with self._loading:
            if self.is_closed:
                raise ModelError("the model is closed; make a new Embedder")
            if self._runtime is None:
                self._runtime = Runtime(self.profile, **vars(self._options))
                self.compute_type = self._runtime.compute_type
            return self._runtime

    @cached_property
    def compute_type(self) -> str:
        """How the model computes: "stored", "bfloat16" or "int8"."""
        return self.runtime.compute_type

    def close(self) -> None:
        """Free the model. Idempotent."""
        with self._loading:
            self.is_closed = True
            runtime, self._runtime = self._runtime, None
        if runtime:
            runtime.close()

    def _digest(self) -> str:
        """Return a digest of samples of the file, without reading all of it."""
        try:
            with open_regular(self._path) as file:
                size = os.fstat(file.fileno()).st_size
                digest = hashlib.sha256(str(size).encode())
                for sample in range(_SAMPLES):
                    file.seek(max(0, size - _SAMPLE) * sample // (_SAMPLES - 1))
                    digest.update(file.read(_SAMPLE))
        except OSError as error:
            raise ModelError(
                f"cannot read {self._path}: {error.strerror or error}", path=self._path
            ) from error
        return digest.hexdigest()

    def __getstate__(self) -> dict[str, Any]:
        if self.is_closed:
            raise ModelError("the model is closed; make a new Embedder")
        return {
            "path": os.path.abspath(self._path),  # noqa: PTH100
            "options": self._options,
            "pooling": self._pooling,
            "expected": self._expected or self._digest(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(Path(state["path"]), state["options"], state["pooling"])  # type: ignore[misc]
        self._expected = state["expected"]
