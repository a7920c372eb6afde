"""Quantisation of a GGUF file by llama.cpp, in a child process.

The call takes minutes and cannot be interrupted from Python, and llama.cpp aborts the process on
inputs that it does not expect. A child process can be killed, or can fail, without harm.

A file type such as Q4_K_M is a mix: llama.cpp gives each matrix a tensor type such as Q4_K by its
own rules, which `Options` can override.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from jlocal.child import python
from jlocal.errors import ArgumentError, ModelError
from jlocal.gguf.header import Header, Tensor, read_header, shown
from jlocal.gguf.types import FILE_TYPES, TENSOR_TYPES, tensor_type_name
from jlocal.terms import Argument, Message

# llama.cpp refuses to make these files without an importance matrix.
NEEDS_IMPORTANCE_MATRIX = frozenset(
    {"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS", "Q2_K_S"}
)

EMBEDDING, OUTPUT = "token_embd.weight", "output.weight"

# Tensor types that llama.cpp refuses for a matrix without an importance, ...
WEIGHTED = frozenset({"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS"})
# ... and for the token embeddings, which are looked up, not multiplied, and so have no importance.
NOT_FOR_LOOKUP = frozenset({"IQ1_S", "IQ2_XXS", "IQ2_XS"})

_CALIBRATION, _IMATRIX = Argument("calibration", ["default"]), Argument("imatrix")
_CALIBRATE = Message(
    f"needs an importance matrix: name calibration texts ({_CALIBRATION} takes the texts that "
    f"come with jlocal), or a matrix ({_IMATRIX})",
    _CALIBRATION,
    _IMATRIX,
)
_EMBEDDING_TYPE, _ALLOW = Argument("embedding_type"), Argument("allow_requantize", True)

_FLOATS = frozenset(name for name, type in TENSOR_TYPES.items() if not type.is_quantized)


@dataclass(frozen=True)
class Options:
    """Options on top of a file type.

    Types are keys of `jlocal.gguf.types.TENSOR_TYPES`.

    Attributes:
        importance: an importance matrix of this model (`jlocal.gguf.imatrix.check` checks that),
            as a GGUF file in llama.cpp's format; the written file records its source.
        embedding_type: type of the token embeddings; None leaves it to the file type.
        output_type: type of a vocabulary head with its own weights; None leaves it to the file
            type.
        tensor_types: pairs of a regular expression and a type. The first expression that matches
            a part of a matrix's name (`re.search`) wins; `exactly` makes one for a single matrix.
        pure: give all remaining matrices the same type, without a mix.
        allow_requantize: accept a Q8_0 file as the source, with its loss on top.

    """

    importance: Path | None = None
    embedding_type: str | None = None
    output_type: str | None = None
    tensor_types: tuple[tuple[str, str], ...] = ()
    pure: bool = False
    allow_requantize: bool = False


def exactly(name: str) -> str:
    """Return a regular expression for `Options.tensor_types` that matches only this name."""
    return f"^{re.escape(name)}$"


def stored_types(header: Header) -> dict[str, str]:
    """Return the type of each tensor by its name; an unknown type as its number."""
    return {
        tensor.name: tensor_type_name(tensor.type) or str(tensor.type) for tensor in header.tensors
    }


def quantize(
    source: Path,
    target: Path,
    type_name: str,
    options: Options = Options(),
    *,
    threads: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write `source` to `target` in another type.

    Args:
        source: an F32, F16 or BF16 GGUF file.
        target: the file to write; the caller renames it to its final name.
        type_name: a key of `jlocal.gguf.types.FILE_TYPES`.
        options: options that override the file type.
        threads: CPU threads; 0 takes one for each core.
        progress: called with (tensors done, tensors in all).

    Raises:
        ArgumentError: the type is unknown or needs an importance matrix, or an option does not
            fit this file or another option.
        ModelError: the source cannot be read or is quantised already, or llama.cpp cannot make
            this file.

    """
    chosen = chosen_types(read_header(source), type_name, options)
    request = {
        "source": str(source),
        "target": str(target),
        "file_type": FILE_TYPES[type_name],
        "types": {name: TENSOR_TYPES[type].number for name, type in chosen.items()},
        "importance": str(options.importance) if options.importance else None,
        "pure": options.pure,
        "allow_requantize": options.allow_requantize,
        "threads": threads,
    }
    with subprocess.Popen(  # noqa: S603
        python("jlocal.llama.quantize_child"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as child:
        try:
            assert child.stdin is not None
            # A child that ends before it has read its request says why on stdout.
            with contextlib.suppress(BrokenPipeError), child.stdin:
                json.dump(request, child.stdin)
            log = _follow(child, progress)
        except BaseException:
            child.kill()
            raise
    if child.returncode != 0:
        reason = log or f"the process ended with status {child.returncode}"
        raise ModelError(f"llama.cpp cannot make {type_name} from {source}: {reason}", path=source)


def _follow(child: subprocess.Popen[str], progress: Callable[[int, int], None] | None) -> str:
    """Report progress from the child's log; return the last line that is not progress."""
    last = ""
    assert child.stdout is not None
    for line in child.stdout:
        if step := re.match(r"\[ *(\d+)/ *(\d+)\]", line):
            if progress:
                progress(int(step[1]), int(step[2]))
        elif line.strip():
            last = line.strip()
    return last


def quantizable(header: Header) -> dict[str, Tensor]:
    """Return the tensors that can be quantised, by name: the weight matrices."""
    return {
        tensor.name: tensor
        for tensor in header.tensors
        if len(tensor.shape) > 1 and tensor.name.endswith("weight") and "_norm" not in tensor.name
    }


def chosen_types(header: Header, type_name: str, options: Options) -> dict[str, str]:
    """Check type and options against a file; return the types that the options choose, by name.

    Regular expressions are Python's, so they are matched here, and llama.cpp gets names.

    Raises:
        ArgumentError: an option does not fit this file or another option.
        ModelError: the file is quantised already, or is no embedding model.

    """
    check_file_type(type_name, with_importance=options.importance is not None)
    check_source(header, options)
    source, matrices = header.path, quantizable(header)
    chosen: dict[str, str] = {}
    for expression, tensor_type in options.tensor_types:
        matches = _matches(expression, matrices)
        if not matches:
            raise ArgumentError(
                f"no name of a matrix of {source} matches {shown(expression)}",
                argument="tensor_types",
            )
        for name in matches:
            chosen.setdefault(name, tensor_type)
    arguments = dict.fromkeys(chosen, "tensor_types")
    for name, requested, argument in (
        (EMBEDDING, options.embedding_type, "embedding_type"),
        (OUTPUT, options.output_type, "output_type"),
    ):
        if requested is not None:
            if name not in matrices:
                raise ArgumentError(
                    f"{source} has no vocabulary head with its own weights, so the output type "
                    f"has no use; for the token embeddings use {_EMBEDDING_TYPE}",
                    _EMBEDDING_TYPE,
                    argument=argument,
                )
            chosen[name], arguments[name] = requested, argument
    for name, tensor_type in chosen.items():
        _check_type(name, tensor_type, matrices[name].shape[0], options, arguments[name])
    if type_name in _FLOATS and chosen.keys() - {EMBEDDING, OUTPUT}:
        raise ArgumentError(
            f"in a file of type {type_name}, only the token embeddings and the vocabulary head can "
            "have another type; start from Q8_0, and name F16 for the other matrices",
            argument="tensor_types",
        )
    return chosen


def check_file_type(type_name: str, *, with_importance: bool) -> None:
    """Check that a file type exists, and that its importance matrix is there if it needs one.

    Raises:
        ArgumentError: the type is unknown, or lacks its importance matrix.

    """
    if type_name not in FILE_TYPES:
        raise ArgumentError(
            f"there is no type {shown(type_name)}; choose from {', '.join(FILE_TYPES)}",
            argument="types",
        )
    if type_name in NEEDS_IMPORTANCE_MATRIX and not with_importance:
        raise ArgumentError(f"{type_name} {_CALIBRATE}", *_CALIBRATE.terms, argument="types")


def check_source(header: Header, options: Options) -> None:
    """Check that a file can be quantised.

    Raises:
        ModelError: the file is quantised already, or is no embedding model.

    """
    if EMBEDDING not in (tensor.name for tensor in header.tensors):
        raise ModelError(
            f"{header.path} has no token embeddings, so it is not an embedding model",
            path=header.path,
        )
    already = set(stored_types(header).values()) - _FLOATS
    if already - {"Q8_0"}:
        raise ModelError(
            f"{header.path} is quantised already ({', '.join(sorted(already))}); "
            "quantise the F16, BF16 or F32 file that it was made from",
            path=header.path,
        )
    if already and not options.allow_requantize:
        raise ModelError(
            f"{header.path} is quantised already, to Q8_0; quantise the F16, BF16 or F32 file that "
            f"it was made from, or accept both losses with {_ALLOW}",
            _ALLOW,
            path=header.path,
        )


def _matches(expression: str, names: Iterable[str]) -> list[str]:
    try:
        pattern = re.compile(expression)
    except (re.error, OverflowError, RecursionError) as error:
        raise ArgumentError(
            f"{shown(expression)} is not a regular expression: {error}", argument="tensor_types"
        ) from error
    return [name for name in names if pattern.search(name)]


def _check_type(name: str, tensor_type: str, columns: int, options: Options, argument: str) -> None:
    """Check the type of one matrix, which an argument chose."""
    if tensor_type not in TENSOR_TYPES:
        raise ArgumentError(
            f"{shown(tensor_type)} is not a tensor type; choose from {', '.join(TENSOR_TYPES)}",
            argument=argument,
        )
    block = TENSOR_TYPES[tensor_type].block_size
    if columns % block:
        raise ArgumentError(
            f"{name} cannot be {tensor_type}: the length of its rows, {columns:,}, is not a "
            f"multiple of {block}",
            argument=argument,
        )
    if name == EMBEDDING:
        if tensor_type in NOT_FOR_LOOKUP:
            raise ArgumentError(
                f"token embeddings cannot be {tensor_type}; use Q2_K, IQ2_S or IQ1_M",
                argument=argument,
            )
    elif tensor_type in WEIGHTED and name != OUTPUT and options.importance is None:
        raise ArgumentError(
            f"{tensor_type} for {name} {_CALIBRATE}", *_CALIBRATE.terms, argument=argument
        )
