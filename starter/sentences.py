"""Artificial sentences for the text-matching adapter; the teacher decides how similar they are.

Running text has few sentences that differ in one word or one phrase, and few about everyday scenes;
text-matching must tell such sentences apart.
"""

from __future__ import annotations

import random

_WHO = (
    *("man", "woman", "boy", "girl", "child", "baby", "person", "dog", "cat", "horse", "chef"),
    *("group of people", "young man", "old woman", "little girl", "couple", "teacher", "bird"),
    *("football player", "cyclist", "soldier", "farmer", "policeman", "puppy", "tourist", "crowd"),
)
_WHAT = (
    *("playing a guitar", "playing the piano", "slicing an onion", "cutting a tomato", "cooking"),
    *("riding a bicycle", "riding a motorcycle", "riding a horse", "driving a car", "running"),
    *("jumping over a fence", "jumping into the water", "swimming", "dancing", "singing a song"),
    *("reading a book", "writing a letter", "eating an apple", "eating pasta", "drinking milk"),
    *("talking on the phone", "taking a picture", "painting a wall", "folding paper", "sleeping"),
    *("throwing a ball", "catching a ball", "chasing a toy", "climbing a tree", "climbing a rock"),
    *("washing the dishes", "feeding a rabbit", "carrying a box", "opening a door", "laughing"),
    *("walking", "sitting on a bench", "standing", "waiting", "fishing", "skating", "boxing"),
    *("mixing flour and eggs", "pouring oil into a pan", "peeling a potato", "applying make-up"),
)
_WHERE = (
    *("in the park", "on the beach", "in a kitchen", "on the street", "in the snow", "at night"),
    *("in a field", "on stage", "near a river", "in the rain", "outside", "indoors", "on a roof"),
    *("in front of a house", "beside a lake", "in a crowded room", "on the grass", "at a table"),
)
_LOOKS = (
    *("in a red shirt", "in a black coat", "with a hat", "with long hair", "in uniform"),
    *("wearing glasses", "with a backpack", "in a blue dress", "with a beard", "in the background"),
)


def scenes(count: int, seed: int = 0) -> list[str]:
    """Make different sentences about people and animals that do something somewhere."""
    chance = random.Random(seed)  # noqa: S311
    made: dict[str, None] = {}
    while len(made) < count:
        who, what = chance.choice(_WHO), chance.choice(_WHAT)
        article = chance.choice(("A", "A", "The", "Two")) if " of " not in who else "A"
        looks = f" {chance.choice(_LOOKS)}" if chance.random() < 0.25 else ""
        where = f" {chance.choice(_WHERE)}" if chance.random() < 0.5 else ""
        if article == "Two":
            who, verb = plural(who), "are"
        else:
            article = "An" if article == "A" and who[0] in "aeiou" else article
            verb = "is"
        no = " not" if chance.random() < 0.05 else ""
        made[f"{article} {who}{looks} {verb}{no} {what}{where}."] = None
    return list(made)


def plural(noun: str) -> str:
    """Return the plural of a noun of this file."""
    irregular = {"man": "men", "woman": "women", "child": "children", "person": "people"}
    first, _, last = noun.rpartition(" ")
    if last in irregular:
        changed = irregular[last]
    elif last.endswith("man"):
        changed = f"{last[:-3]}men"
    elif last.endswith("y") and last[-2] not in "aeiou":
        changed = f"{last[:-1]}ies"
    else:
        changed = last if last == "people" else f"{last}s"
    return f"{first} {changed}".strip()


def variants(sentences: list[str], count: int, seed: int = 0) -> list[str]:
    """Change sentences: words taken from a neighbour of the list, a phrase left out, halves joined.

    Args:
        sentences: neighbours in the list should not be similar.
        count: how many to make.
        seed: of the choices.

    """
    chance = random.Random(seed)  # noqa: S311
    made: dict[str, None] = {}
    while len(made) < count:
        number = chance.randrange(len(sentences))
        words = sentences[number].split()
        other = sentences[chance.randrange(len(sentences))].split()
        way = chance.random()
        place = chance.randrange(len(words))
        if way < 0.4:
            size = chance.randint(1, max(1, len(words) // 3))
            words[place : place + size] = []
        elif way < 0.75:
            words[place] = chance.choice(other)
        else:
            words[len(words) // 2 :] = other[len(other) // 2 :]
        if len(words) > 2:
            made[" ".join(words)] = None
    return list(made)
