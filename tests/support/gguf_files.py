"""Helpers for tests of conversion: reading GGUF files, and changing checkpoints."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import gguf
from support.safetensors import Tensors, read_safetensors, write_json, write_safetensors

PARTS = (
    *(f"self_attn.{part}" for part in ("q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm")),
    *("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"),
    *("input_layernorm", "post_attention_layernorm"),
)
# The types that each checkpoint is converted to.
KINDS = ("F32", "F16", "BF16", "Q8_0")
# The numbers of GGUF's types, with struct's letters.
SCALARS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))
ARCHITECTURES = {"qwen3": gguf.MODEL_ARCH.QWEN3, "eurobert": gguf.MODEL_ARCH.EUROBERT}


class GGUF:
    """A GGUF file, read at once: gguf.GGUFReader takes seconds for a real vocabulary."""

    def __init__(self, path: Path) -> None:
        """Read the header: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md."""
        self.data, self.position = path.read_bytes(), 4
        assert self.data[:4] == b"GGUF"
        version, tensor_count, key_count = self.unpack("IQQ")
        assert version == 3
        self.types: dict[str, tuple[int, ...]] = {}
        self.values: dict[str, Any] = {}
        for _ in range(key_count):
            key = self.string()
            assert key not in self.values
            self.types[key], self.values[key] = self.value()
        self.tensors = [self.tensor() for _ in range(tensor_count)]
        self.start = -(-self.position // 32) * 32

    def unpack(self, code: str) -> tuple[Any, ...]:
        found = struct.unpack_from(f"<{code}", self.data, self.position)
        self.position += struct.calcsize(f"<{code}")
        return found

    def string(self) -> str:
        (length,) = self.unpack("Q")
        self.position += length
        return self.data[self.position - length : self.position].decode()

    def value(self) -> tuple[tuple[int, ...], Any]:
        (kind,) = self.unpack("I")
        if kind == 8:
            return (kind,), self.string()
        if kind != 9:
            return (kind,), self.unpack(SCALARS[kind])[0]
        item, count = self.unpack("IQ")
        if item == 8:
            return (kind, item), [self.string() for _ in range(count)]
        return (kind, item), list(self.unpack(f"{count}{SCALARS[item]}"))

    def tensor(self) -> tuple[str, tuple[int, ...], gguf.GGMLQuantizationType, int]:
        name = self.string()
        (dimensions,) = self.unpack("I")
        shape = self.unpack(f"{dimensions}Q")[::-1]
        kind, offset = self.unpack("IQ")
        return name, shape, gguf.GGMLQuantizationType(kind), offset

    def rows(
        self, shape: tuple[int, ...], kind: gguf.GGMLQuantizationType, offset: int
    ) -> npt.NDArray[np.uint8]:
        """Return a tensor's bytes, row by row."""
        block, size = gguf.GGML_QUANT_SIZES[kind]
        count = prod(shape) // block * size
        assert self.start + offset + count <= len(self.data)
        found = np.frombuffer(self.data, np.uint8, count, self.start + offset)
        return found.reshape(*shape[:-1], -1)


def values(path: Path) -> dict[str, Any]:
    """Key -> value of all metadata."""
    return GGUF(path).values


