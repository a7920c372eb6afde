"""Search a mix of tensor types for `jlocal quantize`, and report the chosen mix."""

from __future__ import annotations

import math
import re
import textwrap
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from jlocal.cli.options import add_options
from jlocal.gguf.types import TENSOR_TYPES
from jlocal.progress import log

if TYPE_CHECKING:
    from jlocal_convert.progress import OnProgress
    from jlocal_convert.quantization.mix.options import MixtureOptions
    from jlocal_convert.quantization.mix.search import Mixture

_F = TypeVar("_F", bound=Callable[..., Any])

# Columns of a terminal, and those of them before the types.
_WIDTH, _INDENT = 80, 28
_NO_BREAK = "\u00a0"

_OPTIONS = (
    click.option(
        "--target-size",
        type=click.FloatRange(min=0, min_open=True),
        metavar="MB",
        help="Find the mix of tensor types with the least loss in a file of at most this "
        "size, in megabytes; needs --calibrate, and holds out a quarter of its texts to "
        "check the result.",
    ),
    click.option(
        "--target-cosine",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        metavar="X",
        help="Find the smallest file whose vectors have at least this mean cosine to MODEL's.",
    ),
    click.option(
        "--mix-of",
        "mix_of",
        multiple=True,
        metavar="TYPE",
        help="Let the mix use this tensor type, such as Q4_K; may be repeated. If not given, it "
        "may use every type that no smaller type matches.",
    ),
)


@dataclass(frozen=True)
class Target:
    """The target of the search for a mix: a size or a cosine."""

    target_size: float | None
    target_cosine: float | None
    mix_of: tuple[str, ...]

    @property
    def is_named(self) -> bool:
        """Whether the options name a target."""
        return self.target_size is not None or self.target_cosine is not None

    def check(self, calibrate: Sequence[str], others: Mapping[str, object]) -> None:
        """Refuse options that cannot be combined.

        Args:
            calibrate: files of texts.
            others: values by option, for options that fix the types.

        """
        if not self.is_named:
            if self.mix_of:
                raise click.UsageError("--mix-of needs --target-size or --target-cosine")
            if not others["--to"]:
                raise click.UsageError(
                    "say what to make: --to TYPE, or --target-size MB or --target-cosine X"
                )
            return
        if self.target_size is not None and self.target_cosine is not None:
            raise click.UsageError("give --target-size or --target-cosine, not both")
        if self.target_size is not None and not math.isfinite(self.target_size):
            raise click.UsageError(f"--target-size {self.target_size}: name a number of MB")
        if conflicting := [option for option, value in others.items() if value]:
            raise click.UsageError(f"a target chooses the types itself; leave out {conflicting[0]}")
        if not calibrate:
            raise click.UsageError("a target needs texts: --calibrate default, or --calibrate FILE")


def mix_options(function: _F) -> _F:
    """Add the options of a target."""
    return add_options(_OPTIONS, function)


@dataclass(frozen=True)
class Writing:
    """Arguments of `jlocal_convert.quantize` that say how files are written."""

    output: Path
    overwrite: bool
    threads: int
    progress: OnProgress | None


def make(
    model: str, target: Target, writing: Writing, options: MixtureOptions, *, quiet: bool
) -> Path:
    """Search the mix, write the file, and describe it on stderr."""
    from jlocal_convert.quantization.mix.search import quantize_mixture

    size = None if target.target_size is None else int(target.target_size * 1e6)
    mixture = quantize_mixture(
        model,
        size=size,
        cosine=target.target_cosine,
        tensor_types=target.mix_of,
        **vars(writing),
        **vars(options),
    )
    if not quiet:
        for line in page(mixture):
            log(line)
    return mixture.file


def page(mixture: Mixture) -> Iterator[str]:
    """Yield the lines of a report: the types and sizes of the matrices, and the cosines."""
    bits = _bits(mixture)
    groups: dict[str, list[str]] = defaultdict(list)
    for name in mixture.tensor_types:
        groups[re.sub(r"^blk\.\d+\.|\.weight$", "", name)].append(name)
    yield f"{'':<12} {'MB':>7} {'bits':>5}  types"
    for group, names in sorted(groups.items(), key=lambda item: -_bytes(item[1], mixture, bits)):
        size = _bytes(names, mixture, bits)
        mean = 8 * size / sum(prod(mixture.shapes[name]) for name in names)
        lines = textwrap.wrap(", ".join(_counted(names, mixture, bits)), _WIDTH - _INDENT)
        first, *others = (line.replace(_NO_BREAK, " ") for line in lines)
        yield f"{group:<12} {size / 1e6:>7.2f} {mean:>5.1f}  {first}"
        yield from (" " * _INDENT + line for line in others)
    yield (
        f"{mixture.size / 1e6:,.2f} MB. Cosine to the source, on {mixture.texts:,} texts that "
        f"were held out:"
    )
    yield (
        f"mean {mixture.cosine:.6f}, lowest {mixture.lowest:.6f} "
        f"(mean expected from {mixture.searched:,} others: {mixture.predicted:.6f})"
    )


def _bits(mixture: Mixture) -> dict[str, float]:
    """Return the bits per weight of each type."""
    return {
        tensor_type: 8 * TENSOR_TYPES[tensor_type].bytes_per_value
        for tensor_type in mixture.tensor_types.values()
    }


def _bytes(names: Sequence[str], mixture: Mixture, bits: Mapping[str, float]) -> float:
    return sum(prod(mixture.shapes[name]) * bits[mixture.tensor_types[name]] for name in names) / 8


def _counted(names: Sequence[str], mixture: Mixture, bits: Mapping[str, float]) -> Iterator[str]:
    """Yield each type and the number of its matrices, the type with the most bits first."""
    counts = Counter(mixture.tensor_types[name] for name in names)
    for tensor_type in sorted(counts, key=lambda tensor_type: -bits[tensor_type]):
        yield f"{counts[tensor_type]}{_NO_BREAK}{tensor_type}" if len(names) > 1 else tensor_type
