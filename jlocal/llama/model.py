"""A GGUF file loaded by llama.cpp, and its tokenizer."""

from __future__ import annotations

import ctypes
import os
import re
import unicodedata
import weakref
from functools import cached_property

import numpy as np
import numpy.typing as npt

from jlocal.errors import ModelError
from jlocal.llama.library import api, last_errors
from jlocal.models.profile import Profile

Tokens = npt.NDArray[np.int32]

# White_Space of the Unicode Character Database, which is what `lstrip` means in the tokenizers
# library; Python's \s has four separators more.
_WHITE_SPACE = "[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
_CONTROL_OR_USER_DEFINED = 8 | 16  # LLAMA_TOKEN_ATTR_CONTROL, LLAMA_TOKEN_ATTR_USER_DEFINED


class Model:
    """Weights and vocabulary, without a context."""

    def __init__(self, profile: Profile, gpu_layers: int) -> None:
        """Load the file.

        Args:
            profile: of the file to load.
            gpu_layers: how many layers to put on a GPU; -1 for all.

        Raises:
            ModelError: llama.cpp cannot load the file.

        """
        params = api.llama_model_default_params()
        params.n_gpu_layers = gpu_layers
        last_errors()
        handle = api.llama_model_load_from_file(os.fsencode(profile.path), params)
        if not handle:
            reason = last_errors() or "no reason given"
            raise ModelError(f"llama.cpp cannot load {profile.path}: {reason}")
        self.profile = profile
        self.handle = handle
        self._free = weakref.finalize(self, api.llama_model_free, handle)
        self.dimensions = int(api.llama_model_n_embd_out(handle))
        self._vocabulary = api.llama_model_get_vocab(handle)
        self._strip_before = _strip_pattern(profile.lstrip_tokens)

    def close(self) -> None:
        """Free the weights."""
        self._free()

    def tokenize(self, text: str) -> Tokens:
        """Token ids of a text as the reference tokenizer gives them, special tokens included.

        Raises:
            UnicodeEncodeError: the text has lone surrogates.
            ModelError: llama.cpp cannot tokenise it.

        """
        if self._strip_before:
            text = self._strip_before.sub("", text)
        if self.profile.normalizer == "NFC" and not unicodedata.is_normalized("NFC", text):
            text = self._normalize(text)
        data = text.encode("utf-8")
        # A byte-level BPE gives at most a token a byte; the rest is for special tokens.
        tokens = np.empty(len(data) + 8, dtype=np.int32)
        count = self._tokenize_into(data, tokens)
        if count < 0:
            tokens = np.empty(-count, dtype=np.int32)
            count = self._tokenize_into(data, tokens)
        if count < 0:
            raise ModelError(f"llama.cpp cannot tokenise a text of {len(data):,} bytes")
        return tokens[:count].copy()

    def _tokenize_into(self, data: bytes, tokens: Tokens) -> int:
        buffer = tokens.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
        return int(
            api.llama_tokenize(self._vocabulary, data, len(data), buffer, len(tokens), True, True)
        )

    def _normalize(self, text: str) -> str:
        """NFC between the added tokens: the reference finds those before it normalises."""
        parts = self._added_tokens.split(text)
        return "".join(
            part if index % 2 else unicodedata.normalize("NFC", part)
            for index, part in enumerate(parts)
        )

    @cached_property
    def _added_tokens(self) -> re.Pattern[str]:
        vocabulary = self._vocabulary
        texts = [
            api.llama_vocab_get_text(vocabulary, token).decode("utf-8", "replace")
            for token in range(api.llama_vocab_n_tokens(vocabulary))
            if api.llama_vocab_get_attr(vocabulary, token) & _CONTROL_OR_USER_DEFINED
        ]
        longest_first = sorted(filter(None, texts), key=len, reverse=True)
        return re.compile("(" + ("|".join(map(re.escape, longest_first)) or "(?!)") + ")")

    @cached_property
    def closing_tokens(self) -> int:
        """How many tokens the vocabulary adds after a text; truncation must keep them."""
        return int(bool(api.llama_vocab_get_add_eos(self._vocabulary)))


def _strip_pattern(tokens: tuple[str, ...]) -> re.Pattern[str] | None:
    if not tokens:
        return None
    return re.compile(f"{_WHITE_SPACE}+(?={'|'.join(map(re.escape, tokens))})")
