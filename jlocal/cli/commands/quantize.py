"""`jlocal quantize`: smaller GGUF files from one in full precision."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from jlocal.cli.completion import complete_model
from jlocal.cli.mix import Target, Writing, make, mix_options
from jlocal.cli.options import calibration_options, threads_option
from jlocal.cli.output import path
from jlocal.cli.output_options import force_option, quiet_option
from jlocal.cli.progress import progress_bar


def _pairs(
    _context: click.Context, _option: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    """Split REGEX=TYPE."""
    pairs = []
    for value in values:
        expression, _, kind = value.rpartition("=")
        if not (expression and kind):
            raise click.BadParameter(f"{value[:80]!r} is not REGEX=TYPE, such as ffn_down=Q6_K")
        pairs.append((expression, kind.upper()))
    return tuple(pairs)


@click.command("quantize")
@click.argument("model", shell_complete=complete_model)
@click.option(
    "--to",
    "types",
    multiple=True,
    metavar="TYPE",
    help="Q8_0, Q4_K_M, IQ3_M and other types of llama.cpp.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Folder for the files; or, for one type, a file that ends in .gguf.",
)
@mix_options
@calibration_options
@click.option(
    "--save-imatrix",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the importance matrix to this file, which llama-quantize reads too.",
)
@click.option("--embedding-type", metavar="TYPE", help="Tensor type of the token embeddings.")
@click.option(
    "--output-type",
    metavar="TYPE",
    help="Tensor type of the vocabulary head, if it has weights of its own.",
)
@click.option(
    "--tensor-type",
    "tensor_types",
    multiple=True,
    callback=_pairs,
    metavar="REGEX=TYPE",
    help="Tensor type of the matrices whose names match the expression; the first match wins.",
)
@click.option(
    "--pure", is_flag=True, help="Use one tensor type for all other matrices instead of a mix."
)
@click.option(
    "--allow-requantize",
    is_flag=True,
    help="Also accept a Q8_0 file; its loss adds to the new one.",
)
@force_option
@threads_option
@quiet_option("progress")
def command(  # noqa: PLR0913
    model: str,
    types: tuple[str, ...],
    output: Path,
    target_size: float | None,
    target_cosine: float | None,
    mix_of: tuple[str, ...],
    calibrate: tuple[str, ...],
    imatrix: Path | None,
    save_imatrix: Path | None,
    embedding_type: str | None,
    output_type: str | None,
    tensor_types: tuple[tuple[str, str], ...],
    pure: bool,
    allow_requantize: bool,
    force: bool,
    threads: int | None,
    quiet: bool,
) -> None:
    """Make smaller files from a GGUF file in F32, F16 or BF16.

    MODEL is the path of the file, or the name of a model on this machine. The paths of the new
    files are printed.

    An importance matrix, which --calibrate computes from texts, reduces the loss of small types;
    the smallest types, such as IQ3_XXS and IQ2_M, cannot be made without one. With --target-size or
    --target-cosine in place of --to, measurements choose the type of each matrix.

    \b
    jlocal quantize F16.gguf --to Q4_K_M --to Q6_K -o models
    jlocal quantize small:F16 --to IQ3_XXS --calibrate default -o models
    jlocal quantize F16.gguf --to Q4_K_M --embedding-type Q4_K -o small.gguf
    jlocal quantize F16.gguf --target-size 400 --calibrate default -o 400.gguf
    """
    target = Target(target_size, target_cosine, mix_of)
    others = {
        "--to": types,
        "--embedding-type": embedding_type,
        "--output-type": output_type,
        "--tensor-type": tensor_types,
        "--pure": pure,
    }
    target.check(calibrate, others)
    from jlocal_convert.quantization.importance import ImportanceOptions
    from jlocal_convert.quantization.mix.options import MixtureOptions
    from jlocal_convert.quantization.run import Options, quantize

    options = Options(
        embedding_type=embedding_type.upper() if embedding_type else None,
        output_type=output_type.upper() if output_type else None,
        tensor_types=tensor_types,
        pure=pure,
        allow_requantize=allow_requantize,
    )
    with progress_bar(show=not quiet and sys.stderr.isatty()) as progress:
        writing = Writing(output, overwrite=force, threads=threads or 0, progress=progress)
        matrix = ImportanceOptions(calibrate, imatrix, save_imatrix)
        if target.is_named:
            mixture = MixtureOptions(**vars(matrix), allow_requantize=allow_requantize)
            files = [make(model, target, writing, mixture, quiet=quiet)]
        else:
            files = quantize(model, types=types, options=options, **vars(writing), **vars(matrix))
    for file in files:
        path(file)
