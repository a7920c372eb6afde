"""The texts of the benchmark: fixed sentences in nine languages."""

from __future__ import annotations

from bisect import bisect_right
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jlocal.embed.embedder import Embedder
    from jlocal.llama.tokenizer import Tokens

SENTENCES = (
    "The ferry to the island leaves at seven, unless the fog has not lifted by then.",
    "A lighthouse keeper wrote down the weather four times a day for thirty-one years.",
    "Turn off the water before you replace the washer, and keep the old one to compare.",
    "Der Bäcker an der Ecke öffnet um halb sechs, sonntags eine Stunde später.",
    "Nach dem Hochwasser wurde die Brücke neu gebaut, diesmal zwei Meter höher.",
    "Wer den Vertrag kündigen will, muss das drei Monate vorher schriftlich tun.",
    "Le musée a prêté deux tableaux pour l'été, et l'un des cadres est revenu fendu.",
    "On laisse reposer la pâte une nuit au frais avant de l'étaler.",
    "La ligne 4 est interrompue entre la gare et l'hôpital jusqu'à nouvel avis.",
    "Las cigüeñas volvieron en febrero y ocuparon el mismo campanario de siempre.",
    "El informe compara el precio del trigo en once mercados durante dos décadas.",
    "Si la luz parpadea, apague el aparato y espere diez segundos.",
    "Поезд пришёл на двадцать минут раньше, и на платформе ещё никого не было.",
    "Зимой озеро замерзает, и почту возят по льду на санях.",
    "وصلت الرسالة بعد ثلاثة أسابيع، وكان عليها طابع من بلد آخر.",
    "تزرع القرية الزيتون على السفح الجنوبي منذ زمن بعيد.",
    "बारिश रुकते ही बच्चे मैदान में लौट आए और खेल फिर शुरू हुआ।",
    "पुस्तकालय सोमवार को बंद रहता है, बाकी दिन सुबह नौ बजे खुलता है।",
    "山上的茶园每年春天只采摘两次，雨后的第一天最忙。",
    "这台旧收音机修好以后，又能听到邻国的电台了。",
    "駅前の時計は五分進んでいるが、町の人はみなそれを知っている。",
    "台風が近づいているため、明日の船はすべて欠航になります。",
)
_MIN_SENTENCE = 8  # tokens; that of every tokenizer here is longer


def make_texts(model: Embedder, length: int, count: int) -> list[str]:
    """Join sentences to distinct texts, since identical texts are embedded only once.

    Args:
        model: the model whose tokens are counted.
        length: tokens in each text, or the model's context if that is less; default prompt and
            special tokens included. A text has fewer if its next character needs several tokens,
            and more only if the prompt alone has more.
        count: number of texts, which are always the same.

    """
    random = Random(0)  # noqa: S311
    length = min(length, model.max_seq_length)
    texts = []
    for number in range(1, count + 1):
        start = f"{number}."
        sentences = random.choices(SENTENCES, k=length // _MIN_SENTENCE)
        texts.append(start + _cut(model, start, " " + " ".join(sentences), length))
    return texts


def _cut(model: Embedder, start: str, text: str, length: int) -> str:
    """Truncate a text so that it has `length` tokens with its start."""
    ends = range(len(text) + 1)
    fitting = bisect_right(ends, length, key=lambda end: len(tokens_of(model, start + text[:end])))
    return text[: max(0, fitting - 1)]


def tokens_of(model: Embedder, text: str) -> Tokens:
    """Return the token ids of a text with the default prompt."""
    return model.tokenize(text, model.prompt_text(None, None))
