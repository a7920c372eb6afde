"""Token ids, which llama.cpp makes, against those of the tokenizers library."""

import pytest
from tokenizers import Tokenizer

from jlocal import Embedder
from support.checkpoints import tokenizer_json
from support.texts import AWKWARD, PROMPTS, huge, prose, scrambled


@pytest.fixture(scope="module", params=["qwen3", "eurobert"])
def pair(request, converted):
    """Return the runtime and the reference tokenizer of one backbone."""
    with Embedder(converted(request.param, whole=True)) as model:
        yield model, Tokenizer.from_str(tokenizer_json(request.param).decode())


def differing(pair, texts, prompt=""):
    """Return the texts, shortest first, whose ids differ."""
    model, tokenizer = pair
    wrong = [
        text
        for text in texts
        if model.tokenize(text, prompt).tolist() != tokenizer.encode(prompt + text).ids
    ]
    return sorted(map(ascii, wrong), key=len)[:20]


@pytest.mark.parametrize("prompt", [*PROMPTS.values(), ""])
def test_awkward_texts(pair, prompt):
    assert differing(pair, AWKWARD.values(), prompt) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_scrambled_texts(pair, seed):
    added = [token.content for token in pair[1].get_added_tokens_decoder().values()]
    # nano reserves 240 tokens more, all alike.
    assert differing(pair, scrambled(1000, added[:26], seed), "Query: ") == []


@pytest.mark.slow
def test_every_character_of_the_basic_plane(pair):
    """Alone, between letters and between spaces."""
    everything = [chr(code) for code in range(0x10000) if not 0xD800 <= code < 0xE000]
    blocks = [everything[start : start + 64] for start in range(0, len(everything), 64)]
    texts = ["x".join(block) + " " + " ".join(block) for block in blocks]
    assert differing(pair, texts) == []


def test_marks_newer_than_the_normaliser(pair):
    """The tokenizers library normalises by Unicode 9: a later mark keeps its place."""
    marks = "\u08d3\u1dfa\u1abf\u0c3c\U00010f46\U0001e130\U00016ff0\U00010eab"
    texts = [f"a{mark}\u0334\u0301b e\u0301{mark}\u0316c o{mark}\u0301" for mark in marks]
    pairs = ["\U00011935\U00011930", "a\u0315\U0001193e\u0334"]
    assert differing(pair, [*texts, *pairs]) == []


@pytest.mark.slow
def test_long_texts(pair):
    many = "<|endoftext|> <|mask|>\u0338 <|end_of_text|>x" * 20_000
    texts = [huge(), prose(20_000), "a" * 100_000, "中文字" * 30_000, many]
    assert differing(pair, texts) == []


@pytest.mark.slow
def test_added_tokens_close_together(pair):
    """llama.cpp looks for each added token through the whole text."""
    token = next(iter(pair[1].get_added_tokens_decoder().values())).content
    assert differing(pair, [token * 2000, f" {token}x" * 2000]) == []


@pytest.mark.slow
def test_special_tokens_of_the_post_processor(converted):
    """Small adds nothing; nano adds its end token, even to an empty text."""
    with Embedder(converted("qwen3", whole=True)) as model:
        assert model.tokenize("").tolist() == []
    with Embedder(converted("eurobert", whole=True)) as model:
        assert model.tokenize("").tolist() == [128001]
