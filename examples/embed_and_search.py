"""Embed a few texts and find the one that answers a question; the model comes with jlocal."""

from jlocal import Embedder

NOTES = [
    "Restic backs up the server each night.",
    "The apple tree is pruned in February.",
    "The team meets on Tuesday.",
]

with Embedder() as model:
    documents = model.encode_document(NOTES)
    query = model.encode_query("when do we cut the branches of the tree?")
    scores = model.similarity(query, documents)[0]

print(documents.shape, documents.dtype)
print(NOTES[int(scores.argmax())])
