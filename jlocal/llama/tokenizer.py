"""llama.cpp's tokenizer, corrected to give the token ids of the tokenizers library."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from jlocal.errors import ModelError
from jlocal.llama.library import abandonable, api
from jlocal.llama.model import Model
from jlocal.llama.nfc import is_nfc, nfc

Tokens = npt.NDArray[np.int32]

# White_Space of the Unicode Character Database, which is what `lstrip` means in the tokenizers
# library; Python's \s has four separators more.
_WHITE_SPACE = "[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"

# The tokenizers library normalises by the tables of Unicode 9. Characters that later versions gave
# a combining class or a composition are ordinary characters to it, at which normalisation stops and
# begins again. Python's tables are newer, and differ from version to version.
_AFTER_UNICODE_9 = (
    "\u05c8\u05c9\u07fd\u0897-\u089f\u08ca-\u08d3\u09fe\u0c3c\u0d3b\u0d3c\u0eba\u1715"
    "\u1abf-\u1af0\u1df6-\u1dfa\ua82c\U000105c9\U000105d2\U000105da\U000105e4"
    "\U00010d24-\U00010d27\U00010d69-\U00010d6d\U00010eab\U00010eac\U00010ecb-\U00010ecf"
    "\U00010ef0-\U00010efb\U00010efd-\U00010eff\U00010f46-\U00010f50\U00010f82-\U00010f85"
    "\U00011070\U0001133b\U00011382-\U00011385\U0001138b\U0001138e\U00011390\U00011391"
    "\U000113b8\U000113bb\U000113c2\U000113c5\U000113c7-\U000113c9\U000113ce-\U000113d0"
    "\U0001145e\U00011839\U0001183a\U00011930\U00011935\U00011938\U0001193d\U0001193e"
    "\U00011943\U000119e0\U00011a34\U00011a47\U00011a99\U00011d42\U00011d44\U00011d45"
    "\U00011d97\U00011f41\U00011f42\U0001611e-\U00016129\U0001612f\U00016d63"
    "\U00016d67-\U00016d6a\U00016ff0\U00016ff1\U0001d127\U0001d128\U0001d250-\U0001d252"
    "\U0001d25b\U0001d25c\U0001d25f\U0001d280\U0001d281\U0001e08f\U0001e130-\U0001e136"
    "\U0001e2ae\U0001e2ec-\U0001e2ef\U0001e4ec-\U0001e4ef\U0001e5ee\U0001e5ef\U0001e6e3"
    "\U0001e6e6\U0001e6ee\U0001e6ef\U0001e6f5"
)

_CONTROL_OR_USER_DEFINED = 8 | 16  # LLAMA_TOKEN_ATTR_CONTROL, LLAMA_TOKEN_ATTR_USER_DEFINED

_PROBE = "a b"

# Pre-tokenizers that llama.cpp implements by hand. For any other it uses std::regex, which recurses
# for each character of a match: a long word would overflow an ordinary stack and crash the process.
# On macOS, a thread has half a MiB by default.
_SPLIT_BY_HAND = frozenset({"qwen2", "llama-bpe"})
_SHALLOW = 1000  # characters
_STACK_FOR_CHARACTER = 640  # bytes; 350 were measured
_DEEPEST = 3_000_000  # characters

# llama.cpp's search for added tokens takes quadratic time in their number in a text.
_LONG = 1 << 14
# llama.cpp counts bytes and tokens in 32 bits.
_LONGEST = (1 << 31) - 16
# A text of this many bytes may take longer than a quarter of a second.
_SLOW = 1 << 18
# Shorter texts, in bytes, are tokenised in less time than it takes to get the GIL back.
_BRIEF = 1000

_TOKENIZE_ARGUMENTS = (
    ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32, ctypes.c_void_p, ctypes.c_int32,
    ctypes.c_bool, ctypes.c_bool,
)  # fmt: skip
_TOKENIZE = ("llama_tokenize", api._lib)
_tokenize = ctypes.CFUNCTYPE(ctypes.c_int32, *_TOKENIZE_ARGUMENTS)(_TOKENIZE)
_tokenize_with_gil = ctypes.PYFUNCTYPE(ctypes.c_int32, *_TOKENIZE_ARGUMENTS)(_TOKENIZE)


class Tokenizer:
    """The vocabulary of a loaded model; thread-safe."""

    def __init__(self, model: Model) -> None:
        profile = model.profile
        self._model = model  # the vocabulary is a part of it
        self._vocabulary: Any = api.llama_model_get_vocab(model.handle)
        vocabulary = self._vocabulary
        self._normalizes = profile.normalizer == "NFC"
        self._strip_before = _strip_pattern(profile.lstrip_tokens)
        self._byte_level = api.llama_vocab_type(vocabulary) == api.LLAMA_VOCAB_TYPE_BPE
        split = profile.header.metadata.get("tokenizer.ggml.pre")
        self._recurses = self._byte_level and split not in _SPLIT_BY_HAND

    def encode(self, text: str) -> Tokens:
        """Return the token ids of the reference tokenizer for a text, special tokens included.

        Raises:
            UnicodeEncodeError: the text has lone surrogates.
            ModelError: llama.cpp cannot tokenise it.

        """
        text = self.prepare(text)
        if self._byte_level and len(text) > _LONG:
            return self._in_pieces(text)
        return self._encode(text)

    def prepare(self, text: str) -> str:
        """Return a text as the tokenizer takes it: white space stripped, and normalised."""
        if self._strip_before:
            text = self._strip_before.sub("", text)
        if self._normalizes and not is_nfc(text):
            text = self._normalize(text)
        return text

    def prepared_parts(self, text: str) -> Iterator[tuple[str, str]]:
        """Split a text into parts; yield each with its result of `prepare`."""
        position = 0
        for stripped in self._strip_before.finditer(text) if self._strip_before else ():
            yield from self._normalized_parts(text[position : stripped.start()])
            yield stripped[0], ""
            position = stripped.end()
        yield from self._normalized_parts(text[position:])

    def _normalized_parts(self, text: str) -> Iterator[tuple[str, str]]:
        if not self._normalizes or is_nfc(text):
            yield text, text
            return
        for index, part in enumerate(self._boundaries.split(text)):
            yield part, part if index % 2 else nfc(part)

    @property
    def is_byte_level(self) -> bool:
        """Whether the pieces of a text's tokens are the bytes of the prepared text."""
        return bool(self._byte_level)

    def piece(self, token: int) -> bytes:
        """Return the text of a token, in UTF-8, of which it may be a part of a character.

        Args:
            token: an id of the vocabulary.

        """
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            count = api.llama_token_to_piece(self._vocabulary, token, buffer, size, 0, True)
            if count >= 0:
                return buffer.raw[:count]
            size = -count

    def is_special(self, token: int) -> bool:
        """Tell whether a token stands for no text, such as the end of one."""
        attributes = api.llama_vocab_get_attr(self._vocabulary, token)
        return bool(attributes & api.LLAMA_TOKEN_ATTR_CONTROL) and token not in self._infill

    def decode(self, tokens: Sequence[int], *, skip_special: bool = True) -> str:
        """Return the text of tokens; bytes that are no UTF-8 become U+FFFD.

        Args:
            tokens: ids of the vocabulary.
            skip_special: leave out special tokens.

        """
        if skip_special:
            tokens = [token for token in tokens if not self.is_special(token)]
        if self._byte_level:
            return b"".join(map(self.piece, tokens)).decode("utf-8", "replace")
        return self._detokenize(tokens)

    def _detokenize(self, tokens: Sequence[int]) -> str:
        ids = (ctypes.c_int32 * len(tokens))(*tokens)
        size = 16 * len(tokens) + 16
        while True:
            buffer = ctypes.create_string_buffer(size)
            count = api.llama_detokenize(
                self._vocabulary, ids, len(tokens), buffer, size, False, True
            )
            if count >= 0:
                return buffer.raw[:count].decode("utf-8", "replace")
            size = -count

    @property
    def opening_tokens(self) -> int:
        """The number of tokens that are added before a text; truncation must keep them."""
        return self._added[0]

    @property
    def closing_tokens(self) -> int:
        """The number of tokens that are added after a text; truncation must keep them."""
        return self._added[1]

    @cached_property
    def _added(self) -> tuple[int, int]:
        # Measured on a probe: some tokenizers heed none of llama.cpp's flags for it.
        bare, whole = self._encode(_PROBE, special=False).tolist(), self._encode(_PROBE).tolist()
        for start in range(len(whole) - len(bare) + 1) if bare else ():
            if whole[start : start + len(bare)] == bare:
                return start, len(whole) - len(bare) - start
        vocabulary = self._vocabulary
        return (
            int(bool(api.llama_vocab_get_add_bos(vocabulary))),
            int(bool(api.llama_vocab_get_add_eos(vocabulary))),
        )

    def _encode(self, text: str, special: bool = True) -> Tokens:
        data = text.encode("utf-8")
        if len(data) > _LONGEST:
            raise ModelError(f"llama.cpp cannot tokenise a text of {len(data):,} bytes")
        # A byte-level BPE gives at most one token per byte; the rest is for special tokens.
        tokens = np.empty(len(data) + 8, dtype=np.int32)

        stack = _stack_for(text) if self._recurses and len(text) > _SHALLOW else 0

        def call() -> int:
            return self._encode_into(data, tokens, special)

        def count_tokens() -> int:
            if not stack and len(data) < _SLOW:
                return call()
            try:
                return abandonable(call, stack)
            except RuntimeError as error:
                raise ModelError(
                    f"not enough memory to tokenise {len(data):,} bytes: {error}"
                ) from error

        count = count_tokens()
        if count < 0:
            tokens = np.empty(-count, dtype=np.int32)
            count = count_tokens()
        if count < 0:
            raise ModelError(f"llama.cpp cannot tokenise a text of {len(data):,} bytes")
        return tokens[:count].copy()

    def _encode_into(self, data: bytes, tokens: Tokens, special: bool) -> int:
        tokenize = _tokenize_with_gil if len(data) < _BRIEF else _tokenize
        size, room = len(data), len(tokens)
        count = tokenize(self._vocabulary, data, size, tokens.ctypes.data, room, special, special)
        return int(count)

    def _in_pieces(self, text: str) -> Tokens:
        """Find the added tokens here, and let llama.cpp tokenise only the text between them."""
        pieces = [
            np.array([self._added_ids[piece]], dtype=np.int32)
            if index % 2
            else self._encode(piece, special=False)
            for index, piece in enumerate(self._added_tokens.split(text))
        ]
        # An empty text gives only the tokens that are added before and after every text.
        around = self._encode("")
        opening = len(around) - self.closing_tokens
        return np.concatenate([around[:opening], *pieces, around[opening:]])

    def _normalize(self, text: str) -> str:
        """Normalise between the added tokens, which the reference finds before it normalises."""
        parts = self._boundaries.split(text)
        return "".join(part if index % 2 else nfc(part) for index, part in enumerate(parts))

    @cached_property
    def _infill(self) -> frozenset[int]:
        """Tokens of code infilling, which llama.cpp takes for control tokens by their names."""
        names = ("pre", "suf", "mid", "pad", "rep", "sep")
        return frozenset(
            getattr(api, f"llama_vocab_fim_{name}")(self._vocabulary) for name in names
        )

    @cached_property
    def _added_ids(self) -> dict[str, int]:
        vocabulary = self._vocabulary
        ids = {
            api.llama_vocab_get_text(vocabulary, token).decode("utf-8", "replace"): token
            for token in range(api.llama_vocab_n_tokens(vocabulary))
            if api.llama_vocab_get_attr(vocabulary, token) & _CONTROL_OR_USER_DEFINED
        }
        ids.pop("", None)
        return ids

    @cached_property
    def _added_tokens(self) -> re.Pattern[str]:
        longest_first = sorted(self._added_ids, key=len, reverse=True)
        return re.compile("(" + ("|".join(map(re.escape, longest_first)) or "(?!)") + ")")

    @cached_property
    def _boundaries(self) -> re.Pattern[str]:
        return re.compile(f"{self._added_tokens.pattern[:-1]}|[{_AFTER_UNICODE_9}])")


def _strip_pattern(tokens: tuple[str, ...]) -> re.Pattern[str] | None:
    if not tokens:
        return None
    return re.compile(f"{_WHITE_SPACE}+(?={'|'.join(map(re.escape, tokens))})")


def _stack_for(text: str) -> int:
    """Return the stack size, in bytes, with which std::regex can match any part of a text.

    Raises:
        ModelError: the stack would be too large.

    """
    depth = len(text)
    if depth > _DEEPEST:
        # A match is one run of white space, one run of other characters, or two adjacent runs.
        depth = 2 * max(len(run) for run in re.findall(r"\s+|\S+", text))
    if depth > _DEEPEST:
        raise ModelError(
            f"llama.cpp cannot tokenise a run of {depth // 2:,} characters without white space"
        )
    return (8 << 20) + (depth * _STACK_FOR_CHARACTER >> 20 << 20)
