"""The same files as llama.cpp's own converter makes, key by key and byte by byte."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from jlocal_convert import convert
from support.checkpoints import merged, write_pooling
from support.gguf_files import GGUF, edit, tensor_bytes

pytestmark = pytest.mark.slow

TYPES = ("F32", "F16", "BF16", "Q8_0")
# One process for all conversions: it imports torch and transformers.
RUN = """
import sys, convert_hf_to_gguf
for line in sys.stdin:
    sys.argv[1:] = line.rstrip().split("\\t")
    convert_hf_to_gguf.main()
"""


@pytest.fixture(scope="session")
def llama_cpp_sources(request: pytest.FixtureRequest) -> Path:
    """Return the converter in the source distribution of the installed llama-cpp-python."""
    version = importlib.metadata.version("llama-cpp-python")
    cache = Path(request.config.cache.mkdir("llama.cpp")) / version
    if not (cache / "done").exists():
        shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir()
        requirement = ["--no-binary", "llama-cpp-python", f"llama-cpp-python=={version}"]
        pip("download", "--no-deps", *requirement, "--dest", str(cache))
        pip("install", "--target", str(cache / "packages"), "sentencepiece")
        (archive,) = cache.glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            top = f"llama_cpp_python-{version}/vendor/llama.cpp/"
            for member in tar.getmembers():
                member.name = member.name.removeprefix(top)
                if member.name.startswith(
                    ("convert_hf_to_gguf.py", "conversion/", "gguf-py/gguf/")
                ):
                    tar.extract(member, cache, filter="data")
        archive.unlink()
        (cache / "done").touch()
    return cache


def pip(*arguments: str) -> None:
    run = [sys.executable, "-m", "pip", "-q", *arguments]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        pytest.skip(f"llama.cpp's converter cannot be had: {reason}")


@pytest.fixture(scope="module")
def both(llama_cpp_sources, checkpoint, tmp_path_factory):
    """(backbone, type) -> llama.cpp's file and ours, of the same merged checkpoint."""
    folder = tmp_path_factory.mktemp("official")
    lines, pairs = [], {}
    for backbone in ("qwen3", "eurobert"):
        source = folder / f"jina-embeddings-v5-text-{backbone}-retrieval"
        merged(checkpoint(backbone), "retrieval", source)
        write_pooling(source, 64)
        if backbone == "eurobert":
            # Without this name transformers knows the model, and fills in a classifier's pooling.
            edit(source / "config.json", model_type="jina_embeddings_v5")
        ours = convert(source, types=TYPES, output=folder / "ours")
        for kind, file in zip(TYPES, ours, strict=True):
            theirs = folder / f"{backbone}-{kind}.gguf"
            pairs[backbone, kind] = theirs, file
            arguments = [source, "--outtype", kind.lower(), "--outfile", theirs]
            lines.append("\t".join(map(str, arguments)))
    paths = [llama_cpp_sources, llama_cpp_sources / "gguf-py", llama_cpp_sources / "packages"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input="\n".join(lines),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return pairs


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("backbone", ["qwen3", "eurobert"])
def test_the_official_converter_agrees(both, backbone, kind) -> None:
    theirs, ours = both[backbone, kind]
    assert tensor_bytes(ours) == tensor_bytes(theirs)
    official, own = GGUF(theirs), GGUF(ours)
    for key, value in official.values.items():
        assert (own.types[key], own.values[key]) == (official.types[key], value), key
    assert {key for key in own.values if key not in official.values} == {
        "jlocal.task",
        "jlocal.prompt.query",
        "jlocal.prompt.document",
        "jlocal.default_prompt",
        "jlocal.matryoshka_dimensions",
        "jlocal.unicode_normalizer",
        "jlocal.source_sha256",
        *(["jlocal.lstrip_tokens"] if backbone == "eurobert" else []),
    }


def test_a_base_checkpoint_gets_what_a_merged_one_has(both, checkpoint, tmp_path) -> None:
    # The base repositories do not say how they pool, and llama.cpp's converter leaves it out.
    for backbone in ("qwen3", "eurobert"):
        (file,) = convert(
            checkpoint(backbone), output=tmp_path, name=f"jina-embeddings-v5-text-{backbone}"
        )
        official = GGUF(both[backbone, "F16"][0]).values
        own = GGUF(file).values
        assert {key: own[key] for key in official} == official
