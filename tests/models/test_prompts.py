"""Prompts of queries and of documents."""

from jlocal.models.prompts import document_prompt, query_prompt


def test_the_most_usual_name_comes_first() -> None:
    assert document_prompt(["corpus", "query", "passage"]) == "passage"
    assert document_prompt({"corpus": "", "document": "d: "}) == "document"
    assert query_prompt({"document": "", "query": ""}) == "query"
    assert query_prompt([]) is document_prompt(["query"]) is None
