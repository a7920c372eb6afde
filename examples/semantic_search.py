"""Give an Embedder to what was written for a SentenceTransformer.

It needs: pip install sentence-transformers
"""

from sentence_transformers.util import semantic_search

from jlocal import Embedder

CORPUS = ["A man eats a piece of bread.", "A woman plays the violin.", "Two dogs run on the beach."]

model = Embedder("starter")
hits = semantic_search(
    model.encode_query(["somebody makes music", "animals outside"]),
    model.encode_document(CORPUS),
    top_k=1,
)
for found in hits:
    print(CORPUS[found[0]["corpus_id"]])
model.close()
