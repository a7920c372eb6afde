"""The encoder of a GGUF file, through llama.cpp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jlocal.embed.embedder import Embedder
from jlocal.embed.options import ComputeOptions
from jlocal.errors import ArgumentError, TextError
from jlocal.files import sha256_of
from jlocal.gguf.header import read_header
from jlocal.models.info import model_info
from jlocal.models.names import resolve
from jlocal.models.profile import profile_of
from jlocal.progress import text_progress_bar
from jlocal.vectors import Floats
from jlocal.verify.encoders import Encoded, ModelInfo, encode_with
from jlocal.verify.texts import Text


class GGUFEncoder:
    """A GGUF file."""

    texts = None

    def __init__(self, model: str | Path, *, task: str | None, options: ComputeOptions) -> None:
        """Read the header of a file.

        Args:
            model: path or name of the model.
            task: the expected task; a file with another task's adapter is refused.
            options: the options of its computation.

        Raises:
            ModelError: the model cannot be found or used.
            ArgumentError: the file has another task's adapter.

        """
        header = read_header(resolve(model))
        profile = profile_of(header)
        if task and profile.task and task != profile.task:
            raise ArgumentError(
                f"{profile.path} holds the adapter of {profile.task!r}, not {task}", argument="task"
            )
        weights, source = model_info(header)["type"], header.metadata.get("jlocal.source_sha256")
        self.info = ModelInfo(
            name=profile.name,
            origin=str(profile.path),
            kind="gguf",
            weights=str(weights) if weights else None,
            sha256=sha256_of(profile.path),
            source_sha256=source if isinstance(source, str) else None,
            task=profile.task or task,
            dimensions=profile.dimensions,
            matryoshka=profile.matryoshka,
            prompts=profile.prompts,
        )
        self._options = options

    def encode(
        self, texts: Sequence[Text], prompts: Mapping[str, str], *, show_progress: bool
    ) -> Encoded:
        """Encode texts; see `Encoder`."""
        with (
            Embedder(self.info.origin, **vars(self._options)) as model,
            text_progress_bar(len(texts) * len(prompts), show=show_progress) as on_texts,
        ):
            nothing = np.full(model.profile.dimensions, np.nan, np.float32)

            def embed(strings: list[str], prefix: str) -> Floats:
                vectors = model.stream(strings, None, prefix, errors="return", on_texts=on_texts)
                # The vectors are checked together, so that the message can count the failures.
                return np.stack([nothing if isinstance(v, TextError) else v for v in vectors])

            return encode_with(
                self.info,
                texts,
                prompts,
                limit=model.max_seq_length,
                computed=model.compute_type,
                tokenize=model.tokenize,
                embed=embed,
            )
