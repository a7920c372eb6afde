"""Texts on which tokenizers and embedders tend to disagree."""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Sequence

# By name, as jina-embeddings-v5-text has them.
PROMPTS = {"query": "Query: ", "document": "Document: "}

AWKWARD = {
    # Scripts
    "Latin": "Zażółć gęślą jaźń, Þórður. Ça va? ¿Qué tal? Đặng Nguyễn",
    "Cyrillic": "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "Greek": "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία, Ὦ ξεῖν᾽",
    "Arabic": "الكوكب الأحمر هو المرِّيخ، ٣٤ درجة",
    "Hebrew with points": "בְּרֵאשִׁית בָּרָא אֱלֹהִים",
    "Devanagari": "मंगल ग्रह को लाल ग्रह कहा जाता है। क़िला",
    "Bengali": "মঙ্গল গ্রহকে লাল গ্রহ বলা হয়",
    "Tamil": "செவ்வாய் சிவப்புக் கோள் என அழைக்கப்படுகிறது",
    "Thai": "ดาวอังคารเป็นที่รู้จักในชื่อดาวเคราะห์สีแดง",
    "Khmer": "ភពព្រះអង្គារ​ហៅថា​ភពក្រហម",
    "Georgian": "მარსი წითელი პლანეტის სახელითაა ცნობილი",
    "Armenian": "Մարսը հայտնի է որպես Կարմիր մոլորակ",
    "Amharic": "ማርስ ቀይ ፕላኔት በመባል ይታወቃል።",
    "Chinese": "火星被称为红色星球。「紅色行星」，２０２４年！",
    "Japanese": "火星は赤い惑星として知られています。ﾊﾝｶｸ ガギグ",
    "Korean": "화성은 붉은 행성으로 알려져 있다",
    "Cherokee and Gothic": "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ 𐌲𐌿𐍄𐌹𐍃𐌺",
    # Normal forms
    "Korean in decomposed jamo": unicodedata.normalize("NFD", "화성은 붉은 행성"),
    "Hangul compatibility jamo": "ㅎㅏㄴㄱㅡㄹ ㄲㄸㅃ",
    "decomposed accents": unicodedata.normalize("NFD", "Crème brûlée à São Tomé, Việt Nam"),
    "marks out of canonical order": "a\u0323\u0301 a\u0301\u0323 q\u0307\u0323 \u0344",
    "singletons": "\u212a \u212b \u2126 \u037e \u1fef \uf900 \u2000\u2001",
    "ligatures and compatibility": "ﬁnal ﬀ ﷺ ㎏ ½ Ⅷ ² ｆｕｌｌ ǅ İı ß ẞ",
    "lone marks": "\u0301\u0308 \u20dd\u0338 \u093f \u3099",
    "Zalgo": "H\u0315\u0350\u032ce\u0334\u0321\u0341l\u0361\u0489l\u0335\u032bo\u0337\u0348\u0489",
    # Spaces and controls
    "empty": "",
    "one space": " ",
    "one newline": "\n",
    "mixed white space": " \t\ta  b\r\n\r\n c\n\n\n  d\x0b\x0c \x85 e   ",
    "no-break and wide spaces": "a\xa0b\xa0 \u3000c \u2003\u202f\u205fd\u1680e\u2028\u2029f",
    "zero width": "a\u200bb\u200cc\u2060d \u200b\ufeff",
    "byte order mark first": "\ufeffMars",
    "NUL inside": "before\x00after \x00\x00 end\x00",
    "control characters": "\x01\x02\x1b[31mred\x1b[0m\x1c\x1d\x1e\x1f\x7f\x80",
    "right to left marks": "\u202eabc\u202c \u200fשלום\u200e (עברית) abc \u2067x\u2069",
    # Symbols
    "emoji": "👩‍💻👨‍👩‍👧‍👦 👍🏽 🇫🇷🇯🇵 ❤️ 🏴\U000e0067\U000e0062\U000e007f 1️⃣",
    "mathematical letters": "𝔘𝕟𝕚𝕔𝕠𝕕𝕖 𝟘𝟙𝟚 ∀x∈ℝ: ⌈x⌉ = −⌊−x⌋ ≯ ≮",
    "private use and noncharacters": "\ue000\uf8ff\U000f0000 \ufffe\uffff\U0010ffff",
    "unassigned": "\u0378 \u05ff\u1c8f",
    "replacement character": "\ufffd\ufffdbroken\ufffd",
    # What looks like a token of the tokenizer
    "control tokens of small": "<|endoftext|>a <|im_start|>user\n b<|im_end|> <|fim_pad|>",
    "control tokens of nano": "<|begin_of_text|>a <|end_of_text|> b<|eot_id|><|pad|>",
    "mask after spaces": "a   <|mask|> b\n\t\u3000<|mask|><|mask|>\x1f <|mask|> \u200b<|mask|>",
    "mask at the start": "<|mask|>",
    "added tokens": "<think>\n</think> <tool_call>{}</tool_call> <tool_response>",
    "almost tokens": "<|endoftext <|im_start|< |mask|> <THINK> <|<|mask|>|> [PAD151700]",
    "composing after a token": "<|endoftext|>\u0338 <|mask|>\u0338\u0327 </think>\u0338\u0301x",
    "only the end token": "<|end_of_text|>",
    # Shapes of text
    "contractions": "I'm I'M we'LL we'll 'Tis DON'T o'Reilly's 'ſo x'ſ ’s rock'n'roll 'RE've",
    "digits": "0 12 123 1234 12345678901234567890 3.14159 1,000,000 ٣٤٥ ४५६ ２０２４",
    "code": 'def f(x):\n\treturn {"a": [x**2 for _ in range(10)]}  # ok\r\n\n\n}}}\n',
    "URL": "https://example.org/a/b%20c?q=1&r=%E2%9C%93#frag user@host.example",
    "punctuation": "...!!!???---===***///\\\\\\ «“„‚‘»\n\n(*) ;) :-( _a_ __b__",
    "one long word": "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamter",
    "3000 times a": "a" * 3000,
    "2000 spaces": " " * 2000,
    "many newlines": "\n" * 500 + "x",
    "one emoji often": "🪐" * 200,
}

