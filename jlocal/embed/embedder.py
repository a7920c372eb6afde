"""Embedder: texts to vectors, with the interface of sentence-transformers."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, overload

import numpy as np

from jlocal.arguments import check_texts, of_keywords, whole, wrong
from jlocal.caller import warn
from jlocal.embed import compatibility
from jlocal.embed.interface import Interface
from jlocal.embed.loading import LazyModel, Pooling
from jlocal.embed.options import ComputeOptions
from jlocal.embed.prepare import Preparer, Truncation
from jlocal.embed.stream import OnTruncated, TextStream
from jlocal.errors import ArgumentError, TextError, TokenizerWarning
from jlocal.llama.choice import COMPUTE_TYPES, ComputeType
from jlocal.llama.tokenizer import Tokens
from jlocal.models import names
from jlocal.models.profile import Profile
from jlocal.outputs.journal import Journal
from jlocal.progress import OnTexts
from jlocal.vectors import Floats, Vectors, check_precision, finish

if TYPE_CHECKING:
    from typing_extensions import Unpack

OnLong = Literal["error", "truncate"]


class StreamArguments(TypedDict, total=False):
    """The rarer keyword arguments of `Embedder.stream`."""

    on_texts: OnTexts | None
    on_truncated: OnTruncated | None
    journal: Journal | None


@dataclass(frozen=True)
class _StreamOptions:
    """The arguments of `StreamArguments`, with defaults for the missing ones."""

    on_texts: OnTexts | None = None
    on_truncated: OnTruncated | None = None
    journal: Journal | None = None


class Embedder(Interface):
    """An embedding model from a GGUF file; thread-safe, and a context manager.

    Vectors are those of the reference implementation: last-token pooling, Matryoshka truncation,
    then L2 normalisation. An unpickled Embedder, in another process for example, has the same file
    and options, and loads the file when it is first used.
    """

    def __init__(  # noqa: PLR0913
        self,
        model: str | Path | None = None,
        *,
        threads: int | None = None,
        gpu_layers: int | None = None,
        compute_type: ComputeType = "auto",
        truncate_dim: int | None = None,
        task: str | None = None,
        prompts: Mapping[str, str] | None = None,
        default_prompt_name: str | None = None,
        on_long: OnLong = "error",
        pooling: Pooling | None = None,
        capture: bool | None = None,
        device: object = None,
        similarity_fn_name: object = None,
        local_files_only: bool = False,
        model_card_data: Any = None,
        model_kwargs: Mapping[str, Any] | None = None,
        model_name_or_path: str | Path | None = None,
        modules: object = None,
        cache_folder: str | Path | None = None,
        trust_remote_code: bool = False,
        revision: str | None = None,
        token: bool | str | None = None,
        use_auth_token: bool | str | None = None,
        processor_kwargs: Mapping[str, Any] | None = None,
        tokenizer_kwargs: Mapping[str, Any] | None = None,
        config_kwargs: Mapping[str, Any] | None = None,
        backend: str = "torch",
    ) -> None:
        """Load a model.

        The arguments from `device` on are those of `SentenceTransformer`. Some have no effect
        here, and one warning names those that are passed: `modules`, `cache_folder`,
        `trust_remote_code`, `revision`, `token`, `use_auth_token`, `processor_kwargs`,
        `tokenizer_kwargs`, `config_kwargs` and `backend`.

        Args:
            model: path of a GGUF file, or the name of a model on this machine, such as "small";
                None takes the model of JLOCAL_MODEL, the only model on this machine, or the
                starter model.
            threads: CPU threads; None takes one for each physical core.
            gpu_layers: layers to put on a GPU where llama.cpp was built for one; -1 for all,
                None for all if they fit.
            compute_type: "stored" computes with the weights as they are in the file; "bfloat16" and
                "int8" convert them while they are loaded, to two bytes or about one per weight, for
                kernels that are faster (Linux on x86-64; `jlocal doctor` says which there are);
                "auto" takes int8 for Q8_0, and bfloat16 for BF16, where the CPU has it.
            truncate_dim: default length of vectors; None for the full length.
            task: raise if the file names the adapter of another task.
            prompts: prompt name to prefix, in place of the model's prompts.
            default_prompt_name: the prompt when none is named, in place of the model's default.
            on_long: what to do with a text above the context: "error", or "truncate", which
                keeps its beginning and the closing special token, and warns (Python shows equal
                warnings once).
            pooling: replaces the header's pooling, for files that name none.
            capture: False lets llama.cpp pool, instead of reading hidden states: slower, with the
                same vectors. None chooses by the model.
            device: "cpu" is `gpu_layers=0`; "cuda" and "mps" are `gpu_layers=-1`.
            similarity_fn_name: the measure of `similarity`: "cosine" (by default), "dot",
                "euclidean" or "manhattan"; distances are negative.
            local_files_only: nothing is downloaded in any case.
            model_card_data: an object for the results of evaluators, in place of jlocal's own.
            model_kwargs: "default_task" is `task`; the rest does nothing.
            model_name_or_path: another name of `model`.
            modules: no effect; see above.
            cache_folder: no download.
            trust_remote_code: no code of a model is ever run.
            revision: no download.
            token: no download.
            use_auth_token: no download.
            processor_kwargs: the tokenizer is in the file.
            tokenizer_kwargs: the tokenizer is in the file.
            config_kwargs: the configuration is in the file.
            backend: llama.cpp computes.

        Raises:
            ModelError: the file cannot be found, read, or used for embeddings.
            ArgumentError: the file has no such prompt, task or dimension.

        """
        source = model if model is not None else model_name_or_path
        if source is None and modules:
            raise ArgumentError("modules= makes no Embedder; name a GGUF file", argument="modules")
        task, model_kwargs = compatibility.split_task(task, model_kwargs)
        compatibility.warn_of_ignored(
            {
                "modules": modules,
                "cache_folder": cache_folder,
                "trust_remote_code": trust_remote_code,
                "revision": revision,
                "token": token,
                "use_auth_token": use_auth_token,
                "model_kwargs": model_kwargs,
                "processor_kwargs": processor_kwargs,
                "tokenizer_kwargs": tokenizer_kwargs,
                "config_kwargs": config_kwargs,
                "backend": backend,
            }
        )
        if on_long not in ("error", "truncate"):
            raise wrong("on_long", on_long, "it is 'error' or 'truncate'")
        if compute_type not in COMPUTE_TYPES:
            advice = "it is 'auto', 'stored', 'bfloat16' or 'int8'"
            raise wrong("compute_type", compute_type, advice)
        threads = None if threads is None else whole("threads", threads, 1)
        gpu_layers = None if gpu_layers is None else whole("gpu_layers", gpu_layers, -1)
        layers = compatibility.layers_on(device, gpu_layers)
        if prompts is not None:
            compatibility.check_prompts(prompts)
        self.similarity_fn_name = similarity_fn_name
        self.on_long = on_long
        source = names.default_model() if source is None else source
        if not isinstance(source, (str, Path)):
            raise wrong("model", source, "it is a path or a name, as str or Path")
        path = names.resolve(source, offline=local_files_only or None)
        options = ComputeOptions(threads, layers, compute_type, capture)
        self._model = LazyModel(path, options, pooling)
        profile = self.profile
        if profile.tokenizer_mismatch:
            warn(TokenizerWarning(f"{profile.path}: {profile.tokenizer_mismatch}"))
        self._check_task(task)
        self.prompts = dict(profile.prompts if prompts is None else prompts)
        self.default_prompt_name = default_prompt_name or (
            profile.default_prompt if profile.default_prompt in self.prompts else None
        )
        self.prompt_text(None, self.default_prompt_name)
        self.truncate_dim = truncate_dim
        self._dimensions(truncate_dim, "float32")
        self._max_seq_length = profile.context
        self.model_card_data = model_card_data or compatibility.ModelCardData()
        self._model.load()

    @property
    def profile(self) -> Profile:
        """The properties of the model, from the header of its file."""
        return self._model.profile

    @property
    def compute_type(self) -> str:
        """How the model computes: "stored", "bfloat16" or "int8"."""
        return self._model.compute_type

    @property
    def is_closed(self) -> bool:
        """Whether the model was freed."""
        return self._model.is_closed

    def close(self) -> None:
        """Free the model. Idempotent."""
        self._model.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.profile.path)!r})"

    def __enter__(self) -> Embedder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def max_seq_length(self) -> int:
        """The most tokens in one text, prompt and special tokens included.

        It can be set lower than the model's context.
        """
        return self._max_seq_length

    @max_seq_length.setter
    def max_seq_length(self, tokens: int) -> None:
        tokens = whole("max_seq_length", tokens)
        if not 1 < tokens <= self.profile.context:
            raise wrong("max_seq_length", tokens, f"the model has {self.profile.context:,}")
        self._max_seq_length = tokens

    def tokenize(self, text: str, prompt: str = "") -> Tokens:
        """Return the token ids of a text, as an int32 array, special tokens included.

        Raises:
            TextError: the text has lone surrogates, which are not characters.

        """
        return self.preparer(prompt).tokens(0, text)

    def preparer(self, prompt: str = "", truncation: Truncation | None = None) -> Preparer:
        """Return the preparer of texts for this model's scheduler.

        Args:
            prompt: the prefix of each text.
            truncation: the side on which a text that is too long loses tokens; None makes it an
                error.

        """
        return Preparer(self._model.runtime, prompt, self.max_seq_length, truncation)

    def prompt_text(self, prompt: str | None, prompt_name: str | None) -> str:
        """Find the prefix that `prompt` and `prompt_name` of `encode` come to.

        Raises:
            ArgumentError: the model has no prompt of this name; the message lists its prompts.

        """
        if prompt is not None:
            return prompt
        name = prompt_name or self.default_prompt_name
        if name is None:
            return ""
        if name not in self.prompts:
            known = ", ".join(self.prompts) or "none"
            raise ArgumentError(
                f"{self.profile.path} has no prompt {name!r}; it has: {known}",
                argument="prompt_name",
            )
        return self.prompts[name]

    @overload
    def stream(
        self,
        texts: Iterable[str],
        prompt_name: str | None = ...,
        prompt: str | None = ...,
        *,
        truncate_dim: int | None = ...,
        precision: str = ...,
        errors: Literal["raise"] = ...,
        **more: Unpack[StreamArguments],
    ) -> Generator[Vectors, None, None]: ...

    @overload
    def stream(
        self,
        texts: Iterable[str],
        prompt_name: str | None = ...,
        prompt: str | None = ...,
        *,
        truncate_dim: int | None = ...,
        precision: str = ...,
        errors: Literal["return"],
        **more: Unpack[StreamArguments],
    ) -> Generator[Vectors | TextError, None, None]: ...

    def stream(
        self,
        texts: Iterable[str],
        prompt_name: str | None = None,
        prompt: str | None = None,
        *,
        truncate_dim: int | None = None,
        precision: str = "float32",
        errors: Literal["raise", "return"] = "raise",
        **more: Unpack[StreamArguments],
    ) -> Generator[Vectors | TextError, None, None]:
        """Embed an iterable of any length in bounded memory.

        Args:
            texts: read a window at a time.
            prompt_name: as in `encode`.
            prompt: as in `encode`.
            truncate_dim: as in `encode`.
            precision: as in `encode`.
            errors: "return" puts the `TextError` of an unusable text in its vector's place and
                goes on; "raise" raises it.
            **more: rarer arguments, as follows.

        Keyword Args:
            on_texts: called with the texts and tokens done since the last call.
            on_truncated: called for each truncated text, which is otherwise a warning.
            journal: keeps the vectors, and returns those that an earlier run has computed of the
                same texts in the same order (`jlocal.outputs.journal.open_journal`).

        Returns:
            An iterator over one (d,) vector for each text, in order.

        Raises:
            JlocalError: as in `encode`.

        """
        if isinstance(texts, str):
            raise ArgumentError(
                "stream() takes an iterable of texts; for one text use encode()", argument="texts"
            )
        check_texts(texts)
        if errors not in ("raise", "return"):
            raise wrong("errors", errors, "it is 'raise' or 'return'")
        dimensions = self._dimensions(truncate_dim, precision)
        prefix = self.prompt_text(prompt, prompt_name)
        arguments = of_keywords(_StreamOptions, "stream", more)
        reader = self._reader(prefix, dimensions, errors, arguments.on_truncated, arguments.journal)
        return self._stream(reader.windows(texts, arguments.on_texts), dimensions, precision)

    def _stream(
        self,
        windows: Generator[list[Floats | TextError], None, None],
        dimensions: int,
        precision: str,
    ) -> Generator[Vectors | TextError, None, None]:
        with contextlib.closing(windows):
            for window in windows:
                good = [vector for vector in window if not isinstance(vector, TextError)]
                finished = iter(finish(np.stack(good), dimensions, precision) if good else ())
                for vector in window:
                    yield vector if isinstance(vector, TextError) else next(finished)

    def _reader(
        self,
        prompt: str,
        dimensions: int,
        errors: Literal["raise", "return"] = "raise",
        on_truncated: OnTruncated | None = None,
        journal: Journal | None = None,
    ) -> TextStream:
        preparer = self.preparer(prompt, "right" if self.on_long == "truncate" else None)
        return TextStream(preparer, dimensions, errors, on_truncated, journal)

    def _dimensions(self, truncate_dim: int | None, precision: str) -> int:
        full = self.profile.dimensions
        requested = self.truncate_dim or full if truncate_dim is None else truncate_dim
        dimensions = whole("truncate_dim", requested)
        if not 0 < dimensions <= full:
            raise ArgumentError(
                f"{self.profile.path} has {full:,} dimensions, not {dimensions:,}",
                argument="truncate_dim",
            )
        check_precision(precision, dimensions)
        return dimensions

    def _check_task(self, task: str | None) -> None:
        if task and self.profile.task and task != self.profile.task:
            raise ArgumentError(
                f"{self.profile.path} holds the adapter of {self.profile.task!r}; "
                f"load the file for {task!r}",
                argument="task",
            )
