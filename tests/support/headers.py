"""GGUF headers, written by hand: valid ones, and any invalid ones that a test needs."""

from __future__ import annotations

import struct


def string(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def key(name: str, kind: int, value: bytes) -> bytes:
    return string(name.encode()) + struct.pack("<I", kind) + value


def text(name: str, value: str) -> bytes:
    return key(name, 8, string(value.encode()))


def uint32(name: str, value: int) -> bytes:
    return key(name, 4, struct.pack("<I", value))


def array(name: str, kind: int, count: int, items: bytes = b"") -> bytes:
    return key(name, 9, struct.pack("<IQ", kind, count) + items)


def tensor(name: str, shape: tuple[int, ...], offset: int, kind: int = 0) -> bytes:
    table = string(name.encode()) + struct.pack("<I", len(shape))
    return table + b"".join(struct.pack("<Q", n) for n in shape) + struct.pack("<IQ", kind, offset)


def gguf(
    keys: list[bytes],
    tensors: list[bytes] | None = None,
    *,
    version: int = 3,
    key_count: int | None = None,
    tensor_count: int | None = None,
    data: bytes = bytes(64),
) -> bytes:
    tensors = tensors or []
    head = b"GGUF" + struct.pack(
        "<IQQ",
        version,
        len(tensors) if tensor_count is None else tensor_count,
        len(keys) if key_count is None else key_count,
    )
    body = head + b"".join(keys) + b"".join(tensors)
    return body + bytes(-len(body) % 32) + data


SOUND = [
    text("general.architecture", "qwen3"),
    uint32("qwen3.context_length", 40960),
    uint32("qwen3.embedding_length", 64),
    uint32("qwen3.pooling_type", 3),
]
