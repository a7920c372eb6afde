"""The texts of a request, in the forms that the protocols share."""

from __future__ import annotations

from collections.abc import Sequence

from jlocal.server.fields import Fields, wrong
from jlocal.server.models import Side
from jlocal.server.problem import Kind, Problem, invalid

Input = str | Sequence[int]

_FOREIGN_IDS = (
    "the input is token ids, and another model's ids mean nothing here; send texts, as langchain-"
    "openai does once check_embedding_ctx_length is False, or start the server with --token-ids"
)
# Names that several APIs have for the two sides.
INPUT_TYPES: dict[str, Side] = {
    "query": "query",
    "search_query": "query",
    "document": "document",
    "passage": "document",
    "search_document": "document",
}


def read_inputs(fields: Fields, name: str, *, takes_token_ids: bool) -> list[Input]:
    """Read a text, a list of texts, or where the server takes them the same of token ids.

    Raises:
        Problem: the field is missing, empty, or holds anything else.

    """
    value = fields.get(name)
    if value is None:
        raise invalid(f"{name} is missing: send a text, or a list of texts", name)
    items = value if isinstance(value, list) else [value]
    if items and all(type(item) is int for item in items):
        items = [items]
    if not items:
        raise Problem(Kind.EMPTY, f"{name} is empty: send at least one text", parameter=name)
    return [_input(item, name, takes_token_ids) for item in items]


def _input(item: object, name: str, takes_token_ids: bool) -> Input:
    if isinstance(item, dict) and isinstance(item.get("text"), str):
        item = item["text"]
    if isinstance(item, str):
        return item
    if isinstance(item, list) and item and all(type(token) is int for token in item):
        if not takes_token_ids:
            raise invalid(_FOREIGN_IDS, name)
        return item
    raise wrong(name, item, "it is a text, or a list of texts")
