"""The report of a verification: for programs, for the terminal, and for a model card."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from jlocal.vectors import Doubles
from jlocal.verify.encoders import Ints, ModelInfo
from jlocal.verify.measure import (
    DEPTH,
    LENGTHS,
    PRECISIONS,
    Agreement,
    Dimension,
    Summary,
    length_of,
    summarize,
)
from jlocal.verify.texts import Text, TextSet, digest

_WIDTH = 80
_LEFT = 12
_LABEL = 20
_COLUMNS = ("min", "p1", "p5", "p50", "mean")


@dataclass(frozen=True)
class Pair:
    """One text with one prompt, and the cosine of its two vectors."""

    text: Text
    prompt: str
    tokens: int
    cosine: float


@dataclass(frozen=True)
class Report:
    """The comparison of a model with a reference.

    Attributes:
        model: the verified model.
        reference: the reference.
        computed: the types that the two multiplied matrices in, as in `Encoded`.
        texts: the texts, which were encoded with each prompt.
        cosines: prompt name to the cosine of each text's two vectors, (n,).
        tokens: prompt name to the number of tokens of each text, (n,).
        differing_tokens: number of texts whose token ids differ from the reference's, over all
            prompts.
        dimensions: the results at each length: the full one, then the Matryoshka lengths.

    """

    model: ModelInfo
    reference: ModelInfo
    computed: tuple[str, str]
    texts: TextSet
    cosines: Mapping[str, Doubles]
    tokens: Mapping[str, Ints]
    differing_tokens: int
    dimensions: Sequence[Dimension]

    @property
    def least(self) -> Pair:
        """The pair with the lowest cosine."""
        return self.lowest(1)[0]

    def lowest(self, count: int) -> list[Pair]:
        """Return the pairs with the lowest cosines, the lowest first."""
        pairs = [
            Pair(text, prompt, int(tokens), float(cosine))
            for prompt, cosines in self.cosines.items()
            for text, tokens, cosine in zip(
                self.texts.texts, self.tokens[prompt], cosines, strict=True
            )
        ]
        return sorted(pairs, key=lambda pair: pair.cosine)[:count]

    @property
    def overall(self) -> Summary:
        """The summary of all cosines."""
        return summarize(np.concatenate([*self.cosines.values()]))

    @property
    def neighbours(self) -> Agreement | None:
        """The agreement of searches with full float32 vectors; None for too few texts."""
        loss = self.dimensions[0].losses.get("float32")
        return loss.model if loss else None

    def by_prompt(self) -> dict[str, Summary]:
        """Return the cosines of each prompt."""
        return {prompt: summarize(cosines) for prompt, cosines in self.cosines.items()}

    def by_length(self) -> dict[str, Summary]:
        """Return the cosines by length in tokens, the shortest texts first."""
        groups = self._grouped(lambda _, tokens: length_of(tokens))
        order = [length_of(upper) for upper in LENGTHS] + [length_of(LENGTHS[-1] + 1)]
        return {name: groups[name] for name in order if name in groups}

    def by_language(self) -> dict[str, Summary]:
        """Return the cosines of each language, in alphabetical order."""
        return dict(sorted(self._grouped(lambda text, _: text.language).items()))

    def _grouped(self, group: Callable[[Text, int], str]) -> dict[str, Summary]:
        cosines: dict[str, list[float]] = {}
        for pair in self.lowest(sum(map(len, self.cosines.values()))):
            cosines.setdefault(group(pair.text, pair.tokens), []).append(pair.cosine)
        return {name: summarize(np.array(values)) for name, values in cosines.items()}

    def as_dict(self) -> dict[str, object]:
        """Return the report as JSON values."""
        groups = {
            "prompt": self.by_prompt(),
            "tokens": self.by_length(),
            "language": self.by_language(),
        }
        return {
            "model": _info(self.model, self.computed[0]),
            "reference": _info(self.reference, self.computed[1]),
            "texts": {
                "count": len(self.texts.texts),
                "sha256": digest(self.texts.texts),
                "repeated": self.texts.repeated,
                "left_out": [asdict(left) for left in self.texts.left_out],
            },
            "differing_tokens": self.differing_tokens,
            "cosine": {
                "all": asdict(self.overall),
                **{
                    name: {key: asdict(summary) for key, summary in group.items()}
                    for name, group in groups.items()
                },
            },
            "neighbours": self.neighbours and asdict(self.neighbours),
            "dimensions": [asdict(dimension) for dimension in self.dimensions],
            "pairs": [
                {
                    "language": pair.text.language,
                    "prompt": pair.prompt,
                    "tokens": pair.tokens,
                    "cosine": pair.cosine,
                    "text": pair.text.text,
                }
                for pair in self.lowest(sum(map(len, self.cosines.values())))
            ],
        }

    def table(self) -> str:
        """Return a table of at most 80 columns; names from files are not escaped."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield from _row("model", _summary(self.model, self.computed[0]))
        yield from _row("reference", _summary(self.reference, self.computed[1]))
        yield from _row("texts", self._about_texts())
        yield ""
        yield f"{'cosine':{_LABEL}}{'vectors':>8}" + "".join(f"{name:>9}" for name in _COLUMNS)
        yield _cosines("all", self.overall)
        groups = (
            ("prompt", self.by_prompt()),
            ("tokens", self.by_length()),
            ("language", self.by_language()),
        )
        for name, group in groups:
            if len(group) > 1:
                yield name
                yield from (_cosines(f"  {key or '-'}", summary) for key, summary in group.items())
        yield ""
        yield from self._losses()

    def _about_texts(self) -> str:
        count = len(self.texts.texts)
        prompts = " and ".join(self.cosines)
        parts = [f"{count:,}, each with the prompts {prompts}"]
        if self.texts.repeated:
            parts.append(f"{self.texts.repeated:,} repeated ones count once")
        parts += [
            f"one of {left.tokens:,} tokens is left out, above the {left.limit:,} of {left.model}"
            for left in self.texts.left_out
        ]
        total = sum(map(len, self.cosines.values()))
        differ = f"other token ids in {self.differing_tokens:,} of {total:,}"
        parts.append(differ if self.differing_tokens else "the same token ids in both")
        return "; ".join(parts)

    def _losses(self) -> Iterator[str]:
        if self.neighbours is None:
            yield f"{'dimensions':{_LABEL}}{'':8}" + "".join(f"{name:>9}" for name in _COLUMNS)
            yield from (_cosines(str(each.dimensions), each.cosine) for each in self.dimensions)
            yield from textwrap.wrap(
                f"Neighbours are not compared: that needs more than {DEPTH + 1} texts.", _WIDTH
            )
            return
        yield f"{'':22}{'cosine':>9}{'by the model':>18}{'by the reference':>20}"
        yield f"{'found again':22}{'min':>9}{'recall':>9}{'nDCG':>9}{'recall':>11}{'nDCG':>9}"
        for dimension in self.dimensions:
            for precision, loss in dimension.losses.items():
                label = f"{dimension.dimensions:>5} {precision}, {loss.bytes:,} B"
                cosine = f"{dimension.cosine.min:9.5f}" if precision == PRECISIONS[0] else " " * 9
                yield (
                    f"{label:22}{cosine}{loss.model.recall:9.4f}{loss.model.ndcg:9.4f}"
                    f"{loss.reference.recall:11.4f}{loss.reference.ndcg:9.4f}"
                )
        yield f"Found again: of the {DEPTH} nearest by the reference's full float32 vectors."

    def markdown(self) -> str:
        """Return tables for a model card, without figures that differ between machines."""
        total = self.overall.count
        lines = [
            f"Vectors beside {self.reference.name} "
            f"({_computed(self.reference, self.computed[1])}), {len(self.texts.texts):,} texts, "
            f"{total:,} vectors:",
            "",
            "| cosine | vectors | " + " | ".join(_COLUMNS) + " |",
            "| --- |" + " ---: |" * (1 + len(_COLUMNS)),
        ]
        rows = {"all": self.overall} | {
            f"{name} tokens": summary for name, summary in self.by_length().items()
        }
        lines += [
            f"| {name} | {summary.count:,} | "
            + " | ".join(f"{getattr(summary, column):.5f}" for column in _COLUMNS)
            + " |"
            for name, summary in rows.items()
        ]
        if self.neighbours is None:
            return "\n".join(lines) + "\n"
        lines += [
            "",
            f"What a search finds of the {DEPTH} nearest by the reference's full float32 vectors "
            f"(nDCG@{DEPTH}; in brackets with the reference's own vectors):",
            "",
            "| dimensions | " + " | ".join(PRECISIONS) + " |",
            "| ---: |" + " ---: |" * len(PRECISIONS),
        ]
        for dimension in self.dimensions:
            cells = (dimension.losses.get(precision) for precision in PRECISIONS)
            shown = (f"{c.model.ndcg:.4f} ({c.reference.ndcg:.4f})" if c else "-" for c in cells)
            lines.append(f"| {dimension.dimensions} | " + " | ".join(shown) + " |")
        return "\n".join(lines) + "\n"


def _info(info: ModelInfo, computed: str) -> dict[str, object]:
    return vars(info) | {"prompts": dict(info.prompts), "computed": computed}


def _computed(info: ModelInfo, computed: str) -> str:
    weights = info.weights or "weights of unknown type"
    return weights if computed in ("stored", info.weights) else f"{weights} as {computed}"


def _summary(info: ModelInfo, computed: str) -> str:
    words = [_computed(info, computed), *filter(None, [info.task]), info.origin]
    return f"{info.name}: {', '.join(words)}"


def _row(name: str, text: str) -> Iterator[str]:
    lines = textwrap.wrap(text, _WIDTH - _LEFT, break_on_hyphens=False) or [""]
    yield f"{name:{_LEFT}}{lines[0]}"
    yield from (f"{'':{_LEFT}}{line}" for line in lines[1:])


def _cosines(label: str, summary: Summary) -> str:
    shown = label if len(label) < _LABEL else f"{label[: _LABEL - 2]}…"
    figures = "".join(f"{getattr(summary, column):9.5f}" for column in _COLUMNS)
    return f"{shown:{_LABEL}}{summary.count:8,}{figures}"
