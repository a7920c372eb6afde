"""Texts become tokens here: the prompt, the tokenizer and the limit. It knows no batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from jlocal.arguments import no_text
from jlocal.errors import TextError, TextTooLongError, TruncationWarning
from jlocal.llama.executor import why_not_finite
from jlocal.llama.runtime import Runtime
from jlocal.llama.tokenizer import Tokens
from jlocal.vectors import Floats

# The side on which tokens are dropped.
Truncation = Literal["left", "right"]


@dataclass(frozen=True)
class Preparer:
    """Turns texts into the sequences that a scheduler takes.

    Attributes:
        runtime: an open model.
        prompt: the prefix of each text.
        limit: the most tokens in one text, prompt and special tokens included.
        truncation: the side on which a longer text loses tokens; None makes it an error.

    """

    runtime: Runtime
    prompt: str
    limit: int
    truncation: Truncation | None = None

    def tokens(self, index: int, text: object) -> Tokens:
        """Return the token ids of the prompt and a text, of any length.

        Raises:
            TextError: the value is not text.

        """
        if not isinstance(text, str):
            raise TextError(no_text(text), index)
        try:
            return self.runtime.tokenizer.encode(self.prompt + text)
        except UnicodeEncodeError as error:
            start = error.start - len(self.prompt)
            where = f"at character {start}" if start >= 0 else "in its prompt"
            raise TextError(
                f"has a lone surrogate {where}; decode it from its bytes again", index
            ) from None

    def fit(self, index: int, tokens: Tokens) -> tuple[Tokens, TruncationWarning | None]:
        """Return at most `limit` tokens, and a warning if tokens were dropped.

        The special tokens around the text are kept.

        Raises:
            TextTooLongError: the text is too long, and is not to be truncated.
            TextError: there are no tokens.

        """
        count, limit = len(tokens), self.limit
        if count == 0:
            raise TextError("is empty, and without a prompt there is nothing to pool", index)
        if count <= limit:
            return tokens, None
        if self.truncation is None:
            raise TextTooLongError(index, count, limit)
        tokenizer = self.runtime.tokenizer
        if self.truncation == "right":
            kept = max(0, limit - tokenizer.closing_tokens)
        else:
            kept = min(limit, tokenizer.opening_tokens)
        cut = np.concatenate([tokens[:kept], tokens[count - limit + kept :]])
        return cut, TruncationWarning(index, count, limit)

    def fault(self, vector: Floats, dimensions: int) -> TextError | None:
        """Return why a vector has no direction; None if it has one.

        Args:
            vector: (d,) float32.
            dimensions: how many leading components will be kept.

        """
        if not np.isfinite(vector).all():
            return TextError(why_not_finite(self.runtime.model.profile.file_type))
        if not vector[:dimensions].any():
            return TextError(
                "has no vector: the model gives only zeros for it; download or convert the model "
                "again"
            )
        return None
