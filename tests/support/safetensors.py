"""Read and write safetensors files in numpy: its own numpy reader and writer know no BF16."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Tensors = dict[str, npt.NDArray[np.float32]]


def write_json(path: Path, value: Any) -> None:
    """Write JSON as people read it."""
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def write_weights(folder: Path, tensors: Tensors, dtype: str, shards: int) -> None:
    """Write model.safetensors, or shards and their index."""
    if shards == 1:
        write_safetensors(folder / "model.safetensors", tensors, dtype)
        return
    names = sorted(tensors)
    placed = {}
    for number in range(shards):
        file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        part = {name: tensors[name] for name in names[number::shards]}
        write_safetensors(folder / file, part, dtype)
        placed |= dict.fromkeys(part, file)
    total = sum(tensor.size for tensor in tensors.values()) * (4 if dtype == "F32" else 2)
    index = {"metadata": {"total_size": total}, "weight_map": placed}
    write_json(folder / "model.safetensors.index.json", index)


def read_weights(folder: Path) -> Tensors:
    """Read all tensors of a checkpoint as float32."""
    files = sorted(folder.glob("model*.safetensors"))
    return {name: tensor for file in files for name, tensor in read_safetensors(file).items()}


def write_safetensors(path: Path, tensors: Tensors, dtype: str = "BF16") -> None:
    """Write tensors, all in one type."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    parts = []
    end = 0
    for name, tensor in sorted(tensors.items()):
        data = encode(tensor, dtype)
        start, end = end, end + len(data)
        header[name] = {"dtype": dtype, "shape": tensor.shape, "data_offsets": [start, end]}
        parts.append(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.writelines(parts)


def read_safetensors(path: Path) -> Tensors:
    """Read all tensors as float32."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header.pop("__metadata__", None)
    return {
        name: decode(content[start + a : start + b], info["dtype"]).reshape(info["shape"])
        for name, info in header.items()
        for a, b in [info["data_offsets"]]
    }


def encode(tensor: npt.NDArray[np.float32], dtype: str) -> bytes:
    """Return the bytes of a tensor in F32, F16 or BF16 (rounded to nearest, ties to even)."""
    if dtype == "BF16":
        bits = np.ascontiguousarray(tensor).view(np.uint32)
        rounded = bits + (np.uint32(0x7FFF) + ((bits >> 16) & 1))
        return (rounded >> 16).astype("<u2").tobytes()
    return tensor.astype({"F32": "<f4", "F16": "<f2"}[dtype]).tobytes()


def decode(data: bytes, dtype: str) -> npt.NDArray[np.float32]:
    """Undo `encode`."""
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(data, {"F32": "<f4", "F16": "<f2"}[dtype]).astype(np.float32)
