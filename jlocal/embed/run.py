"""A run that embeds documents into a file, with a summary of failures."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version

from jlocal._version import __version__
from jlocal.embed.embedder import Embedder
from jlocal.embed.options import EncodeOptions
from jlocal.errors import TextError, TruncationWarning
from jlocal.files import sha256_of
from jlocal.inputs.documents import Document, Unreadable
from jlocal.outputs.journal import Journal
from jlocal.outputs.writers import Writer
from jlocal.progress import OnTexts


@dataclass
class RunSummary:
    """How many documents were embedded, and how many were not."""

    done: int = 0
    failed: int = 0


def embed_documents(
    model: Embedder,
    documents: Iterable[Document | Unreadable],
    options: EncodeOptions,
    writer: Writer,
    *,
    on_failure: Callable[[Unreadable], None],
    on_truncated: Callable[[str, TruncationWarning], None],
    on_texts: OnTexts | None = None,
    journal: Journal | None = None,
) -> RunSummary:
    """Embed documents in order, in bounded memory; a failed document does not stop the run.

    Args:
        model: an open model.
        documents: read a window at a time.
        options: how to embed.
        writer: takes the vectors.
        on_failure: called with each document that gave no vector.
        on_truncated: called with the id of each document that was truncated.
        on_texts: called with the texts and tokens done since its last call.
        journal: the vectors of an earlier run, to which this run adds its own.

    Raises:
        ModelError, OutputError: an error that stops the whole run.

    """
    account = RunSummary()
    ids: deque[str] = deque()

    def fail(failure: Unreadable) -> None:
        account.failed += 1
        on_failure(failure)

    def texts() -> Iterator[str]:
        for document in documents:
            if isinstance(document, Unreadable):
                fail(document)
                if on_texts:
                    on_texts(1, 0)
            else:
                ids.append(document.id)
                yield document.text

    def cut(warning: TruncationWarning) -> None:
        on_truncated(ids[warning.index - taken], warning)

    taken = 0
    vectors = model.stream(
        texts(),
        options.prompt_name,
        options.prompt,
        truncate_dim=options.truncate_dim,
        precision=options.precision,
        errors="return",
        on_texts=on_texts,
        on_truncated=cut,
        journal=journal,
    )
    # Close the stream at once when the writer fails, or the work would go on behind the error.
    with contextlib.closing(vectors):
        for vector in vectors:
            id = ids.popleft()
            taken += 1
            if isinstance(vector, TextError):
                fail(Unreadable(id, vector.reason))
                continue
            try:
                writer.add(id, vector)
                account.done += 1
            except TextError as error:
                fail(Unreadable(id, error.reason))
    return account


def run_metadata(model: Embedder, options: EncodeOptions) -> dict[str, object]:
    """Return how vectors are made, so that they can be reproduced and are never mixed up."""
    return {
        "model": model.profile.name,
        "model_sha256": sha256_of(model.profile.path),
        "task": model.profile.task,
        "prompt": model.prompt_text(options.prompt, options.prompt_name),
        "dimensions": options.truncate_dim or model.get_embedding_dimension(),
        "precision": options.precision,
        "compute_type": model.compute_type,
        "jlocal": __version__,
    }


def computed_by(
    model: Embedder, description: Mapping[str, object], gpu_layers: int | None
) -> dict[str, object]:
    """Return the settings that change vectors of given tokens, before truncation and quantisation.

    The number of threads is not part of it: it does not change a vector.

    Args:
        model: an open model.
        description: the result of `run_metadata`.
        gpu_layers: as the model was opened with.

    """
    return {
        "model_sha256": description["model_sha256"],
        "pooling": model.profile.pooling,
        "compute_type": model.compute_type,
        "gpu_layers": gpu_layers,
        "llama_cpp": version("llama-cpp-python"),
        "jlocal": __version__,
    }