def tensor_bytes(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Name -> (type, shape, bytes) of all tensors."""
    file = GGUF(path)
    return {
        name: (kind.name, shape, file.rows(shape, kind, offset).tobytes())
        for name, shape, kind, offset in file.tensors
    }


def weights(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """Return all tensors as float32, under the names that transformers gives them."""
    file = GGUF(path)
    architecture = ARCHITECTURES[file.values["general.architecture"]]
    table = gguf.get_tensor_name_map(architecture, 8)
    tensors = {
        name: gguf.quants.dequantize(file.rows(shape, kind, offset), kind)
        for name, shape, kind, offset in file.tensors
    }
    parts = [f"layers.{layer}.{part}" for layer in range(8) for part in PARTS]
    named = {}
    for name in ("embed_tokens", "norm", *parts):
        ours = table.get_name(f"model.{name}.weight", (".weight",))
        if ours in tensors:
            named[f"{name}.weight"] = tensors.pop(ours)
    assert not tensors
    return named


def variant(base: Path, folder: Path) -> Path:
    """Copy a checkpoint by hard links; replace a file to change it, as `edit` does."""
    shutil.copytree(base, folder, copy_function=os.link)
    return folder


def few_tokens(folder: Path, size: int = 2048) -> Path:
    """Keep the first tokens and the added ones, so that conversions are quick."""
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    added, model = tokenizer["added_tokens"], tokenizer["model"]
    kept = size - 256 - len(added)
    model["vocab"] = {token: i for token, i in model["vocab"].items() if i < kept}
    known = set(model["vocab"])
    model["merges"] = [pair for pair in model["merges"] if {*pair, "".join(pair)} <= known]
    moved = {token["id"]: kept + number for number, token in enumerate(added)}
    for token in added:
        token["id"] = moved[token["id"]]
    for processor in tokenizer["post_processor"].get("processors", []):
        for token in processor.get("special_tokens", {}).values():
            token["ids"] = [moved[number] for number in token["ids"]]
    replace(path, json.dumps(tokenizer).encode())
    config = json.loads((folder / "config.json").read_text())
    ids = {key: moved[config[key]] for key in config if key.endswith("_token_id")}
    edit(folder / "config.json", vocab_size=size, **ids)

    def cut(tensors: Tensors) -> None:
        for name in tensors:
            if name.endswith("embed_tokens.weight"):
                tensors[name] = tensors[name][:size]

    for file in folder.glob("model*.safetensors"):
        edit_tensors(file, cut)
    return folder


def edit(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file; None removes one."""
    values = json.loads(path.read_text()) | changes
    path.unlink()
    write_json(path, {key: value for key, value in values.items() if value is not None})


def replace(path: Path, content: bytes) -> None:
    """Give a file another content."""
    path.unlink()
    path.write_bytes(content)


def edit_tensors(path: Path, change: Callable[[Tensors], Any], dtype: str | None = None) -> None:
    """Change the tensors of a safetensors file; they keep their type if none is given."""
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    kept = next(entry["dtype"] for entry in header.values() if "dtype" in entry)
    tensors = read_safetensors(path)
    change(tensors)
    path.unlink()
    write_safetensors(path, tensors, dtype or kept)


def edit_header(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the header of a safetensors file, and leave its data alone."""
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    change(header)
    text = json.dumps(header).encode()
    replace(path, len(text).to_bytes(8, "little") + text + content[end:])


def patch(source: Path, target: Path, key: str, old: int, new: int) -> None:
    """Copy a file with another value of a 32-bit key."""
    data = bytearray(source.read_bytes())
    name = key.encode()
    start = data.index(len(name).to_bytes(8, "little") + name) + 8 + len(name) + 4
    assert data[start : start + 4] == old.to_bytes(4, "little")
    data[start : start + 4] = new.to_bytes(4, "little")
    target.write_bytes(data)


def placeholder(path: Path, megabytes: int = 0) -> bytes:
    """Write a GGUF file with a valid header and meaningless weights."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, "qwen3")
    writer.add_name(path.stem)
    writer.add_context_length(40_960)
    writer.add_embedding_length(1024)
    rng = np.random.default_rng(len(path.name))
    writer.add_tensor("x", rng.integers(0, 127, (megabytes << 20) + 999, np.int8))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


class Editable:
    """A GGUF file whose metadata and tensor table can be changed, also to invalid values.

    Attributes:
        keys: key -> (type, value): the type's number and a Python value, or (9, item type) and a
            list; bytes are written as they are.
        tensors: [name, shape as in the file, type, offset].

    """

    def __init__(self, path: Path) -> None:
        file = GGUF(path)
        self.keys: dict[str, tuple[tuple[int, ...], Any]] = {
            key: (file.types[key], value) for key, value in file.values.items()
        }
        self.tensors: list[list[Any]] = [
            [name, shape[::-1], int(kind), offset] for name, shape, kind, offset in file.tensors
        ]
        self.weights = file.data[file.start :]

    def copy(self) -> Editable:
        other = object.__new__(Editable)
        other.keys, other.weights = dict(self.keys), self.weights
        other.tensors = [list(row) for row in self.tensors]
        return other

    def set(self, key: str, kind: int | tuple[int, ...], value: Any) -> Editable:
        """Return a copy with another value of a key."""
        other = self.copy()
        other.keys[key] = (kind if isinstance(kind, tuple) else (kind,), value)
        return other

    def without(self, key: str) -> Editable:
        """Return a copy without a key."""
        other = self.copy()
        other.keys.pop(key, None)
        return other

    def shaped(self, tensor: str, **changes: Any) -> Editable:
        """Return a copy with another name, shape, kind or offset of a tensor."""
        other = self.copy()
        row = next(row for row in other.tensors if row[0] == tensor)
        for position, field in enumerate(("name", "shape", "kind", "offset")):
            row[position] = changes.get(field, row[position])
        return other

    def write(self, path: Path) -> Path:
        alignment = self.keys.get("general.alignment", ((4,), 32))[1]
        parts = [b"GGUF", struct.pack("<IQQ", 3, len(self.tensors), len(self.keys))]
        for key, (kind, value) in self.keys.items():
            parts += [_string(key), struct.pack("<I", kind[0])]
            if kind[0] == 9:
                parts.append(struct.pack("<IQ", kind[1], len(value)))
                if kind[1] == 8:
                    parts += map(_string, value)
                else:
                    parts.append(struct.pack(f"<{len(value)}{SCALARS[kind[1]]}", *value))
            else:
                parts.append(_string(value) if kind[0] == 8 else _scalar(kind[0], value))
        for name, shape, kind_number, offset in self.tensors:
            sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
            parts += [_string(name), sizes, struct.pack("<IQ", kind_number, offset)]
        head = b"".join(parts)
        if not isinstance(alignment, int) or not 0 < alignment < 1 << 20:
            alignment = 32
        path.write_bytes(head + bytes(-len(head) % alignment) + self.weights)
        return path


def _string(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def _scalar(kind: int, value: Any) -> bytes:
    return value if isinstance(value, bytes) else struct.pack(f"<{SCALARS[kind]}", value)
