"""Which texts each of the four adapters is trained on."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from starter import adapters, questions, sentences, sources, teacher
from starter.adapters import SENTENCE, SHORT, Embed, Losses, Pool, Rows
from starter.batches import encode
from starter.stages import kept, load_json, save_json

SENTENCES = r"(?=.{16,160}$)[A-Z]\S* (\S+ ){2,}"
QUESTIONS = r"(?=.{12,120}$)(\S+ ){2,}.*\?$|(?=.{12,80}$)(\S+ ){2,8}\S+$"
UTTERANCES = r".{12,160}$"
ENCYCLOPAEDIC = ("wiki-small",)
SPOKEN = ("dialog", "queries")


@dataclass(frozen=True)
class Known:
    """The texts of the backbone, lines and passages, as strings and as pools."""

    lines: list[str]
    line_pool: Pool
    passages: list[str]
    passage_pool: Pool


@dataclass(frozen=True)
class Makers:
    """The data and the functions to make more texts and their teacher's vectors."""

    data: Path
    work: Path
    tokenizer: Tokenizer
    workers: int
    count: int

    def vectors(self, texts: list[str]) -> adapters.Half:
        """Return the teacher's vectors in the common basis."""
        found = teacher.encode(texts, self.workers)
        return teacher.change_basis(found, np.load(self.work / "basis.npy"))

    def pools(self, name: str, make: Callable[[], dict[str, list[str]]]) -> dict[str, Pool]:
        """Make pools of several kinds of texts, with the teacher's vectors."""
        texts = kept(self.work / f"{name}.json", make, load_json, save_json)
        flat = list(chain.from_iterable(texts.values()))
        targets = kept(self.work / f"{name}.npy", lambda: self.vectors(flat), np.load, np.save)
        pools, start = {}, 0
        for kind, some in texts.items():
            end = start + len(some)
            pools[kind] = Pool(encode(self.tokenizer, some), targets[start:end])
            start = end
        return pools


def recipes(known: Known, makers: Makers, clusters: int) -> dict[str, Callable[[Embed], Losses]]:
    """Return the generator of losses for each task's adapter.

    Args:
        known: the texts of the backbone.
        makers: how to make other texts.
        clusters: number of clusters that the clustering adapter learns.

    """
    made = makers.pools("sentences", lambda: _sentences(known.lines, makers.count))
    asked = makers.pools("questions", lambda: _questions(known, makers))
    real = known.line_pool.select(chosen(known.lines, QUESTIONS, 60_000))
    kinds = [
        (asked["of gathered"], asked["gathered"]),
        (real, asked["gathered"].followed_by(known.passage_pool)),
        (asked["of passages"], known.passage_pool),
    ]
    spoken = known.line_pool.select(_spoken(known.lines, makers.data))
    return {
        "retrieval": lambda embed: adapters.retrieval(embed, kinds),
        "text-matching": lambda embed: adapters.matching(embed, made["sentences"], SENTENCE),
        "clustering": lambda embed: adapters.matching(embed, spoken, SHORT, clusters),
        "classification": lambda embed: adapters.matching(embed, spoken, SHORT),
    }


def _sentences(lines: list[str], count: int) -> dict[str, list[str]]:
    real = [lines[i] for i in chosen(lines, SENTENCES, count)]
    scenes = sentences.scenes(count * 7 // 10)
    made = sentences.variants([*real, *scenes], count)
    return {"sentences": list(dict.fromkeys([*real, *made, *scenes]))}


def _questions(known: Known, makers: Makers) -> dict[str, list[str]]:
    texts = sources.read_all(makers.data, ENCYCLOPAEDIC)
    if not texts:
        texts = [known.lines[i] for i in chosen(known.lines, SENTENCES, makers.count)]
    texts = questions.sentences(texts)
    chance = random.Random(5)  # noqa: S311
    gathered, of_gathered = questions.gather(texts, makers.vectors(texts), chance)
    return {
        "gathered": gathered,
        "of gathered": of_gathered,
        "of passages": questions.ask(known.passages[: len(known.passages) // 2], chance),
    }


def _spoken(lines: list[str], data: Path) -> Rows:
    """Find utterances and questions of people; without their sources, all short lines."""
    said = set(sources.read_all(data, SPOKEN)) or set(lines)
    utterances = chosen(lines, UTTERANCES, len(lines))
    return np.array([i for i in utterances if lines[i] in said], np.int64)


def chosen(texts: list[str], pattern: str, most: int) -> Rows:
    """Find the first texts that a pattern matches."""
    matching = re.compile(pattern).match
    return np.array([i for i, text in enumerate(texts) if matching(text)][:most], np.int64)
