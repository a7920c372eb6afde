"""Stored references: the vectors of a model, with their texts, in one npz file.

Members, in the layout of numpy: `metadata`, a string of JSON; `texts`, the UTF-8 bytes of all
texts, and `offsets` (n + 1,) int64, the start of each text and the end of the last; for each prompt
number i of the metadata `vectors_i` (n, d) float16 or float32, `tokens_i` (n,) int64 and
`digests_i` (n,) uint64. The file is untrusted: sizes are limited before anything is unpacked,
shapes and types are checked against them, and nothing is ever unpickled.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jlocal.errors import ModelError, VerifyError
from jlocal.files import open_regular
from jlocal.outputs.atomic import atomic_write
from jlocal.vectors import Vectors, normalize
from jlocal.verify.encoders import Encoded, ModelInfo, check_vectors
from jlocal.verify.texts import Text, digest

_FORMAT = "jlocal reference 1"
_MAX_BYTES = 1 << 30
_MAX_MEMBERS = 256
_MAX_NAME = 400
_FOLDER = Path(__file__).with_name("references")


class StoredEncoder:
    """A file of `write_reference`, which can encode only its own texts."""

    def __init__(self, path: Path) -> None:
        """Read and check the whole file.

        Raises:
            VerifyError: the file cannot be read, or is not a reference.

        """
        self.texts: Sequence[Text]
        try:
            with open_regular(path) as file, zipfile.ZipFile(file) as archive:
                self.info, self.texts, self._encoded = _Reader(archive, path).read()
        except OSError as error:
            raise VerifyError(
                f"cannot read {path}: {error.strerror or error}", path=path
            ) from error
        except ModelError as error:
            raise VerifyError(error.message, path=path) from error
        # The exceptions of zipfile and numpy for damaged, encrypted or foreign files.
        except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise VerifyError(
                f"{path} is not a reference that jlocal stored: {reason}", path=path
            ) from error

    def encode(
        self, texts: Sequence[Text], prompts: Mapping[str, str], *, show_progress: bool
    ) -> Encoded:
        """Return the stored vectors; the arguments must be those of the file."""
        del texts, prompts, show_progress
        return self._encoded


def write_reference(path: Path, info: ModelInfo, texts: Sequence[Text], encoded: Encoded) -> None:
    """Store a model's vectors with their texts.

    Args:
        path: the file, which appears when it is complete.
        info: the model's properties, with the prompts that were used.
        texts: the encoded texts.
        encoded: their vectors.

    Raises:
        OutputError: the file cannot be written; no part of it remains.

    """
    parts = [text.text.encode("utf-8") for text in texts]
    metadata = vars(info) | {
        "format": _FORMAT,
        "name": "".join(c if c.isprintable() else "\ufffd" for c in info.name)[:_MAX_NAME],
        "prompts": dict(info.prompts),
        "matryoshka": list(info.matryoshka),
        "origin": Path(info.origin).name,
        "limit": encoded.limit,
        "computed": encoded.computed,
        "languages": [text.language for text in texts],
        "texts_sha256": digest(texts),
    }
    arrays: dict[str, Vectors] = {
        "metadata": np.array(json.dumps(metadata)),
        "texts": np.frombuffer(b"".join(parts), np.uint8),
        "offsets": np.cumsum([0, *map(len, parts)], dtype=np.int64),
    }
    for number, name in enumerate(info.prompts):
        arrays[f"vectors_{number}"] = encoded.vectors[name]
        arrays[f"tokens_{number}"] = encoded.tokens[name]
        arrays[f"digests_{number}"] = encoded.digests[name]
    with atomic_write(path) as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def shipped_reference(model: str) -> Path | None:
    """Return the reference that comes with jlocal for a model of this name; None without one."""
    stem = "".join(c if c.isascii() and c.isalnum() else "-" for c in model.lower())
    return next((path for path in _FOLDER.glob("*.npz") if path.stem == stem), None)


class _Reader:
    """Reads and checks the members of a file; ValueError says what is wrong."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self._archive, self._path = archive, path
        members = archive.infolist()
        if len(members) > _MAX_MEMBERS or len({m.filename for m in members}) < len(members):
            raise ValueError("it has too many members, or two of a name")
        if sum(member.file_size for member in members) > _MAX_BYTES:
            raise ValueError(f"unpacked it has more than {_MAX_BYTES:,} bytes")
        self._members = {member.filename: member for member in members}

    def read(self) -> tuple[ModelInfo, Sequence[Text], Encoded]:
        metadata = self._metadata()
        texts = self._texts(metadata)
        info = _info(metadata, self._path)
        size, names = len(texts), list(enumerate(info.prompts))
        shape = (size, info.dimensions)
        encoded = Encoded(
            {name: self._vectors(f"vectors_{i}", shape) for i, name in names},
            {name: self._array(f"tokens_{i}", ("i8",), (size,)) for i, name in names},
            {name: self._array(f"digests_{i}", ("u8",), (size,)) for i, name in names},
            np.arange(size),
            {},
            _integer(metadata, "limit"),
            _string(metadata, "computed"),
        )
        if digest(texts) != metadata.get("texts_sha256"):
            raise ValueError("its texts are not those that it says")
        check_vectors(encoded.vectors, texts, str(self._path))
        unit = {name: normalize(rows) for name, rows in encoded.vectors.items()}
        return info, texts, replace(encoded, vectors=unit)

    def _metadata(self) -> dict[str, Any]:
        array = self._array("metadata", ("U",), ())
        try:
            value = json.loads(str(array))
        except RecursionError:
            value = None
        if not isinstance(value, dict) or value.get("format") != _FORMAT:
            raise ValueError(f"its metadata does not say {_FORMAT!r}")
        return value

    def _texts(self, metadata: Mapping[str, Any]) -> list[Text]:
        languages = metadata.get("languages")
        if not isinstance(languages, list) or not languages:
            raise ValueError("its metadata has no languages")
        data = self._array("texts", ("u1",), None).tobytes()
        offsets = self._array("offsets", ("i8",), (len(languages) + 1,))
        if offsets[0] != 0 or offsets[-1] != len(data) or (np.diff(offsets) < 0).any():
            raise ValueError("its offsets do not divide its texts")
        ends = offsets.tolist()
        strings = [data[a:b].decode("utf-8") for a, b in itertools.pairwise(ends)]
        rows = zip(languages, strings, strict=True)
        return [Text(_name(language, "language"), string) for language, string in rows]

    def _vectors(self, name: str, shape: tuple[int, int]) -> Vectors:
        return self._array(name, ("f2", "f4"), shape).astype(np.float32)

    def _array(self, name: str, types: Sequence[str], shape: tuple[int, ...] | None) -> Vectors:
        """Read an array of one of these types and this shape; None is any one-dimensional shape."""
        member = self._members.get(f"{name}.npy")
        if member is None:
            raise ValueError(f"it has no {name}")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{name} is compressed in another way than numpy's")
        content = self._archive.read(member)
        stream = io.BytesIO(content)
        actual_shape, fortran, dtype = _header(stream)
        if (dtype.kind if dtype.kind == "U" else dtype.str[1:]) not in types or fortran:
            raise ValueError(f"{name} is of type {dtype}, not {' or '.join(types)}")
        if (len(actual_shape) != 1) if shape is None else (actual_shape != shape):
            raise ValueError(f"{name} has the shape {actual_shape}, not {shape}")
        if math.prod(actual_shape) * dtype.itemsize != len(content) - stream.tell():
            raise ValueError(f"{name} has another size than its header says")
        array: Vectors = np.frombuffer(content, dtype, offset=stream.tell()).reshape(actual_shape)
        return array


