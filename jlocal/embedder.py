"""Embedder: texts to vectors, with the habits of sentence-transformers."""

from __future__ import annotations

import contextlib
import dataclasses
import operator
import warnings
from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast, overload

import numpy as np

from jlocal.errors import ArgumentError, ModelError, TextError, TokenizerWarning
from jlocal.journal import Journal
from jlocal.llama.model import ComputeType
from jlocal.llama.runtime import Runtime
from jlocal.llama.tokenizer import Tokens
from jlocal.models.names import resolve
from jlocal.models.profile import read_profile
from jlocal.progress import OnTexts, texts_bar
from jlocal.vectors import (
    Floats,
    Vectors,
    check_precision,
    cosine_similarity,
    finish,
    pairwise_cosine_similarity,
)
from jlocal.windows import OnCut, Reader, check_texts

OnLong = Literal["error", "truncate"]


class Embedder:
    """An embedding model from a GGUF file; thread-safe, and a context manager.

    Vectors are those of the reference implementation: last-token pooling, Matryoshka truncation,
    then L2 normalisation.
    """

    similarity_fn_name = "cosine"

    def __init__(
        self,
        model: str | Path,
        *,
        threads: int | None = None,
        gpu_layers: int | None = None,
        compute_type: ComputeType = "auto",
        truncate_dim: int | None = None,
        task: str | None = None,
        prompts: Mapping[str, str] | None = None,
        default_prompt_name: str | None = None,
        on_long: OnLong = "error",
        pooling: Literal["last", "mean", "cls"] | None = None,
        capture: bool | None = None,
    ) -> None:
        """Load a model.

        Args:
            model: path of a GGUF file, or the name of a model on this machine, such as "small".
            threads: CPU threads; None takes one for each physical core.
            gpu_layers: layers to put on a GPU where llama.cpp was built for one; -1 for all,
                None for all if they fit.
            compute_type: "stored" computes with the weights as they are in the file; "bfloat16"
                widens quantised ones in memory (Linux), which takes two bytes for each weight;
                "auto" does so where it is faster: Q8_0 on a CPU with AVX512-BF16.
            truncate_dim: default length of vectors; None for the full length.
            task: raise unless the file holds this task's adapter, where it says which.
            prompts: prompt name to prefix, instead of those of the model.
            default_prompt_name: the prompt when none is named, instead of the model's.
            on_long: what to do with a text above the context: "error", or "truncate", which
                keeps its beginning and the closing special token, and warns (Python shows equal
                warnings once).
            pooling: instead of the header's, for files that name none.
            capture: False makes llama.cpp pool instead of reading hidden states; slower, same
                vectors. None chooses by the model.

        Raises:
            ModelError: the file cannot be found, read, or used for embeddings.
            ArgumentError: the file has no such prompt, task or dimension.

        """
        profile = read_profile(resolve(model))
        if pooling:
            profile = dataclasses.replace(profile, pooling=pooling)
        self.profile = profile
        if profile.other_tokens:
            warnings.warn(TokenizerWarning(f"{profile.path}: {profile.other_tokens}"), stacklevel=2)
        self._check_task(task)
        self.prompts = dict(profile.prompts if prompts is None else prompts)
        self.default_prompt_name = default_prompt_name or (
            profile.default_prompt if profile.default_prompt in self.prompts else None
        )
        self.prompt_text(None, self.default_prompt_name)
        self.truncate_dim = truncate_dim
        self._dimensions(truncate_dim, "float32")
        if on_long not in ("error", "truncate"):
            raise ArgumentError(f"on_long={on_long!r}; it is 'error' or 'truncate'")
        if compute_type not in ("auto", "stored", "bfloat16"):
            raise ArgumentError(
                f"compute_type={compute_type!r}; it is 'auto', 'stored' or 'bfloat16'"
            )
        if threads is not None and threads < 1:
            raise ArgumentError(f"threads={threads}; it is at least 1")
        self.on_long = on_long
        self._max_seq_length = profile.context
        self._runtime: Runtime | None = Runtime(
            profile,
            threads=threads,
            gpu_layers=gpu_layers,
            compute_type=compute_type,
            capture=capture,
        )
        self.compute_type = self._runtime.compute_type

    def close(self) -> None:
        """Free the model. Idempotent."""
        runtime, self._runtime = self._runtime, None
        if runtime:
            runtime.close()

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
        if not 1 < tokens <= self.profile.context:
            raise ArgumentError(f"max_seq_length={tokens}; the model has {self.profile.context:,}")
        self._max_seq_length = tokens

    def get_embedding_dimension(self) -> int:
        """Length of the vectors that `encode` returns by default."""
        return self.truncate_dim or self.profile.dimensions

    get_sentence_embedding_dimension = get_embedding_dimension

    def tokenize(self, text: str, prompt: str = "") -> Tokens:
        """Token ids as the model sees them, as an int32 array, special tokens included.

        Raises:
            TextError: the text has characters that are no text (lone surrogates).

        """
        return self._reader(prompt, self.profile.dimensions).tokens(0, text)

    def encode(
        self,
        inputs: str | Sequence[str] | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        output_value: str = "sentence_embedding",
        precision: str = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: object = None,
        normalize_embeddings: bool = True,
        truncate_dim: int | None = None,
        *,
        sentences: str | Sequence[str] | None = None,
        task: str | None = None,
    ) -> Vectors:
        """Embed texts. The arguments are those of `SentenceTransformer.encode`.

        Args:
            inputs: one text, or several: a list, tuple, iterator, NumPy array, column.
            prompt_name: a key of `prompts`; None takes the model's default prompt.
            prompt: the prefix itself; it wins over `prompt_name`, and "" means none.
            batch_size: accepted and not needed: batches are planned by tokens.
            show_progress_bar: show texts done, rate and time left on stderr.
            output_value: only "sentence_embedding".
            precision: float32, float16, int8, uint8, binary or ubinary (`vectors.quantize`).
            convert_to_numpy: False gives a list of arrays for several texts.
            convert_to_tensor: True gives a torch tensor; torch must be installed.
            device: accepted and not needed: see `gpu_layers`.
            normalize_embeddings: accepted and not needed: vectors always have unit length.
            truncate_dim: length of the vectors, before normalisation.
            sentences: an older name of `inputs`.
            task: checked against the task of the file, which holds one adapter.

        Returns:
            (n, d) in the order of the inputs; (d,) for one text; (0, d) for none.

        Raises:
            TextTooLongError: a text is above the context (unless `on_long` is "truncate").
            TextError: an input is not text, leaves no token to pool, or makes the model overflow.
            ArgumentError: the inputs are no sequence of texts, or the model has no such prompt,
                task, dimension or precision.
            ModelError: the model is closed, or llama.cpp cannot compute the texts.

        """
        del batch_size, device, normalize_embeddings
        texts = sentences if inputs is None else inputs
        if texts is None:
            raise TypeError("encode() needs texts")
        if output_value != "sentence_embedding":
            raise ArgumentError(
                f"output_value {output_value!r}: only 'sentence_embedding' is known"
            )
        self._check_task(task)
        batch = [texts] if isinstance(texts, str) else list(check_texts(texts))
        dimensions = self._dimensions(truncate_dim, precision)
        with texts_bar(len(batch), show=bool(show_progress_bar)) as on_texts:
            reader = self._reader(self.prompt_text(prompt, prompt_name), dimensions)
            # What raises errors returns none.
            arrays = [
                finish(np.stack(cast("list[Floats]", window)), dimensions, precision)
                for window in reader.windows(batch, on_texts)
            ]
        empty = np.empty((0, self.profile.dimensions), np.float32)
        vectors = np.concatenate(arrays) if arrays else finish(empty, dimensions, precision)
        if isinstance(texts, str):
            vectors = vectors[0]
        if convert_to_tensor:
            return cast(Vectors, _tensor(vectors))
        if convert_to_numpy or isinstance(texts, str):
            return vectors
        return cast(Vectors, list(vectors))

    def encode_query(
        self,
        inputs: str | Sequence[str] | None = None,
        prompt_name: str | None = None,
        *args: Any,
        **options: Any,
    ) -> Vectors:
        """`encode` with the prompt named "query", where the model has one."""
        name = prompt_name or self._first_of("query")
        return self.encode(inputs, name, *args, **options)

    def encode_document(
        self,
        inputs: str | Sequence[str] | None = None,
        prompt_name: str | None = None,
        *args: Any,
        **options: Any,
    ) -> Vectors:
        """`encode` with the prompt named "document", "passage" or "corpus", the first there is."""
        name = prompt_name or self._first_of("document", "passage", "corpus")
        return self.encode(inputs, name, *args, **options)

    def _first_of(self, *names: str) -> str | None:
        return next((name for name in names if name in self.prompts), None)

    def prompt_text(self, prompt: str | None, prompt_name: str | None) -> str:
        """Find the prefix that `prompt` and `prompt_name` of `encode` come to.

        Raises:
            ArgumentError: the model has no prompt of this name; the message lists those it has.

        """
        if prompt is not None:
            return prompt
        name = prompt_name or self.default_prompt_name
        if name is None:
            return ""
        if name not in self.prompts:
            known = ", ".join(self.prompts) or "none"
            raise ArgumentError(f"{self.profile.path} has no prompt {name!r}; it has: {known}")
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
        on_texts: OnTexts | None = ...,
        on_cut: OnCut | None = ...,
        journal: Journal | None = ...,
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
        on_texts: OnTexts | None = ...,
        on_cut: OnCut | None = ...,
        journal: Journal | None = ...,
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
        on_texts: OnTexts | None = None,
        on_cut: OnCut | None = None,
        journal: Journal | None = None,
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
            on_texts: called with the texts and tokens done since the last call.
            on_cut: called for each truncated text, which is otherwise a warning.
            journal: keeps what is computed, and gives back what an earlier run has computed of
                the same texts in the same order (`jlocal.journal.open_journal`).

        Returns:
            An iterator over one (d,) vector for each text, in order.

        Raises:
            Like `encode`.

        """
        if isinstance(texts, str):
            raise ArgumentError("stream() takes an iterable of texts; for one text use encode()")
        check_texts(texts)
        if errors not in ("raise", "return"):
            raise ArgumentError(f"errors={errors!r}; it is 'raise' or 'return'")
        dimensions = self._dimensions(truncate_dim, precision)
        prefix = self.prompt_text(prompt, prompt_name)
        reader = self._reader(prefix, dimensions, errors, on_cut, journal)
        return self._stream(reader.windows(texts, on_texts), dimensions, precision)

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

    def similarity(self, a: Vectors, b: Vectors) -> Floats:
        """Cosine of each row of a (n, d) with each row of b (m, d), as (n, m) float32.

        Raises:
            ArgumentError: the lengths differ, or the precision is uint8, binary or ubinary, whose
                numbers have no cosine: bits are compared by Hamming distance.

        """
        return cosine_similarity(a, b, self._lengths())

    def similarity_pairwise(self, a: Vectors, b: Vectors) -> Floats:
        """Cosine of each row of a (n, d) with the same row of b, as (n,) float32.

        Raises:
            ArgumentError: as in `similarity`, or there are not as many rows in b.

        """
        return pairwise_cosine_similarity(a, b, self._lengths())

    def _lengths(self) -> set[int]:
        """Lengths of this model's vectors that cannot be the bits of a longer one."""
        own = {self.profile.dimensions, self.get_embedding_dimension()}
        usual = own.union(self.profile.matryoshka)
        return own | {length for length in usual if 8 * length not in usual}

    def _reader(
        self,
        prompt: str,
        dimensions: int,
        errors: Literal["raise", "return"] = "raise",
        on_cut: OnCut | None = None,
        journal: Journal | None = None,
    ) -> Reader:
        if self._runtime is None:
            raise ModelError("the model is closed; make a new Embedder")
        truncate = self.on_long == "truncate"
        limit = self.max_seq_length
        return Reader(self._runtime, prompt, limit, dimensions, truncate, errors, on_cut, journal)

    def _dimensions(self, truncate_dim: int | None, precision: str) -> int:
        full = self.profile.dimensions
        requested = self.truncate_dim or full if truncate_dim is None else truncate_dim
        # numpy's integers are integers as well; in Python, so are True and False.
        if isinstance(requested, bool) or not hasattr(requested, "__index__"):
            raise ArgumentError(f"truncate_dim={requested!r}; it is a whole number")
        dimensions = operator.index(requested)
        if not 0 < dimensions <= full:
            raise ArgumentError(f"{dimensions} dimensions: {self.profile.path} has {full}")
        check_precision(precision, dimensions)
        return dimensions

    def _check_task(self, task: str | None) -> None:
        if task and self.profile.task and task != self.profile.task:
            raise ArgumentError(
                f"{self.profile.path} holds the adapter of {self.profile.task!r}; "
                f"load the file for {task!r}"
            )


def _tensor(vectors: Vectors) -> object:
    try:
        import torch
    except ImportError:
        raise ModelError(
            "convert_to_tensor needs torch; install it with: pip install torch"
        ) from None
    return torch.from_numpy(vectors)
