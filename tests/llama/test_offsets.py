"""Where the tokens of a text lie in it, and the text of tokens."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer

from jlocal import Embedder
from jlocal.llama.offsets import locate
from support.checkpoints import tokenizer_json
from support.texts import AWKWARD


@pytest.fixture(scope="module", params=["qwen3", "eurobert"])
def pair(request, converted):
    """Return our tokenizer and the reference tokenizer of one backbone."""
    with Embedder(converted(request.param, whole=True)) as model:
        tokenizer = model.preparer().runtime.tokenizer
        yield tokenizer, Tokenizer.from_str(tokenizer_json(request.param).decode())


def test_places_are_those_of_the_reference(pair):
    ours, reference = pair
    added = [token.content for token in reference.get_added_tokens_decoder().values()]
    texts = ["restic runs  every night\n", "é 漢字 🦊🦊", f"a{added[0]}b {added[1]}c", "ﬁ ½ Ⅷ"]
    for text in texts:
        expected = reference.encode(text)
        got = locate(ours, text)
        assert [piece.token for piece in got] == expected.ids
        assert [piece.special for piece in got] == [bool(x) for x in expected.special_tokens_mask]
        places = [(piece.start, piece.stop) for piece in got if not piece.special]
        assert places == expected.offsets[: len(places)], text


def test_places_cover_every_text(pair):
    """Also where normalisation composes characters, and white space is stripped."""
    ours, _ = pair
    composed = "e\u0301a\u0323\u0302 \u1112\u1161\u11ab x\u0316\u0301 \u212b \u0958"
    for text in [composed, *AWKWARD.values()]:
        pieces = [piece for piece in locate(ours, text) if not piece.special]
        assert all(piece.start is not None for piece in pieces), ascii(text)
        assert all(piece.text == text[piece.start : piece.stop] for piece in pieces)
        covered = {position for piece in pieces for position in range(piece.start, piece.stop)}
        missing = "".join(text[place] for place in range(len(text)) if place not in covered)
        assert not missing.strip(), ascii(text)


def test_tokens_become_the_text_again(pair):
    ours, reference = pair
    for text in AWKWARD.values():
        tokens = ours.encode(text).tolist()
        assert ours.decode(tokens, skip_special=False) == reference.decode(
            tokens, skip_special_tokens=False
        )
        assert ours.decode(tokens) == reference.decode(tokens)


def test_half_a_character_becomes_a_replacement_character(pair):
    ours, _ = pair
    tokens = next(
        tokens for tokens in map(ours.encode, "🫠𓀀𒀀𝔄") if len(tokens) - ours.closing_tokens > 1
    )
    assert "\ufffd" in ours.decode(tokens[:1].tolist())


def test_a_token_of_many_bytes_is_whole(pair):
    ours, _ = pair
    (token, *_) = ours.encode(" " * 80).tolist()
    assert ours.decode([token]) == " " * len(ours.piece(token))