def _header(stream: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"an array is in format {version}")
    read = np.lib.format.read_array_header_1_0
    return (read if version == (1, 0) else np.lib.format.read_array_header_2_0)(stream)


def _info(metadata: Mapping[str, Any], path: Path) -> ModelInfo:
    prompts = metadata.get("prompts")
    if not isinstance(prompts, dict) or not prompts:
        raise ValueError("its metadata has no prompts")
    if not all(isinstance(prefix, str) for prefix in prompts.values()):
        raise ValueError("its prompts are not texts")
    dimensions, lengths = _integer(metadata, "dimensions"), metadata.get("matryoshka")
    if not isinstance(lengths, list) or not all(
        _is_integer(length) and length <= dimensions for length in lengths
    ):
        raise ValueError("its Matryoshka dimensions are not numbers up to its dimensions")
    optional = {
        key: None if metadata.get(key) is None else _string(metadata, key)
        for key in ("weights", "task", "source_sha256")
    }
    return ModelInfo(
        name=_string(metadata, "name"),
        origin=str(path),
        kind="stored",
        sha256=_string(metadata, "sha256"),
        dimensions=dimensions,
        matryoshka=tuple(lengths),
        prompts={_name(name, "prompt"): prefix for name, prefix in prompts.items()},
        **optional,
    )


def _string(metadata: Mapping[str, Any], key: str) -> str:
    return _name(metadata.get(key), key)


def _name(value: object, key: str) -> str:
    """Check a string that will be printed."""
    if not isinstance(value, str) or len(value) > _MAX_NAME or not value.isprintable():
        raise ValueError(f"its {key} is not printable text of at most {_MAX_NAME} characters")
    return value


def _integer(metadata: Mapping[str, Any], key: str) -> int:
    value: Any = metadata.get(key)
    if not _is_integer(value):
        raise ValueError(f"its {key} is not a number")
    return int(value)


def _is_integer(value: Any) -> bool:
    return type(value) is int and 0 < value < 1 << 31
