"""Checkpoints and stored references that are not what they should be: hostile until checked."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jlocal.errors import ArgumentError, CheckpointError, ModelError, VerifyError
from jlocal.verify import save_reference, verify
from jlocal.verify.stored import StoredEncoder
from jlocal_convert.reference import CheckpointEncoder
from support.safetensors import read_safetensors, write_json, write_safetensors

# Checkpoints that are not what they should be


def changed(folder: Path, checkpoint: Path, **config: object) -> Path:
    """Copy a checkpoint; links spare the weights."""
    shutil.copytree(checkpoint, folder, copy_function=os.link)
    old = json.loads((folder / "config.json").read_text())
    (folder / "config.json").unlink()
    write_json(folder / "config.json", {**old, **config})
    return folder


def read(checkpoint: Path, target: Path) -> None:
    """Store what the checkpoint gives for a text, which reads all of it."""
    save_reference(
        checkpoint, target, task="retrieval", texts=["a"], open_checkpoint=CheckpointEncoder
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"hidden_size": 1 << 30}, "do not belong together"),
        (
            {"num_hidden_layers": 10**6},
            "num_hidden_layers is 1000000, .* from 1 to 1,000$",
        ),
        ({"vocab_size": "many"}, "vocab_size is 'many', but should be an integer"),
        ({"model_type": "bert", "auto_map": {"AutoModel": "x.Y"}}, "names the model type 'bert'"),
        ({"rope_scaling": {"type": "yarn", "factor": 4}}, "scales its positions"),
    ],
)
def test_another_configuration(config, message, small_checkpoint, tmp_path) -> None:
    folder = changed(tmp_path / "changed", small_checkpoint, **config)
    with pytest.raises(CheckpointError, match=message):
        read(folder, tmp_path / "a.npz")
    assert not (tmp_path / "a.npz").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *(
            "config.json",
            "tokenizer.json",
            "model.safetensors",
            "config_sentence_transformers.json",
        ),
        *("adapters/retrieval/adapter_config.json", "adapters/retrieval/adapter_model.safetensors"),
    ],
)
def test_what_is_no_regular_file_is_refused_at_once(name, small_checkpoint, tmp_path) -> None:
    folder = changed(tmp_path / "changed", small_checkpoint)
    makers = (os.mkfifo, lambda path: path.symlink_to("/dev/zero"), os.mkdir)
    for number, make in enumerate(makers):
        (folder / name).rename(tmp_path / f"away-{number}")
        make(folder / name)
        with pytest.raises(CheckpointError, match="cannot read"):
            read(folder, tmp_path / "a.npz")


@pytest.mark.slow
def test_no_number_and_no_token(small_checkpoint, tmp_path) -> None:
    folder = changed(tmp_path / "changed", small_checkpoint)
    sentence = folder / "config_sentence_transformers.json"
    sentence.unlink()
    write_json(sentence, {"prompts": {"document": ""}})
    target = tmp_path / "a.npz"
    with pytest.raises(ArgumentError, match="makes no token of the text ''"):
        save_reference(
            folder, target, task="retrieval", texts=["a", ""], open_checkpoint=CheckpointEncoder
        )
    weights = folder / "model.safetensors"
    tensors = read_safetensors(weights)
    tensors["norm.weight"][0] = np.nan
    weights.unlink()
    write_safetensors(weights, tensors)
    with pytest.raises(ModelError, match="no usable vector"):
        save_reference(
            folder, target, task="retrieval", texts=["a"], open_checkpoint=CheckpointEncoder
        )
    (folder / "adapters" / "retrieval" / "adapter_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="adapter_model"):
        save_reference(
            folder, target, task="retrieval", texts=["a"], open_checkpoint=CheckpointEncoder
        )
    assert not target.exists()


# Files that are not what they say


def tamper(stored: Path, target: Path, **arrays: object) -> Path:
    """Copy a reference with other members; None leaves one out."""
    with np.load(stored, allow_pickle=False) as file:
        members = {name: file[name] for name in file.files} | arrays
    np.savez(target, **{name: array for name, array in members.items() if array is not None})
    return target


def metadata_of(stored: Path, **values: object) -> np.ndarray:
    with np.load(stored, allow_pickle=False) as file:
        return np.array(json.dumps(json.loads(str(file["metadata"])) | values))


def with_nan(stored: Path) -> np.ndarray:
    with np.load(stored, allow_pickle=False) as file:
        vectors = file["vectors_0"].copy()
    vectors[3, 5] = np.nan
    return vectors


TAMPERED: dict[str, tuple[Callable[[Path], dict[str, object]], str]] = {
    "pickled vectors": (lambda _: {"vectors_0": np.array([{}] * 14, object)}, "is of type object"),
    "pickled metadata": (lambda _: {"metadata": np.array({"a": 1}, object)}, "is of type object"),
    "no vectors": (lambda _: {"vectors_1": None}, "it has no vectors_1"),
    "no texts": (lambda _: {"texts": None}, "it has no texts"),
    "NaN": (lambda stored: {"vectors_0": with_nan(stored)}, "no usable vector"),
    "zeros": (lambda _: {"vectors_0": np.zeros((14, 256), np.float32)}, "for 14 of 14 texts"),
    "other shape": (lambda _: {"vectors_0": np.zeros((14, 8), np.float32)}, "has the shape"),
    "other type": (lambda _: {"vectors_0": np.zeros((14, 256))}, "is of type float64"),
    "other texts": (lambda _: {"texts": np.zeros(9, np.uint8)}, "do not divide"),
    "broken texts": (
        lambda _: {"texts": np.full(14, 255, np.uint8), "offsets": np.arange(15)}, "codec",
    ),
    "exchanged texts": (
        lambda _: {"texts": np.full(14, 65, np.uint8), "offsets": np.arange(15)}, "not those",
    ),
    "no JSON": (lambda _: {"metadata": np.array("{")}, "not a reference that jlocal stored"),
    "deep JSON": (lambda _: {"metadata": np.array("[" * 100_000)}, "does not say"),
    "another format": (
        lambda stored: {"metadata": metadata_of(stored, format="x")}, "does not say",
    ),
    "a name that is a command": (
        lambda stored: {"metadata": metadata_of(stored, name="\x1b[2J")}, "not printable",
    ),
    "dimensions as text": (
        lambda stored: {"metadata": metadata_of(stored, dimensions="256")}, "is not a number",
    ),
    "longer Matryoshka": (
        lambda stored: {"metadata": metadata_of(stored, matryoshka=[512])}, "up to its dimensions",
    ),
    "no prompts": (lambda stored: {"metadata": metadata_of(stored, prompts={})}, "no prompts"),
    "prompts as numbers": (
        lambda stored: {"metadata": metadata_of(stored, prompts={"query": 3})}, "not texts",
    ),
    "another prompt": (
        lambda stored: {"metadata": metadata_of(stored, prompts={"query": "q: ", "document": ""})},
        "another prompts",
    ),
    "another task": (
        lambda stored: {"metadata": metadata_of(stored, task="clustering")}, "another task",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERED)
def test_a_tampered_reference(name, starter_files, stored_reference, tmp_path) -> None:
    change, message = TAMPERED[name]
    path = tamper(stored_reference, tmp_path / "tampered.npz", **change(stored_reference))
    with pytest.raises((VerifyError, ArgumentError), match=message):
        verify(starter_files["F16"], path)


def test_declared_sizes_are_not_believed(stored_reference, tmp_path) -> None:
    """Neither an array that says that it is huge, nor a member that says so."""
    path = tamper(stored_reference, tmp_path / "small.npz")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    header = io.BytesIO()
    info = {"descr": "|u1", "fortran_order": False, "shape": (10**15,)}
    np.lib.format.write_array_header_1_0(header, info)
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, header.getvalue() if name == "texts.npy" else content)
    with pytest.raises(VerifyError, match="texts has another size than its header says"):
        StoredEncoder(tmp_path / "huge.npz")
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")  # of the directory; the size unpacked is at 24
    data[entry + 24 : entry + 28] = (0x7FFFFFFF).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(VerifyError, match="unpacked it has more than"):
        StoredEncoder(path)


@pytest.mark.slow
def test_damage_is_named(stored_reference, tmp_path) -> None:
    """Whatever byte is wrong, it is an error of ours or does no harm."""
    rng = random.Random(0)
    whole = tamper(stored_reference, tmp_path / "whole.npz").read_bytes()
    path = tmp_path / "damaged.npz"
    refused = []
    for _ in range(300):
        data = bytearray(whole[: rng.choice([len(whole)] * 3 + [rng.randrange(len(whole))])])
        # Most bytes are those of vectors, where a CRC tells; the directory is at the end.
        start = rng.choice([0, max(0, len(data) - 1000)])
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(start, len(data))] = rng.randrange(256)
        path.write_bytes(data)
        try:
            StoredEncoder(path)
        except VerifyError as error:
            refused.append(str(error))
    assert len(refused) > 200
    assert not [message for message in refused if "\n" in message]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_reference_that_is_a_pipe_is_refused_at_once(tmp_path) -> None:
    os.mkfifo(tmp_path / "reference.npz")
    with pytest.raises(VerifyError, match="is not a regular file"):
        StoredEncoder(tmp_path / "reference.npz")
