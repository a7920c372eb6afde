"""Comparing a model with a reference, and storing references."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from jlocal.arguments import of_keywords
from jlocal.embed.options import ComputeOptions
from jlocal.errors import ArgumentError, TextError, VerifyError
from jlocal.terms import Argument
from jlocal.verify.encoders import Encoded, Encoder, ModelInfo
from jlocal.verify.gguf import GGUFEncoder
from jlocal.verify.measure import at_dimensions, cosines
from jlocal.verify.report import Report
from jlocal.verify.stored import StoredEncoder, shipped_reference, write_reference
from jlocal.verify.texts import LeftOut, Text, TextSet, default_texts

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from jlocal.embed.options import ComputeArguments

NO_PROMPT: Mapping[str, str] = MappingProxyType({"none": ""})

Texts = Sequence["str | Text"]
# Takes a checkpoint's folder, a task and a number of threads.
OpenCheckpoint = Callable[[Path, "str | None", "int | None"], Encoder]

_AGAINST, _TEXTS = Argument("against"), Argument("texts")


def verify(
    model: str | Path,
    against: str | Path | None = None,
    *,
    texts: Texts | None = None,
    task: str | None = None,
    save: Path | None = None,
    open_checkpoint: OpenCheckpoint | None = None,
    show_progress: bool = False,
    **compute: Unpack[ComputeArguments],
) -> Report:
    """Compare a model's vectors with those of a reference.

    Args:
        model: path of a GGUF file, name of a model on this machine, or a checkpoint's folder.
        against: the same, or an npz file of `save_reference`. None takes the reference that comes
            with jlocal for the model.
        texts: texts to compare; None takes the built-in texts, or those of a stored reference.
            Duplicates are compared once.
        task: task of the adapter, for a checkpoint with several; by default the model's task.
        save: store the model's vectors in this npz file as well.
        open_checkpoint: opens a checkpoint's folder as an encoder, such as
            `jlocal_convert.reference.CheckpointEncoder`.
        show_progress: show texts done, rate and time left on stderr.
        **compute: of `Embedder` for GGUF files: threads, gpu_layers, compute_type, capture.

    Returns:
        The report. Built-in and stored texts that exceed the context of either model are left out,
        and named in the report.

    Raises:
        VerifyError: the reference cannot be read, or there is none.
        ArgumentError: the two models differ in task, dimensions or prompts; a text has no token,
            or a text of the caller exceeds the context.
        ModelError: a GGUF file cannot be used, or a vector is zero or not finite.
        CheckpointError: a checkpoint cannot be used.
        ExtraError: a checkpoint needs packages that are not installed.
        OutputError: `save` cannot be written.

    """
    options = of_keywords(ComputeOptions, "verify", compute)
    actual = _open(model, task, open_checkpoint, options)
    reference = _reference(against, actual.info, task, open_checkpoint, options)
    prompts = _check_compatible(actual.info, reference.info)
    text_set = _text_set(texts, reference.texts)

    expected = reference.encode(text_set.texts, prompts, show_progress=show_progress)
    kept = _leave_out_long(text_set, expected, reference.info, is_strict=texts is not None)
    encoded = actual.encode(kept.texts, prompts, show_progress=show_progress)
    kept = _leave_out_long(kept, encoded, actual.info, is_strict=texts is not None)
    expected = expected.select(encoded.kept)
    if save:
        write_reference(save, replace(actual.info, prompts=prompts), kept.texts, encoded)
    return Report(
        model=actual.info,
        reference=reference.info,
        computed=(encoded.computed, expected.computed),
        texts=kept,
        cosines={name: cosines(encoded.vectors[name], expected.vectors[name]) for name in prompts},
        tokens=encoded.tokens,
        differing_tokens=sum(
            int((encoded.digests[name] != expected.digests[name]).sum()) for name in prompts
        ),
        dimensions=at_dimensions(
            encoded.vectors, expected.vectors, _lengths(actual.info, reference)
        ),
    )


def save_reference(
    model: str | Path,
    target: Path,
    *,
    texts: Texts | None = None,
    task: str | None = None,
    open_checkpoint: OpenCheckpoint | None = None,
    show_progress: bool = False,
    **compute: Unpack[ComputeArguments],
) -> TextSet:
    """Store a model's vectors as a reference, for this or another machine.

    Args:
        model: as in `verify`, including a checkpoint's folder.
        target: the npz file, which appears when it is complete.
        texts: texts to encode and store; None takes the built-in texts.
        task: as in `verify`.
        open_checkpoint: as in `verify`.
        show_progress: as in `verify`.
        **compute: as in `verify`.

    Raises:
        The errors of `verify`.

    """
    options = of_keywords(ComputeOptions, "save_reference", compute)
    actual = _open(model, task, open_checkpoint, options)
    prompts = actual.info.prompts or NO_PROMPT
    text_set = _text_set(texts, None)
    encoded = actual.encode(text_set.texts, prompts, show_progress=show_progress)
    kept = _leave_out_long(text_set, encoded, actual.info, is_strict=texts is not None)
    write_reference(target, replace(actual.info, prompts=prompts), kept.texts, encoded)
    return kept


def _open(
    model: str | Path,
    task: str | None,
    open_checkpoint: OpenCheckpoint | None,
    options: ComputeOptions,
) -> Encoder:
    if not _is_checkpoint(Path(model)):
        return GGUFEncoder(model, task=task, options=options)
    if open_checkpoint is None:
        raise ArgumentError(
            f"{model} is the folder of a checkpoint; pass what computes with it, "
            "open_checkpoint=jlocal_convert.reference.CheckpointEncoder",
            argument="open_checkpoint",
        )
    return open_checkpoint(Path(model), task, options.threads)


def _is_checkpoint(path: Path) -> bool:
    try:
        return (path / "config.json").exists()
    except (OSError, ValueError):  # no name that a file could have
        return False


def _reference(
    against: str | Path | None,
    actual: ModelInfo,
    task: str | None,
    open_checkpoint: OpenCheckpoint | None,
    options: ComputeOptions,
) -> Encoder:
    if against is None:
        return _shipped_reference(actual)
    if Path(against).suffix.lower() == ".npz":
        return StoredEncoder(Path(against))
    return _open(against, task or actual.task, open_checkpoint, options)


def _shipped_reference(actual: ModelInfo) -> Encoder:
    path = shipped_reference(actual.name)
    if path is None:
        raise VerifyError(
            f"no reference for {actual.name!r} comes with jlocal; give one with {_AGAINST}: "
            "another GGUF file (such as F16), the checkpoint's folder, or an npz file of a "
            "reference",
            _AGAINST,
        )
    reference = StoredEncoder(path)
    if actual.source_sha256 and reference.info.source_sha256 != actual.source_sha256:
        raise VerifyError(
            f"{actual.origin} was made of another checkpoint than the reference that comes with "
            f"jlocal; give one with {_AGAINST}",
            _AGAINST,
        )
    return reference


def _check_compatible(actual: ModelInfo, expected: ModelInfo) -> Mapping[str, str]:
    """Check that two models are comparable, and return their common prompts."""
    for property_name, a, b in (
        ("dimensions", actual.dimensions, expected.dimensions),
        ("task", actual.task, expected.task),
        ("prompts", dict(actual.prompts), dict(expected.prompts)),
    ):
        # A file may not name its task or its prompts.
        if a and b and a != b:
            raise ArgumentError(
                f"another {property_name}: {actual.origin} has {a}, and {expected.origin} has "
                f"{b}; compare files of the same model and task",
                argument="against",
            )
    return actual.prompts or expected.prompts or NO_PROMPT


def _text_set(texts: Texts | None, stored: Sequence[Text] | None) -> TextSet:
    if stored is not None:
        if texts is not None:
            raise ArgumentError(
                f"a stored reference has texts of its own; leave out {_TEXTS}",
                _TEXTS,
                argument="texts",
            )
        return TextSet(stored)
    chosen = default_texts() if texts is None else texts
    named = [Text("", text) if isinstance(text, str) else text for text in chosen]
    for number, text in enumerate(named):
        try:
            text.text.encode("utf-8")
        except UnicodeEncodeError:
            raise TextError(
                "has a lone surrogate; decode it from its bytes again", number
            ) from None
    unique: dict[str, Text] = {}
    for text in named:
        unique.setdefault(text.text, text)
    if not unique:
        raise ArgumentError(
            f"there are no texts to compare; name some with {_TEXTS}", _TEXTS, argument="texts"
        )
    return TextSet([*unique.values()], repeated=len(named) - len(unique))


def _leave_out_long(
    text_set: TextSet, encoded: Encoded, model: ModelInfo, *, is_strict: bool
) -> TextSet:
    """Leave out texts that exceed a model's context; for a caller's texts, raise an error."""
    left = [
        LeftOut(text_set.texts[row], tokens, encoded.limit, model.origin)
        for row, tokens in encoded.too_long.items()
    ]
    if left and is_strict:
        raise ArgumentError(
            f"the text {left[0].text.text[:40]!a} has {left[0].tokens:,} tokens, above the "
            f"{encoded.limit:,} of {model.origin}; leave it out or split it",
            argument="texts",
        )
    kept = [text_set.texts[row] for row in encoded.kept]
    return replace(text_set, texts=kept, left_out=[*text_set.left_out, *left])


def _lengths(actual: ModelInfo, reference: Encoder) -> list[int]:
    """Return the full length and the Matryoshka lengths, the longest first."""
    shorter = actual.matryoshka or reference.info.matryoshka
    return sorted({actual.dimensions, *(n for n in shorter if n < actual.dimensions)}, reverse=True)
