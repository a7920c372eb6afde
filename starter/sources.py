"""The training texts: where each file comes from, and how its lines become lines and passages."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

MIN_CHARS, MAX_CHARS = 8, 1200
# Passages of about 64 to 256 tokens, because lines (27 tokens) teach nothing about long texts.
PASSAGE_CHARS = (250, 1100)


@dataclass(frozen=True)
class Source:
    """A file of texts, one a line.

    `lines` and `passages` limit how many are taken; passages join consecutive lines, so only files
    of running text have them.
    """

    name: str
    origin: str
    licence: str
    lines: int
    passages: int = 0


SOURCES = (
    Source("common-voice-en", "Common Voice prompts", "CC0-1.0", 45_000),
    Source("debian-desc", "Debian package descriptions", "as the packages, free", 70_000, 9_000),
    Source("debian-docs", "Debian documentation packages", "as the packages, free", 50_000, 25_000),
    Source("dialog", "DSTC8 schema-guided, Taskmaster", "CC BY-SA 4.0, CC BY 4.0", 60_000, 4_000),
    Source("factbook", "The World Factbook", "public domain", 14_000, 3_000),
    Source("gutenberg", "Project Gutenberg books", "public domain", 40_000, 10_000),
    Source(
        "mddocs",
        "cpp-docs, PowerShell-Docs, Kubernetes community, Rust RFCs, PEPs, Ansible docs",
        "CC BY 4.0, Apache-2.0, MIT, public domain, GPL",
        50_000,
        20_000,
    ),
    Source("mdn-archived", "MDN archived content", "CC BY-SA 2.5", 25_000, 10_000),
    Source("medquad", "MedQuAD", "CC BY 4.0", 70_000, 16_000),
    Source("oewn", "Open English WordNet", "CC BY 4.0", 150_000),
    Source(
        "queries",
        "query-wellformedness, CLINC150, Banking77 (training texts), WebQuestions",
        "CC BY-SA, CC BY",
        52_000,
    ),
    Source(
        "scitldr-train", "SciTLDR (training abstracts and summaries)", "Apache-2.0", 14_000, 5_000
    ),
    Source("tldr", "tldr-pages", "CC BY 4.0", 20_000),
    Source("trivia", "OpenTriviaQA", "CC BY-SA 4.0", 70_000),
    Source("wiki-small", "Wikipedia sentence pairs", "CC BY-SA", 71_000),
)


def read(folder: Path, source: Source) -> list[str]:
    """Read the texts of a source that are neither too short nor too long, in their order.

    The file is `NAME.txt` or `NAME.txt.zst` (which needs zstandard).

    Raises:
        FileNotFoundError: neither file exists.

    """
    plain = folder / f"{source.name}.txt"
    packed = folder / f"{source.name}.txt.zst"
    if plain.exists() or not packed.exists():
        text = plain.read_text(encoding="utf-8")
    else:
        import zstandard

        with zstandard.open(packed, "rt", encoding="utf-8") as file:
            text = file.read()
    lines = (line.strip() for line in text.split("\n"))
    return [line for line in lines if MIN_CHARS <= len(line) <= MAX_CHARS]


def read_all(folder: Path, names: Container[str]) -> list[str]:
    """Read the texts of some sources; one whose file is missing has none."""
    texts: list[str] = []
    for source in SOURCES:
        if source.name in names:
            with contextlib.suppress(FileNotFoundError):
                texts += read(folder, source)
    return texts


def sample(folder: Path, seed: int = 0) -> tuple[list[str], list[str]]:
    """Lines and passages of every source whose file is in `folder`, each at most once, shuffled.

    Raises:
        FileNotFoundError: the folder has no file of any source.

    """
    chance = random.Random(seed)  # noqa: S311
    lines: dict[str, None] = {}
    passages: dict[str, None] = {}
    has_files = False
    for source in SOURCES:
        try:
            texts = read(folder, source)
        except FileNotFoundError:
            continue
        has_files = True
        if source.passages:
            joined = list(join(texts, chance))
            taken = chance.sample(joined, min(source.passages, len(joined)))
            passages.update(dict.fromkeys(taken))
        lines.update(dict.fromkeys(chance.sample(texts, min(source.lines, len(texts)))))
    if not has_files:
        names = ", ".join(source.name for source in SOURCES)
        raise FileNotFoundError(f"{folder} has no NAME.txt or NAME.txt.zst, NAME one of {names}")
    return shuffled(lines, chance), shuffled(passages, chance)


def join(texts: list[str], chance: random.Random) -> Iterator[str]:
    """Consecutive texts as passages, each at least as long as a length drawn for it."""
    passage: list[str] = []
    size, wanted = 0, chance.randint(*PASSAGE_CHARS)
    for text in texts:
        passage.append(text)
        size += len(text) + 1
        if size >= wanted:
            yield " ".join(passage)[: 2 * PASSAGE_CHARS[1]]
            passage, size, wanted = [], 0, chance.randint(*PASSAGE_CHARS)


def shuffled(texts: dict[str, None], chance: random.Random) -> list[str]:
    """Return the texts in a random order."""
    order = list(texts)
    chance.shuffle(order)
    return order
