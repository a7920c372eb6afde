"""sentence-transformers: `JlocalModule`, which lets a SentenceTransformer run on llama.cpp."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jlocal.arguments import no_text
from jlocal.errors import TextError
from jlocal.extras import importing
from jlocal.integrations.shared import SharedArguments, SharedModel

with importing("sentence-transformers", "jlocal.integrations.sentence_transformers needs"):
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import InputModule

if TYPE_CHECKING:
    from typing_extensions import Unpack


class JlocalModule(InputModule):
    """The only module of a SentenceTransformer: `SentenceTransformer(modules=[JlocalModule()])`.

    Prompts are the SentenceTransformer's: `sentence_transformer` makes one that has those of the
    file. It has no parameters: it cannot be trained.
    """

    config_file_name = "jlocal_config.json"

    def __init__(
        self, model: str | Path | None = None, **arguments: Unpack[SharedArguments]
    ) -> None:
        """Load a model at once; its prompts are not those of the SentenceTransformer.

        Args:
            model: path of a GGUF file, or a name, as in `Embedder`.
            **arguments: those of `SharedArguments`.

        Raises:
            JlocalError: as in `shared_embedder`.

        """
        super().__init__()
        self._model = SharedModel.of(type(self).__name__, model, arguments)
        self._model.embedder  # noqa: B018 - a wrong name should fail here

    @property
    def max_seq_length(self) -> int:
        """The most tokens in one text; it can be set lower than the model's context."""
        return self._model.embedder.max_seq_length

    @max_seq_length.setter
    def max_seq_length(self, tokens: int) -> None:
        self._model.embedder.max_seq_length = tokens

    def preprocess(
        self, inputs: Sequence[str], prompt: str | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Return the texts with their prompt; llama.cpp tokenises them in `forward`.

        Raises:
            TextError: an input is no text.

        """
        del kwargs
        for index, text in enumerate(inputs):
            if not isinstance(text, str):
                raise TextError(no_text(text), index)
        return {"texts": self._prepend_prompt(list(inputs), prompt or "")}

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Add the vectors, (n, d) float32 of unit length, as "sentence_embedding"."""
        del kwargs
        vectors = self._model.embedder.encode(features["texts"], prompt="")
        features["sentence_embedding"] = torch.from_numpy(vectors)
        return features

    def get_embedding_dimension(self) -> int:
        """Return the length of the vectors."""
        return self._model.dimensions

    get_sentence_embedding_dimension = get_embedding_dimension

    def get_config_dict(self) -> dict[str, Any]:
        """Return the values for `save`: the name or path of the model, and the other arguments."""
        return {"model": self._model.model, **self._model.arguments}

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Write the configuration; the GGUF file stays where it is."""
        del args, kwargs
        self.save_config(output_path)

    @classmethod
    def load(cls, model_name_or_path: str, **kwargs: Any) -> JlocalModule:
        """Make a module from the files of `save`."""
        where = ("subfolder", "token", "cache_folder", "revision", "local_files_only")
        known = {name: kwargs[name] for name in where if name in kwargs}
        return cls(**cls.load_config(model_name_or_path, **known))


def sentence_transformer(
    model: str | Path | None = None, **arguments: Unpack[SharedArguments]
) -> SentenceTransformer:
    """Make a SentenceTransformer of a `JlocalModule`, with the prompts of its file."""
    module = JlocalModule(model, **arguments)
    shared = module._model
    return SentenceTransformer(
        modules=[module],
        prompts=shared.prompts,
        default_prompt_name=shared.embedder.default_prompt_name,
        device="cpu",
    )