# Each is one token, after a space, in both vocabularies.
WORDS = re.findall(
    r"\w+",
    """
    about after again always around because before between business children city company country
    course early earth education every family first found general government great group history
    house important large later life light little long market money mother nothing number often
    order people place planet power problem program public question red right room school second
    small social space state still system thing though together under until water week where while
    without woman word work world year young
    """,
)


def prose(tokens: int, seed: int = 0) -> str:
    """Return words with this number of tokens.

    The choice of words drifts, so that losing any part would show.
    """
    rng = random.Random(seed)
    start = rng.randrange(len(WORDS))
    places = (start + position * len(WORDS) // tokens for position in range(tokens))
    return "".join(f" {WORDS[(place + rng.randrange(4)) % len(WORDS)]}" for place in places)


def huge(characters: int = 100_000) -> str:
    """Return one long text that repeats all awkward texts."""
    everything = " ".join(text for text in AWKWARD.values() if len(text) < 1000)
    return (everything * (characters // len(everything) + 1))[:characters]


SPACES = " \t\n\r\x0b\x0c\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000\u200b\x1c\x1f"
MARKS = "\u0301\u0338\u0327\u0323\u0308\u20dd\u0e31\u093f\u0bbe\u1161\u11a8\u05b0\u064b\ufe0f\u0345"
ALPHABETS = (
    *filter(None, AWKWARD.values()),
    SPACES,
    MARKS,
    "'sStTdDmMlLrReEvVſ",
    "<>|_=/!.,-;:#@`\\~^",
)


def scrambled(count: int, special: Sequence[str], seed: int = 0) -> list[str]:
    """Return random strings that mix scripts, white space, marks and pieces of special tokens.

    No character is newer than Unicode 15.1: the reference knows some that llama.cpp does not.
    """
    rng = random.Random(seed)

    def piece() -> str:
        kind = rng.random()
        if kind < 0.2:
            return rng.choice(special)
        if kind < 0.25:
            return rng.choice(special)[: rng.randint(1, 9)]
        if kind < 0.35:
            return rng.choice(SPACES) * rng.randint(1, 5)
        return "".join(rng.choices(rng.choice(ALPHABETS), k=rng.randint(1, 6)))

    return [
        "".join(piece() for _ in range(rng.randint(1, rng.choice((3, 8, 30)))))
        for _ in range(count)
    ]
