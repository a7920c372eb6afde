"""`jlocal similar`: print the cosine of each pair of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from jlocal.cli import flags, output
from jlocal.cli.display.screen import ColorChoice, Screen, color_option
from jlocal.cli.options import model_options, open_model, prompt_arguments, text_options
from jlocal.cli.output_options import json_option, quiet_option
from jlocal.embed.options import ComputeOptions
from jlocal.errors import TextError
from jlocal.excerpts.columns import clipped
from jlocal.filenames import rejoined
from jlocal.printable import printable

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from jlocal.embed.loading import Pooling
    from jlocal.embed.options import ComputeArguments

# The least columns for a text.
_SHOWN = 20


@click.command("similar")
@click.argument("texts", nargs=-1, required=True)
@model_options
@text_options
@json_option
@quiet_option("notes")
@color_option
def command(  # noqa: PLR0913
    texts: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    color: ColorChoice,
    task: str | None,
    dimensions: int | None,
    prompt: str | None,
    prompt_text: str | None,
    model: str | None,
    pooling: Pooling | None,
    **compute: Unpack[ComputeArguments],
) -> None:
    """Print how similar texts are: the cosine of each pair.

    1 means that two texts have the same meaning to the model, 0 that they are unrelated. Values in
    between depend on the model: compare only values of the same model.

    \b
    jlocal similar "a cat" "a kitten" "a stock exchange"
    """
    texts = tuple(map(rejoined, texts))
    if len(texts) < 2:
        raise click.UsageError("name at least two texts, each in quotes")
    prompt_name, prefix = prompt_arguments(prompt, prompt_text)
    options = ComputeOptions(**compute)
    with open_model(task, model, options, pooling=pooling, quiet=quiet) as embedder:
        try:
            vectors = embedder.encode(list(texts), prompt_name, prefix, truncate_dim=dimensions)
        except TextError as error:
            if error.index is None:
                raise
            reason = flags.worded(error.reason)
            raise click.ClickException(f"text {error.index + 1} {reason}") from error
        table = embedder.similarity(vectors, vectors).tolist()
    if as_json:
        rounded = [[round(cosine, 6) for cosine in row] for row in table]
        output.data({"texts": texts, "similarity": rounded})
        return
    _show(texts, table, Screen.of_stdout(color))


def _show(texts: Sequence[str], table: Sequence[Sequence[float]], screen: Screen) -> None:
    """Print a row of cosines for each text; highlight the highest one with another text."""
    width = max(6, len(str(len(texts))) + 1)
    room = max(screen.columns - 3 - (width + 1) * len(texts) - 2, _SHOWN)
    for number, row in enumerate(table):
        others = [cosine for other, cosine in enumerate(row) if other != number]
        cosines = "".join(
            " " * (width + 1 - len(figure := f"{cosine:.3f}"))
            + screen.style(figure, bold=other != number and cosine == max(others))
            for other, cosine in enumerate(row)
        )
        text = clipped(printable(" ".join(texts[number].split())), room, screen.ellipsis)
        output.styled(f"{screen.style(f'{number + 1:>3}', bold=True)}{cosines}  {text}")
