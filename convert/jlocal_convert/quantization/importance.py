"""The source of an importance matrix: a file, or calibration texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from jlocal.errors import ArgumentError, OutputError
from jlocal.gguf import imatrix
from jlocal.outputs.staging import scratch_folder
from jlocal.terms import Argument
from jlocal_convert import outputs
from jlocal_convert.gguf_file import DIRECT_TYPES
from jlocal_convert.progress import OnProgress, reporter
from jlocal_convert.quantization.calibration import Calibration, calibrate, read_calibration

_CALIBRATION, _IMATRIX = Argument("calibration"), Argument("imatrix")


class ImportanceArguments(TypedDict, total=False):
    """The source of an importance matrix, as keyword arguments."""

    calibration: Sequence[str | Path]
    imatrix: str | Path | None
    save_imatrix: str | Path | None


@dataclass(frozen=True)
class ImportanceOptions:
    """The source of an importance matrix, as a caller names it.

    Attributes:
        calibration: files of texts that it is computed from; "default" is jlocal's own.
        imatrix: a matrix in a GGUF file instead.
        save_imatrix: the file to store the computed matrix in.

    """

    calibration: Sequence[str | Path] = ()
    imatrix: str | Path | None = None
    save_imatrix: str | Path | None = None


@dataclass(frozen=True)
class Importance:
    """The source of a matrix, before a model computes it.

    Attributes:
        file: the file of a checked matrix; or None.
        matrix: the matrix in `file`; or None.
        calibration: texts to compute a matrix from; or None.
        save: where to save the computed matrix; or None.

    """

    file: Path | None = None
    matrix: imatrix.ImportanceMatrix | None = None
    calibration: Calibration | None = None
    save: Path | None = None

    def __bool__(self) -> bool:
        """Tell whether there will be a matrix."""
        return self.file is not None or self.calibration is not None

    def check(self, shapes: Mapping[str, Sequence[int]], model: str) -> None:
        """Check the matrix of a file against the model; see `imatrix.check`."""
        if self.matrix and self.file:
            imatrix.check(self.matrix, self.file, shapes, model)

    @contextmanager
    def matrix_for(
        self, model: Path, name: str, *, threads: int, progress: OnProgress | None
    ) -> Iterator[Path | None]:
        """Yield the file of the matrix, computed now if need be; None without a matrix.

        Args:
            model: a GGUF file that computes the matrix.
            name: the model's name, for the matrix's file name and for `progress`.
            threads: CPU threads.
            progress: called with a Progress after each text.

        Raises:
            ModelError: llama.cpp cannot compute with the model.
            TextError: the texts are too long or too short.
            OutputError: the matrix cannot be written.

        """
        if self.calibration is None:
            yield self.file
            return

        report = reporter(progress, f"{name}.imatrix.gguf", "texts")
        matrix = calibrate(model, self.calibration, threads=threads, progress=report)
        if self.save:
            imatrix.write(self.save, matrix)
        with scratch_folder() as folder:
            # llama.cpp records the matrix's file name in its output.
            path = folder / (self.save.name if self.save else f"{name}.imatrix.gguf")
            imatrix.write(path, matrix)
            yield path


def importance(options: ImportanceOptions, *, overwrite: bool = False) -> Importance:
    """Read the matrix or the calibration texts, before a model is loaded.

    Args:
        options: the source of the matrix.
        overwrite: replace the file in which the computed matrix is stored.

    Raises:
        ArgumentError: the arguments contradict each other.
        TextError: a file of texts cannot be used.
        ModelError: the file is not an importance matrix.
        OutputError: the computed matrix cannot be stored in its file.

    """
    calibration, file, save = options.calibration, options.imatrix, options.save_imatrix
    if calibration and file is not None:
        raise ArgumentError(
            f"give either calibration texts ({_CALIBRATION}) or a matrix ({_IMATRIX})",
            _CALIBRATION,
            _IMATRIX,
            argument="imatrix",
        )
    if save is not None:
        if not calibration:
            raise ArgumentError(
                f"there is no matrix to save; name texts with {_CALIBRATION}",
                _CALIBRATION,
                argument="save_imatrix",
            )
        save = Path(save)
        outputs.check_absent([save], overwrite=overwrite)
        if not save.absolute().parent.is_dir():
            raise OutputError(f"{save.parent} is not a folder; make it first")
    if file is not None:
        return Importance(Path(file), imatrix.read(Path(file)))
    if calibration:
        return Importance(calibration=read_calibration(calibration), save=save)
    return Importance()


def check_used(matrix_source: Importance, types: Sequence[str], *, single: bool = False) -> None:
    """Refuse an importance matrix that no type uses.

    Args:
        matrix_source: the source of the matrix.
        types: names of file types.
        single: whether options choose types for single matrices.

    Raises:
        ArgumentError: no type uses the matrix.

    """
    if matrix_source and not matrix_source.save and not single and set(types) <= set(DIRECT_TYPES):
        raise ArgumentError(
            f"{', '.join(types)}: these types do not use an importance matrix", argument="types"
        )
