"""Passages and questions made of sentences, for the retrieval adapter.

Few of the texts are encyclopaedic passages, and few are questions that such passages answer. So
similar sentences are joined to a passage on one subject, and a sentence without one or two of its
words serves as a question, for a model that weighs words. Only the teacher decides which passage a
question belongs to, so a bad question teaches nothing false.
"""

from __future__ import annotations

import random
import re

import numpy as np
from numpy.typing import NDArray

ASKING = ("What", "What", "Who", "When", "Where", "How many", "Which", "Why", "What is", "How")
# Cosine from which two sentences may stand in one passage.
NEAR = 0.35


def sentences(lines: list[str]) -> list[str]:
    """Sentences with their punctuation set right; of neighbours that begin alike only the first."""
    kept, before = [], ""
    for line in lines:
        beginning = " ".join(line.split()[:3])
        text = _joined(line)
        if beginning != before and 40 <= len(text) <= 500:
            kept.append(text)
        before = beginning
    return kept


def _joined(line: str) -> str:
    """Undo the tokenisation of a treebank: "it , too" becomes "it, too"."""
    line = re.sub(r" (?=[,.;:!?%)\]]|'s|n't)", "", line)
    line = re.sub(r"(?<=[(\[]) ", "", line)
    return re.sub(r" ?''|`` ?", '"', line)


def gather(
    texts: list[str], vectors: NDArray[np.float16], chance: random.Random
) -> tuple[list[str], list[str]]:
    """Gather sentences into passages.

    Args:
        texts: sentences.
        vectors: the teacher's unit vectors of them, (texts, dimensions).
        chance: of order and sizes.

    Returns:
        Passages of up to six sentences, every sentence in one, and at most two questions to each.

    """
    table = vectors.astype(np.float32)
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    free = np.ones(len(texts), bool)
    passages: list[str] = []
    questions: list[str] = []
    for first in chance.sample(range(len(texts)), len(texts)):
        if not free[first]:
            continue
        likeness = np.where(free, table @ table[first], -1)
        likeness[first] = 1
        best = np.argsort(-likeness)[: chance.randint(2, 6)]
        members = [int(i) for i in best if likeness[i] >= NEAR]
        free[members] = False
        chance.shuffle(members)
        passages.append(" ".join(texts[i] for i in members))
        asked = (cloze(texts[i], chance) for i in chance.sample(members, min(2, len(members))))
        questions += filter(None, asked)
    return passages, questions


def ask(passages: list[str], chance: random.Random) -> list[str]:
    """Return one question for each passage with a suitable sentence."""
    questions = []
    for passage in passages:
        found = [s for s in re.split(r"(?<=[.?!]) ", passage) if 40 <= len(s) <= 300]
        if found and (question := cloze(chance.choice(found), chance)):
            questions.append(question)
    return questions


def cloze(sentence: str, chance: random.Random) -> str | None:
    """Make a question from a sentence: remove some words, and keep few of the others.

    A sentence of fewer than five words makes none.
    """
    words = sentence.rstrip(".").split()
    if len(words) < 5:
        return None
    gap = chance.choice((1, 1, 2, 3))
    start = chance.randrange(len(words) - gap + 1)
    del words[start : start + gap]
    keep = chance.randint(4, 12)
    if len(words) > keep:
        if chance.random() < 0.6:
            start = chance.randrange(len(words) - keep + 1)
            words = words[start : start + keep]
        else:
            words = [words[i] for i in sorted(chance.sample(range(len(words)), keep))]
    return f"{chance.choice(ASKING)} {' '.join(words).strip(' ,;')}?"
