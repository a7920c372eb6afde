"""Tokens of texts, for the protocols that ask for them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jlocal.server.models import ServedModel
from jlocal.server.problem import invalid
from jlocal.server.service import Service

if TYPE_CHECKING:
    from jlocal.llama.offsets import Piece


async def tokenize(
    service: Service, model: ServedModel, texts: Sequence[str], prompt_name: str | None = None
) -> list[list[Piece]]:
    """Return the tokens of texts, each after a prompt; None is no prompt.

    Raises:
        Problem, JlocalError: there are too many texts, or no such prompt.

    """
    service.check_count(len(texts), "inputs")
    async with service.pool.loaded_model(model) as embedder:
        prompt = embedder.prompt_text(None, prompt_name) if prompt_name else ""
        tokenizer = embedder.preparer().runtime.tokenizer

        def located() -> list[list[Piece]]:
            from jlocal.llama.offsets import locate

            return [locate(tokenizer, prompt + text) for text in texts]

        return await asyncio.to_thread(located)


async def decode(
    service: Service,
    model: ServedModel,
    sequences: Sequence[Sequence[int]],
    *,
    skip_special: bool,
) -> list[str]:
    """Return the texts of sequences of token ids.

    Raises:
        Problem, JlocalError: an id is not in the vocabulary of the model.

    """
    async with service.pool.loaded_model(model) as embedder:
        runtime = embedder.preparer().runtime
        size = runtime.model.vocabulary
        for tokens in sequences:
            for token in tokens:
                if not 0 <= token < size:
                    raise invalid(f"the token id {token} is not below {size:,}", "ids")

        def decoded() -> list[str]:
            return [
                runtime.tokenizer.decode(tokens, skip_special=skip_special) for tokens in sequences
            ]

        return await asyncio.to_thread(decoded)


def read_ids(value: object, name: str) -> list[int]:
    """Check a list of token ids.

    Raises:
        Problem: it is anything else.

    """
    if not isinstance(value, list) or not all(type(token) is int for token in value):
        raise invalid(f"{name} is a list of token ids", name)
    return value
