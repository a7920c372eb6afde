"""The methods of `SentenceTransformer`, with its arguments, on top of `Embedder`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import numpy as np

from jlocal.arguments import check_texts
from jlocal.caller import warn
from jlocal.embed import compatibility
from jlocal.embed.similarity import check_name, pairwise_similarity, similarity
from jlocal.embed.stream import TextStream
from jlocal.errors import ArgumentError, IgnoredArgumentWarning
from jlocal.llama.planning import SEQUENCE_LIMIT
from jlocal.models.profile import Profile
from jlocal.models.prompts import document_prompt, query_prompt
from jlocal.progress import text_progress_bar
from jlocal.vectors import Floats, Vectors, finish

_Self = TypeVar("_Self", bound="Interface")
_Pool = Mapping[str, Any]
_Compare = Callable[[Vectors, Vectors, Container[int], str], Floats]


class Interface(ABC):
    """The methods that programs and evaluators written for `SentenceTransformer` call."""

    prompts: dict[str, str]
    truncate_dim: int | None
    _similarity: str

    @property
    @abstractmethod
    def max_seq_length(self) -> int:
        """The most tokens in one text."""

    @property
    @abstractmethod
    def profile(self) -> Profile:
        """The properties of the model, from the header of its file."""

    @abstractmethod
    def prompt_text(self, prompt: str | None, prompt_name: str | None) -> str:
        """Find the prefix that `prompt` and `prompt_name` of `encode` come to."""

    @abstractmethod
    def _reader(self, prompt: str, dimensions: int) -> TextStream: ...

    @abstractmethod
    def _dimensions(self, truncate_dim: int | None, precision: str) -> int: ...

    @abstractmethod
    def _check_task(self, task: str | None) -> None: ...

    def encode(  # noqa: PLR0913
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
        pool: object = None,
        chunk_size: int | None = None,
        *,
        sentences: str | Sequence[str] | None = None,
        task: str | None = None,
    ) -> Vectors:
        """Embed texts. The arguments are those of `SentenceTransformer.encode`.

        Args:
            inputs: one text, or several: a list, tuple, iterator, NumPy array, column.
            prompt_name: a key of `prompts`; None takes the model's default prompt.
            prompt: the prefix itself; it wins over `prompt_name`, and "" means none.
            batch_size: accepted without effect: batches are planned by tokens.
            show_progress_bar: show texts done, rate and time left on stderr.
            output_value: only "sentence_embedding".
            precision: float32, float16, int8, uint8, binary or ubinary (`vectors.quantize`).
            convert_to_numpy: False gives a list of torch tensors for several texts, and of arrays
                where torch is not installed.
            convert_to_tensor: True gives a torch tensor; torch must be installed.
            device: accepted without effect: see `gpu_layers`.
            normalize_embeddings: accepted without effect: vectors always have unit length.
            truncate_dim: length of the vectors, before normalisation.
            pool: accepted without effect: one process computes on all cores.
            chunk_size: accepted without effect.
            sentences: an older name of `inputs`.
            task: checked against the task of the file, which holds one adapter.

        Returns:
            (n, d) in the order of the inputs; (d,) for one text; (0, d) for none.

        Raises:
            TextTooLongError: a text is above the context (unless `on_long` is "truncate").
            TextError: an input is not text, leaves no token to pool, or makes the model overflow.
            ArgumentError: the inputs are not a sequence of texts, or the model lacks the prompt,
                task, dimension or precision.
            ModelError: the model is closed, or llama.cpp cannot compute the texts.
            ExtraError: torch is not installed, and `convert_to_tensor` is True.

        """
        del batch_size, device, normalize_embeddings, pool, chunk_size
        texts = sentences if inputs is None else inputs
        if texts is None:
            raise ArgumentError(
                "encode() takes a text, or a list of texts, and got None", argument="inputs"
            )
        if output_value != "sentence_embedding":
            raise ArgumentError(
                f"output_value {output_value!r}: only 'sentence_embedding' is known",
                argument="output_value",
            )
        if convert_to_tensor:
            compatibility.check_torch()  # before minutes of work
        self._check_task(task)
        precision = precision or "float32"  # an evaluator passes None
        batch = [texts] if isinstance(texts, str) else list(check_texts(texts))
        dimensions = self._dimensions(truncate_dim, precision)
        with text_progress_bar(len(batch), show=bool(show_progress_bar)) as on_texts:
            reader = self._reader(self.prompt_text(prompt, prompt_name), dimensions)
            # Calls with few texts, such as queries of many threads, share batches.
            shared = len(batch) <= SEQUENCE_LIMIT
            # This reader raises errors, so its windows hold only vectors.
            arrays = [
                finish(np.stack(cast("list[Floats]", window)), dimensions, precision)
                for window in reader.windows(batch, on_texts, shared=shared)
            ]
        empty = np.empty((0, self.profile.dimensions), np.float32)
        vectors = np.concatenate(arrays) if arrays else finish(empty, dimensions, precision)
        if isinstance(texts, str):
            vectors = vectors[0]
        if convert_to_numpy and not convert_to_tensor:
            return vectors
        if convert_to_tensor or compatibility.has_torch():
            vectors = cast(Vectors, compatibility.as_tensor(vectors))
        single = convert_to_tensor or isinstance(texts, str)
        return vectors if single else cast(Vectors, list(vectors))

    def encode_query(  # noqa: PLR0913
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
        pool: object = None,
        chunk_size: int | None = None,
        *,
        sentences: str | Sequence[str] | None = None,
        task: str | None = None,
    ) -> Vectors:
        """Embed texts with the prompt "query", if the model has it; see `encode`."""
        return self.encode(
            inputs,
            prompt_name or query_prompt(self.prompts),
            prompt,
            batch_size,
            show_progress_bar,
            output_value,
            precision,
            convert_to_numpy,
            convert_to_tensor,
            device,
            normalize_embeddings,
            truncate_dim,
            pool,
            chunk_size,
            sentences=sentences,
            task=task,
        )

    def encode_document(  # noqa: PLR0913
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
        pool: object = None,
        chunk_size: int | None = None,
        *,
        sentences: str | Sequence[str] | None = None,
        task: str | None = None,
    ) -> Vectors:
        """Embed texts with the first prompt of "document", "passage" and "corpus"; see `encode`."""
        return self.encode(
            inputs,
            prompt_name or document_prompt(self.prompts),
            prompt,
            batch_size,
            show_progress_bar,
            output_value,
            precision,
            convert_to_numpy,
            convert_to_tensor,
            device,
            normalize_embeddings,
            truncate_dim,
            pool,
            chunk_size,
            sentences=sentences,
            task=task,
        )

    def get_embedding_dimension(self) -> int:
        """Return the length of the vectors that `encode` returns by default."""
        return self.truncate_dim or self.profile.dimensions

    get_sentence_embedding_dimension = get_embedding_dimension

    @property
    def similarity_fn_name(self) -> str:
        """The function of `similarity`: "cosine", "dot", "euclidean" or "manhattan"."""
        return self._similarity

    @similarity_fn_name.setter
    def similarity_fn_name(self, name: object) -> None:
        self._similarity = check_name("cosine" if name is None else name)

    def similarity(self, a: Vectors, b: Vectors) -> Floats:
        """Return the similarity of each row of a (n, d) with each row of b (m, d), (n, m) float32.

        `similarity_fn_name` names the function, by default the cosine. Torch tensors give a tensor.

        Raises:
            ArgumentError: the lengths differ, or the precision is uint8, binary or ubinary, which
                have no cosine: compare bits by Hamming distance.

        """
        return self._compare(similarity, a, b)

    def similarity_pairwise(self, a: Vectors, b: Vectors) -> Floats:
        """Return the similarity of each row of a (n, d) with the same row of b, as (n,) float32.

        Raises:
            ArgumentError: as in `similarity`, or a and b differ in their number of rows.

        """
        return self._compare(pairwise_similarity, a, b)

    def _compare(self, function: _Compare, a: Vectors, b: Vectors) -> Floats:
        x, y = map(compatibility.as_array, (a, b))
        result = function(x, y, self._lengths(), self.similarity_fn_name)
        like = next(filter(compatibility.is_tensor, (a, b)), None)
        return result if like is None else cast(Floats, compatibility.as_tensor(result, like))

    def _lengths(self) -> set[int]:
        """Return the lengths of this model's vectors that cannot be packed bits of longer ones."""
        own = {self.profile.dimensions, self.get_embedding_dimension()}
        usual = own.union(self.profile.matryoshka)
        return own | {length for length in usual if 8 * length not in usual}

    @contextmanager
    def truncate_embeddings(self, truncate_dim: int | None) -> Iterator[None]:
        """Let `encode` return vectors of another length within a `with` block, in all threads."""
        self._dimensions(truncate_dim, "float32")
        before, self.truncate_dim = self.truncate_dim, truncate_dim
        try:
            yield
        finally:
            self.truncate_dim = before

    truncate_sentence_embeddings = truncate_embeddings

    def get_max_seq_length(self) -> int:
        """Return `max_seq_length`."""
        return self.max_seq_length

    def eval(self: _Self) -> _Self:
        """Return this Embedder, which is never trained."""
        return self

    def to(self: _Self, device: object) -> _Self:
        """Return this Embedder, and warn: it computes where it was loaded."""
        warn(
            IgnoredArgumentWarning(
                f"to({str(device)!r}) does nothing to an Embedder: pass device= when you make it"
            )
        )
        return self

    def start_multi_process_pool(self, target_devices: Sequence[str] | None = None) -> _Pool:
        """Return an empty pool, and warn: one process already computes on all cores."""
        del target_devices
        warn(
            IgnoredArgumentWarning(
                "a pool of processes does nothing in an Embedder: one process already computes on "
                "all cores"
            )
        )
        return {"input": None, "output": None, "processes": []}

    @staticmethod
    def stop_multi_process_pool(pool: _Pool) -> None:
        """Do nothing: the pool is empty."""
        del pool

    def encode_multi_process(  # noqa: PLR0913
        self,
        sentences: Sequence[str],
        pool: _Pool,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        chunk_size: int | None = None,
        show_progress_bar: bool | None = None,
        precision: str = "float32",
        normalize_embeddings: bool = True,
        truncate_dim: int | None = None,
    ) -> Vectors:
        """Embed texts in this process; see `encode`."""
        del pool, batch_size, chunk_size, normalize_embeddings
        return self.encode(
            sentences,
            prompt_name,
            prompt,
            show_progress_bar=show_progress_bar,
            precision=precision,
            truncate_dim=truncate_dim,
        )
