"""The search for a mix of tensor types, and the file that it gives.

The importance matrix and the losses come from the searched texts; the figures of the written file
are measured on held-out texts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jlocal.arguments import of_keywords
from jlocal.errors import ArgumentError, OutputError, TextError
from jlocal.gguf.header import Header, read_header
from jlocal.gguf.imatrix import read as read_matrix
from jlocal.gguf.types import FILE_TYPES
from jlocal.llama.fake_quantizer import FakeQuantizer
from jlocal.llama.quantize import Options, check_source, exactly, quantizable, stored_types
from jlocal.llama.runtime import Runtime
from jlocal.llama.threads import default_threads
from jlocal.llama.tokenizer import Tokens
from jlocal.models.names import resolve
from jlocal.models.profile import read_profile
from jlocal.terms import Argument
from jlocal.vectors import Doubles, normalize
from jlocal_convert import outputs
from jlocal_convert.progress import OnProgress, reporter
from jlocal_convert.quantization.calibration import DEFAULT, Calibration, read_calibration
from jlocal_convert.quantization.importance import Importance, importance
from jlocal_convert.quantization.mix.assignment import Choices, Mix
from jlocal_convert.quantization.mix.options import MixtureOptions, Target
from jlocal_convert.quantization.mix.sensitivity import (
    Columns,
    Offers,
    check_tensor_types,
    column_importance,
    half_squares,
    measure,
    offers,
    tensor_bytes,
    token_budget,
)
from jlocal_convert.quantization.mix.targets import Trial, Trials, size_text, too_small
from jlocal_convert.quantization.run import write_type

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from jlocal_convert.quantization.mix.options import MixtureArguments

# One text in four is held out.
_HELD_OUT = 4
# Held-out texts are computed a few times, searched texts once for each matrix.
_HELD_TOKENS = 16_384


@dataclass(frozen=True)
class Mixture:
    """A written file and its measured quality.

    Attributes:
        file: path of the file.
        size: size in bytes.
        tensor_types: types of the matrices, by name.
        shapes: shapes of the matrices, (rows, columns), by name.
        predicted: mean cosine to the vectors of the source, as the search predicts it.
        cosine: mean cosine to the vectors of the source, measured on held-out texts.
        lowest: the lowest of the measured cosines.
        texts: number of held-out texts.
        searched: number of texts with which losses were measured.

    """

    file: Path
    size: int
    tensor_types: Mapping[str, str]
    shapes: Mapping[str, tuple[int, int]]
    predicted: float
    cosine: float
    lowest: float
    texts: int
    searched: int


def quantize_mixture(
    source: str | Path,
    *,
    output: str | Path,
    size: int | None = None,
    cosine: float | None = None,
    tensor_types: Sequence[str] = (),
    overwrite: bool = False,
    threads: int = 0,
    progress: OnProgress | None = None,
    **more: Unpack[MixtureArguments],
) -> Mixture:
    """Write the mix of tensor types with the least loss in a size, or the smallest of a cosine.

    Args:
        source: as in `jlocal_convert.quantize`.
        output: the file to write; its name ends in `.gguf`.
        size: maximum size of the file, in bytes; or
        cosine: minimum mean cosine of its vectors with the source's, between 0 and 1.
        tensor_types: the tensor types to choose from, such as Q4_K; all useful types if empty.
        overwrite: replace a file that exists.
        threads: CPU threads; 0 takes one for each physical core.
        progress: called with a `Progress` after each step.
        **more: rarer arguments, as follows.

    Keyword Args:
        calibration: files of texts like those that will be embedded, as `jlocal_convert.quantize`
            takes them; a quarter is held out. Required.
        imatrix: an importance matrix in a GGUF file, instead of one computed from the texts.
        save_imatrix: the file to store the computed matrix in.
        allow_requantize: take a Q8_0 file as the source.

    Raises:
        ArgumentError: an argument is invalid, or no mix reaches the target.
        ModelError: the source cannot be read or used, or the importance matrix is of another model.
        TextError: the calibration texts are too few, too short or too long.
        OutputError: the file cannot be written.

    """
    source, output = resolve(source), Path(output).expanduser()
    target = Target(size, cosine)
    requested = check_tensor_types(tensor_types)
    mixture = of_keywords(MixtureOptions, "quantize_mixture", more)
    calibration = mixture.calibration
    matrix_source = importance(
        replace(mixture, calibration=()) if mixture.imatrix else mixture, overwrite=overwrite
    )
    if not calibration:
        texts = Argument("calibration", [DEFAULT])
        raise ArgumentError(
            f"a mix is searched with texts; name some: {texts}", texts, argument="calibration"
        )
    searched, held = split(read_calibration(calibration))
    if matrix_source.calibration:
        matrix_source = replace(matrix_source, calibration=searched)
    header = read_header(source)
    _check(header, output, target, overwrite=overwrite)
    options = Options(allow_requantize=mixture.allow_requantize)
    stored = _matrices(header, options)
    matrix_source.check({tensor.name: tensor.shape for tensor in header.tensors}, str(source))
    _check_size(header, target, stored, matrix_source, requested)
    folder = outputs.check_folder(output.absolute().parent)
    # A target cosine needs two files at a time: the best one and the one that is tried.
    needed = size or 2 * header.file_size
    outputs.check_space(folder, needed + (0 if _is_wide(stored) else 4 * _weights(header)))
    outputs.make_folder(folder)
    run = _Run(header, output, target, calibration, options, threads or default_threads(), progress)
    with run.wide(stored) as wide, run.matrix(matrix_source, wide, searched) as matrix:
        columns = column_importance(read_matrix(matrix))
        trial = run.search(wide, stored, columns, searched, held, requested)
        return run.write(trial, matrix)


def split(calibration: Calibration) -> tuple[Calibration, Calibration]:
    """Split texts into searched and held-out texts, without duplicates.

    Raises:
        TextError: there are too few distinct texts.

    """
    texts = list(dict.fromkeys(calibration.texts))
    held = texts[_HELD_OUT - 1 :: _HELD_OUT]
    if not held:
        raise TextError("there are too few distinct texts to hold some out for the check")
    searched = [text for i, text in enumerate(texts, start=1) if i % _HELD_OUT]
    return replace(calibration, texts=searched), replace(calibration, texts=held)


def _check(header: Header, output: Path, target: Target, *, overwrite: bool) -> None:
    if output.suffix != ".gguf":
        raise OutputError(f"{output} does not end in .gguf; name the file to write", path=output)
    outputs.check_absent([output], overwrite=overwrite)
    outputs.check_not_read([output], header.path)
    if target.size is not None and target.size >= header.file_size:
        raise ArgumentError(
            f"{header.path} has {size_text(header.file_size)} already; name a smaller size",
            argument="size",
        )


def _check_size(
    header: Header,
    target: Target,
    stored: Mapping[str, str],
    matrix_source: Importance,
    tensor_types: Sequence[str],
) -> None:
    """Refuse a size that no mix reaches, before anything is computed."""
    if matrix_source.matrix:
        weighted = set(column_importance(matrix_source.matrix))
    else:
        # The matrices whose importance calibration computes.
        weighted = {name for name in stored if name.startswith("blk.")}
    shapes = {
        tensor.name: (tensor.shape[1], tensor.shape[0])
        for tensor in header.tensors
        if tensor.name in stored and len(tensor.shape) == 2
    }
    _check_offers(header, target, offers(shapes, stored, weighted, tensor_types))


def _check_offers(header: Header, target: Target, offered: Offers) -> None:
    smallest = _rest(header, offered) + sum(min(sizes.values()) for sizes in offered.values())
    if target.size is not None and smallest > target.size:
        raise too_small(target.size, smallest)


def _matrices(header: Header, options: Options) -> dict[str, str]:
    """Return the types of the matrices that can be quantised."""
    check_source(header, options)
    types = stored_types(header)
    return {name: types[name] for name in quantizable(header)}


def _is_wide(stored: Mapping[str, str]) -> bool:
    return set(stored.values()) <= {"F32", "F16"}


def _weights(header: Header) -> int:
    return sum(prod(tensor.shape) for tensor in header.tensors)


@dataclass(frozen=True)
class _Found:
    """The result of a search, with the data to judge a file.

    Attributes:
        choices: the choices of each matrix that the model uses.
        kept: types of the remaining matrices.
        shapes: shapes of the matrices, (rows, columns), by name.
        held: held-out texts as token ids.
        vectors: the source's unit vectors of the held-out texts.
        searched: number of texts with which losses were measured.

    """

    choices: Choices
    kept: Mapping[str, str]
    shapes: Mapping[str, tuple[int, int]]
    held: Sequence[Tokens]
    vectors: Doubles
    searched: int


@dataclass(frozen=True)
class _Run:
    """A search with checked arguments."""

    source: Header
    output: Path
    target: Target
    calibration: Sequence[str | Path]
    options: Options
    threads: int
    progress: OnProgress | None

    @contextmanager
    def wide(self, stored: Mapping[str, str]) -> Iterator[Path]:
        """Yield the model as an F32 or F16 file, on which quantisation can be tried."""
        if _is_wide(stored):
            yield self.source.path
            return
        with outputs.hidden_files(self.output.absolute().parent, [self.output.name]) as (file,):
            path = self.source.path
            on_tensor = reporter(self.progress, f"{path.stem} in F32", "tensors")
            write_type(path, file, "F32", self.options, threads=self.threads, on_tensor=on_tensor)
            yield file

    @contextmanager
    def matrix(
        self, matrix_source: Importance, wide: Path, searched: Calibration
    ) -> Iterator[Path]:
        """Yield the file of the importance matrix."""
        matrix = matrix_source.matrix_for(
            wide, self.output.stem, threads=self.threads, progress=self.progress
        )
        with ExitStack() as stack:
            with _numbered(searched, self.calibration):
                file = stack.enter_context(matrix)
            assert file is not None
            yield file

    def search(
        self,
        wide: Path,
        stored: Mapping[str, str],
        columns: Mapping[str, Columns],
        searched: Calibration,
        held: Calibration,
        tensor_types: Sequence[str],
    ) -> _Found:
        """Measure the loss of each type in each matrix."""
        profile = read_profile(wide)
        prompts = list(dict.fromkeys(profile.prompts.values())) or [""]
        with FakeQuantizer(profile, threads=self.threads) as quantizer:
            shapes = dict(quantizer.shapes)
            offered = offers(shapes, stored, columns, tensor_types)
            _check_offers(self.source, self.target, offered)
            with _numbered(searched, self.calibration):
                sequences = _sequences(searched.texts, prompts, quantizer, token_budget(shapes))
            with _numbered(held, self.calibration):
                kept = _sequences(held.texts, prompts, quantizer, _HELD_TOKENS)
            vectors = quantizer.vectors(kept)
            report = reporter(self.progress, self.source.path.name, "matrices")
            choices = measure(quantizer, sequences, columns, stored, offered, report)
        others = {name: tensor_type for name, tensor_type in stored.items() if name not in choices}
        return _Found(choices, others, shapes, kept, vectors, len(sequences))

    def write(self, found: _Found, matrix: Path) -> Mixture:
        """Write files until one reaches the target, and rename it to its final name."""
        folder, name = self.output.absolute().parent, self.output.name
        with outputs.hidden_files(folder, [name, name]) as (trial, kept):

            def attempt(mix: Mix) -> Trial:
                return self._attempt(mix, found, matrix, trial)

            def keep() -> None:
                trial.replace(kept)

            trials = Trials(found.choices, attempt, keep)
            if self.target.size is not None:
                chosen = trials.of_size(self.target.size, _rest(self.source, found.choices))
            else:
                assert self.target.cosine is not None
                chosen = trials.of_loss(1 - self.target.cosine)
            outputs.publish([(kept, self.output)])
        return Mixture(
            file=self.output,
            size=chosen.size,
            tensor_types=chosen.mix.tensor_types,
            shapes=found.shapes,
            predicted=1 - chosen.mix.loss,
            cosine=1 - chosen.loss,
            lowest=1 - float(chosen.losses.max()),
            texts=len(found.held),
            searched=found.searched,
        )

    def _attempt(self, mix: Mix, found: _Found, matrix: Path, file: Path) -> Trial:
        tensor_types = {**found.kept, **mix.tensor_types}
        options = replace(
            self.options,
            importance=matrix,
            tensor_types=tuple(
                (exactly(name), tensor_type) for name, tensor_type in tensor_types.items()
            ),
        )
        write_type(
            self.source.path,
            file,
            _file_type(mix, found.shapes),
            options,
            threads=self.threads,
            on_tensor=reporter(self.progress, self.output.name, "tensors"),
        )
        vectors = _vectors(file, found.held, self.threads)
        return Trial(mix, file.stat().st_size, half_squares(vectors, found.vectors))


@contextmanager
def _numbered(part: Calibration, files: Sequence[str | Path]) -> Iterator[None]:
    """Renumber the text of an error from its part to all the files together."""
    try:
        yield
    except TextError as error:
        if error.index is None:
            raise
        everything = list(read_calibration(files).texts)
        raise TextError(error.reason, everything.index(part.texts[error.index])) from error


def _sequences(
    texts: Sequence[str], prompts: Sequence[str], quantizer: FakeQuantizer, budget: int
) -> list[Tokens]:
    """Return token ids of evenly sampled texts that fit the budget, with the prompts in turn."""

    def tokens(number: int, prompt: str) -> Tokens:
        ids = quantizer.tokens(prompt + texts[number])
        if len(ids) > quantizer.limit:
            raise TextError(
                f"has {len(ids):,} tokens, above the limit of {quantizer.limit:,} of the model; "
                "split it",
                number,
            )
        return ids

    total = sum(len(tokens(number, prompts[0])) for number in range(len(texts)))
    chosen = range(0, len(texts), -(-total // budget))
    return [tokens(number, prompts[turn % len(prompts)]) for turn, number in enumerate(chosen)]


def _vectors(file: Path, sequences: Sequence[Tokens], threads: int) -> Doubles:
    """Return the unit vectors of a file with its stored weights, the same on any machine."""
    runtime = Runtime(
        read_profile(file), threads=threads, gpu_layers=0, compute_type="stored", capture=None
    )
    try:
        vectors = normalize(runtime.scheduler.submit_job(sequences).result().astype(np.float64))
    finally:
        runtime.close()
    # A model without a finite vector has lost everything.
    vectors[~np.isfinite(vectors).all(axis=1)] = 0
    return vectors


def _rest(header: Header, chosen: Collection[str]) -> int:
    """Return the size of the parts of a file that no choice changes, in bytes."""
    types = stored_types(header)
    shapes = {tensor.name: tensor.shape for tensor in header.tensors}
    return header.file_size - sum(tensor_bytes(types[name], shapes[name]) for name in chosen)


def _file_type(mix: Mix, shapes: Mapping[str, tuple[int, int]]) -> str:
    """Return the file type: that of most of the weights, as in llama.cpp."""
    weights: dict[str, int] = {}
    for name, tensor_type in mix.tensor_types.items():
        weights[tensor_type] = weights.get(tensor_type, 0) + prod(shapes[name])
    tensor_type = max(weights, key=lambda name: weights[name])
    if tensor_type in ("F32", "F16", "BF16"):
        # In files of these types, llama.cpp gives no matrix another type.
        return "Q8_0"
    return tensor_type if tensor_type in FILE_TYPES else f"{tensor_type}_M"
