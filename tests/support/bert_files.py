"""A small random BERT model with a WordPiece vocabulary, as llama.cpp's converter writes them."""

from __future__ import annotations

import string
from pathlib import Path

import numpy as np

import gguf

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LETTERS = string.ascii_lowercase + string.digits + string.punctuation
VOCABULARY = (*SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS), "the", "cat", "##ing")
CONTEXT, WIDTH, INNER, LAYERS = 64, 32, 64, 2


def bert_file(path: Path, **keys: bool) -> Path:
    """Write a model.

    Args:
        path: of the file.
        keys: more keys under tokenizer.ggml, `add_eos_token` for instance.

    """
    random = np.random.default_rng(7)
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_name("bert for tests")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_block_count(LAYERS)
    writer.add_head_count(2)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.CLS)
    writer.add_file_type(0)
    writer.add_tokenizer_model("bert")
    writer.add_token_type_count(2)
    # llama.cpp marks the beginnings of words, WordPiece marks their continuations.
    words = [
        token if token in SPECIAL else token[2:] if token[:2] == "##" else f"\u2581{token}"
        for token in VOCABULARY
    ]
    writer.add_token_list(words)
    writer.add_token_types([3 if token in SPECIAL else 1 for token in VOCABULARY])
    for name, token in (("unk", "[UNK]"), ("bos", "[CLS]"), ("sep", "[SEP]"), ("pad", "[PAD]")):
        getattr(writer, f"add_{name}_token_id")(VOCABULARY.index(token))
    for key, value in keys.items():
        writer.add_bool(f"tokenizer.ggml.{key}", value)

    def add(name: str, *shape: int) -> None:
        values = random.standard_normal(shape, dtype=np.float32) / np.float32(shape[-1] ** 0.5)
        writer.add_tensor(name, values)

    def norm(name: str) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))
        writer.add_tensor(f"{name}.bias", np.zeros(WIDTH, np.float32))

    add("token_embd.weight", len(VOCABULARY), WIDTH)
    add("position_embd.weight", CONTEXT, WIDTH)
    add("token_types.weight", 2, WIDTH)
    norm("token_embd_norm")
    for layer in range(LAYERS):
        for part, rows, columns in (
            *((f"attn_{name}", WIDTH, WIDTH) for name in ("q", "k", "v", "output")),
            ("ffn_up", INNER, WIDTH),
            ("ffn_down", WIDTH, INNER),
        ):
            add(f"blk.{layer}.{part}.weight", rows, columns)
            writer.add_tensor(f"blk.{layer}.{part}.bias", np.zeros(rows, np.float32))
        norm(f"blk.{layer}.attn_output_norm")
        norm(f"blk.{layer}.layer_output_norm")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
