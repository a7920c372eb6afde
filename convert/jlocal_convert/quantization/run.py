"""The quantisation run: a GGUF file in other types, with or without an importance matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from jlocal.arguments import of_keywords
from jlocal.errors import ModelError, OutputError
from jlocal.gguf.header import Header, read_header
from jlocal.gguf.types import FILE_TYPES, TENSOR_TYPES
from jlocal.llama.quantize import Options, chosen_types, exactly
from jlocal.llama.quantize import quantize as run
from jlocal.llama.threads import default_threads
from jlocal.models.names import resolve
from jlocal_convert import outputs
from jlocal_convert.progress import OnProgress, reporter
from jlocal_convert.quantization.importance import ImportanceOptions, check_used, importance

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from jlocal_convert.quantization.importance import ImportanceArguments

__all__ = ["Options", "exactly", "quantize"]

# llama.cpp chooses no larger type for a matrix of a quantised file.
_LARGEST = TENSOR_TYPES["Q8_0"]


def quantize(
    source: str | Path,
    *,
    types: Sequence[str],
    output: str | Path,
    options: Options | None = None,
    overwrite: bool = False,
    threads: int = 0,
    progress: OnProgress | None = None,
    **matrix: Unpack[ImportanceArguments],
) -> list[Path]:
    """Write a GGUF file in other types.

    Args:
        source: an F32, F16 or BF16 file of an embedding model, or the name of a model on this
            machine.
        types: file types such as Q8_0, Q4_K_M or IQ2_M.
        output: a folder for the files, made if missing; or, for one type, a file that ends in
            `.gguf`.
        options: exceptions from the file types; `importance` is replaced by the matrix.
        overwrite: replace files that exist.
        threads: CPU threads; 0 takes one for each physical core.
        progress: called with a `Progress` after each step.
        **matrix: the source of an importance matrix, as follows.

    Keyword Args:
        calibration: files of texts from which an importance matrix is computed; "default" is
            jlocal's own (`jlocal_convert.quantization.calibration.read_calibration`).
        imatrix: an importance matrix in a GGUF file instead.
        save_imatrix: the file to store the computed matrix in.

    Returns:
        The files, in the order of `types`.

    Raises:
        ModelError: the source cannot be read or is quantised already, llama.cpp cannot quantise
            it, or the importance matrix is of another model.
        TextError: the calibration texts are too few, too short or too long.
        ArgumentError: an option does not fit the file, or contradicts another.
        OutputError: a type cannot be made, or a file cannot be written.

    """
    source, output = resolve(source), Path(output).expanduser()
    options, threads = options or Options(), threads or default_threads()
    matrix_options = of_keywords(ImportanceOptions, "quantize", matrix)
    matrix_source = importance(matrix_options, overwrite=overwrite)
    requested = outputs.check_types(types, with_importance=bool(matrix_source))
    check_used(matrix_source, requested, single=bool(options.tensor_types))
    header = read_header(source)
    matrix_source.check({tensor.name: tensor.shape for tensor in header.tensors}, str(source))
    targets = _targets(source, output, requested)
    outputs.check_absent(targets.values(), overwrite=overwrite)
    folder = outputs.check_folder(output if output.suffix != ".gguf" else output.absolute().parent)
    # The matrix is not computed yet; any path stands for it.
    expected = replace(
        options, importance=matrix_source.file or (source if matrix_source else None)
    )
    sizes = [_size(header, name, chosen_types(header, name, expected)) for name in requested]
    outputs.check_space(folder, sum(sizes))
    outputs.make_folder(folder)
    with (
        outputs.hidden_files(folder, [path.name for path in targets.values()]) as hidden,
        matrix_source.matrix_for(source, _stem(source), threads=threads, progress=progress) as file,
    ):
        options = replace(options, importance=file)
        for path, (name, target) in zip(hidden, targets.items(), strict=True):
            on_tensor = reporter(progress, target.name, "tensors")
            write_type(source, path, name, options, threads=threads, on_tensor=on_tensor)
        outputs.publish(zip(hidden, targets.values(), strict=True))
    return list(targets.values())


def write_type(
    source: Path,
    file: Path,
    type_name: str,
    options: Options,
    *,
    threads: int,
    on_tensor: Callable[[int, int], None] | None = None,
) -> None:
    """Write one file, as `jlocal.llama.quantize` does; a full disk is an OutputError."""
    try:
        run(source, file, type_name, options, threads=threads, progress=on_tensor)
    except ModelError:
        # llama.cpp does not say that a disk is full.
        outputs.check_space(file.parent, 1 << 20)
        raise


def _targets(source: Path, output: Path, types: Sequence[str]) -> dict[str, Path]:
    """Return the file of each type, none of them the source."""
    if output.suffix == ".gguf":
        if len(types) > 1:
            raise OutputError(
                f"{output} is one file for {len(types)} types; name a folder", path=output
            )
        targets = {types[0]: output}
    else:
        targets = {name: output / f"{_stem(source)}-{name}.gguf" for name in types}
    outputs.check_not_read(targets.values(), source)
    return targets


def _stem(source: Path) -> str:
    """Return a file's name without its trailing type."""
    name, _, ending = source.stem.rpartition("-")
    return name if name and ending.upper() in FILE_TYPES else source.stem


def _size(header: Header, type_name: str, chosen: dict[str, str]) -> int:
    """Return an upper bound of the size of a file of this type, in bytes."""
    size = float(header.data_start)
    for tensor in header.tensors:
        name = chosen.get(tensor.name, type_name) if len(tensor.shape) > 1 else "F32"
        known = TENSOR_TYPES.get(name, _LARGEST)
        tensor_type = _LARGEST if known.is_quantized else known
        size += prod(tensor.shape) * tensor_type.bytes_per_value + header.alignment
    return int(size)
