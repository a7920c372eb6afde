"""One model is loaded for all that name the same file, and nothing is loaded by jlocal itself."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from jlocal import ArgumentError, Embedder, ModelError
from jlocal.integrations.shared import SharedModel, shared_embedder
from jlocal.models.starter import FILE
from support.alike import assert_alike


def runtime(embedder: Embedder) -> object:
    return embedder.preparer().runtime


def test_threads_that_name_one_file_share_one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FILE.parent)
    with ThreadPoolExecutor(8) as pool:
        names = ["starter", str(FILE), FILE.name, FILE] * 4
        made = list(pool.map(shared_embedder, names))
    assert len({id(runtime(embedder)) for embedder in made}) == 1
    assert runtime(shared_embedder("starter", compute_type="stored", threads=1)) is not runtime(
        made[0]
    )


def test_each_has_its_own_length_and_its_own_way_with_long_texts() -> None:
    short, full = shared_embedder("starter", truncate_dim=64), shared_embedder("starter")
    cutting = shared_embedder("starter", on_long="truncate")
    assert runtime(short) is runtime(full) is runtime(cutting)
    assert short.encode_query("a cat").shape == (64,)
    assert full.encode_query("a cat").shape == (256,)
    assert (full.on_long, cutting.on_long) == ("error", "truncate")


def test_a_freed_model_is_loaded_again() -> None:
    first = shared_embedder("starter")
    first.close()
    with pytest.raises(ModelError, match="closed"):
        first.encode("a cat")
    assert shared_embedder("starter").encode("a cat").shape == (256,)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"truncate_dim": 999}, "truncate_dim"),
        ({"truncate_dim": 0}, "truncate_dim"),
        ({"task": "clustering"}, "task"),
        ({"on_long": "cut"}, "on_long"),
    ],
)
def test_wrong_arguments_are_told_at_once(arguments: dict, named: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        shared_embedder("starter", **arguments)
    assert caught.value.argument == named


def test_a_copy_from_elsewhere_is_the_same_model(starter: Embedder, texts: list[str]) -> None:
    model = SharedModel.of("f", "starter", {"truncate_dim": 128})
    assert_alike(model.queries(texts), starter.encode_query(texts, truncate_dim=128))
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert other == model
        assert runtime(other.embedder) is runtime(model.embedder)
    assert SharedModel.of("f", model.model, model.arguments) == model
    with pytest.raises(TypeError, match="truncate_dims"):
        SharedModel.of("f", "starter", {"truncate_dims": 1})


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_loads_its_own() -> None:
    code = (
        "import os, sys\n"
        "from jlocal.integrations.shared import shared_embedder\n"
        "shared_embedder('starter', threads=1).encode('a cat')\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    ok = shared_embedder('starter', threads=1).encode('a cat').shape == (256,)\n"
        "    os._exit(0 if ok else 1)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=120)


@pytest.mark.slow
@pytest.mark.parametrize("code", ["import jlocal", "sys.argv[1:] = ['--help']; main()"])
def test_jlocal_itself_imports_no_framework(code: str) -> None:
    names = ("jlocal.integrations", "langchain_core", "llama_index", "haystack", "chromadb", "llm",
             "lancedb", "txtai", "mteb", "sentence_transformers")  # fmt: skip
    program = (
        "import sys, atexit\n"
        f"atexit.register(lambda: print([n for n in {names} if n in sys.modules]))\n"
        f"from jlocal.__main__ import main\n{code}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("[]\n")


def test_no_texts_have_no_vectors() -> None:
    model = SharedModel("starter")
    assert model.documents([]).shape == (0, 256)
    assert np.asarray(model.queries([])).shape == (0, 256)


@pytest.mark.parametrize("texts", ["abc", {"a": "b"}, {"a", "b"}, None])
def test_what_is_not_several_texts_is_refused(texts: object) -> None:
    """The letters of a text would be embedded one by one."""
    model = SharedModel("starter")
    for embed in (model.documents, model.queries):
        with pytest.raises(ArgumentError, match="pass"):
            embed(texts)  # type: ignore[arg-type]
