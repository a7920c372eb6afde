"""Vectors of converted files, run by llama.cpp, against transformers and PEFT in float32."""

import random

import llama_cpp
import numpy as np
import pytest
import torch

from jlocal import Embedder
from jlocal_convert import convert
from support.alike import below, cosines
from support.checkpoints import TASKS, merged
from support.gguf_files import KINDS, few_tokens
from support.reference import Reference
from support.texts import AWKWARD, PROMPTS, prose, scrambled

pytestmark = pytest.mark.slow

BACKBONES = ("qwen3", "eurobert")
TEXTS = list(AWKWARD.values())


@pytest.fixture(scope="module", params=BACKBONES)
def retrieval(request, converted, reference):
    """Return a model of the retrieval task, and its reference."""
    with Embedder(converted(request.param, "retrieval", "F16", whole=True)) as model:
        yield model, reference(request.param, "retrieval", whole=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_equals_the_reference(converted, expected, backbone, task, kind):
    equals(expected(backbone, task), converted(backbone, task, kind), kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_equals_the_reference_with_all_tokens(converted, expected, backbone, kind):
    """In one task: no adapter changes the tokens."""
    file = converted(backbone, "retrieval", kind, whole=True)
    equals(expected(backbone, "retrieval", whole=True), file, kind)


def equals(expected, file, kind):
    with Embedder(file) as model:
        for prompt, vectors in expected.items():
            ours = model.encode(TEXTS, prompt_name=prompt)
            assert ours.dtype == np.float32
            np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)
            assert below(0.999 if kind == "Q8_0" else 0.9999, ours, vectors) == {}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_merged_repositories(tmp_path, checkpoint, backbone):
    """A repository that holds one task, merged, needs no adapter."""
    folder = few_tokens(merged(checkpoint(backbone), "retrieval", tmp_path / "v5-retrieval"))
    (path,) = convert(folder, types=("F16",), output=tmp_path)
    with Embedder(path) as model:
        ours = model.encode(TEXTS, prompt_name="query")
    assert below(0.9999, ours, Reference(folder).encode(TEXTS, PROMPTS["query"])) == {}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_reference_would_notice(expected, reference, backbone):
    """A wrong task, prompt or text must show, or the tests above say nothing."""
    tasks = {task: expected(backbone, task) for task in TASKS}
    raw = reference(backbone, None).encode(TEXTS, PROMPTS["query"])
    for task, vectors in tasks.items():
        assert cosines(vectors["query"], raw).max() < 0.99
        assert np.median(cosines(vectors["query"], vectors["document"])) < 0.99
        for other in TASKS:
            assert other == task or cosines(vectors["query"], tasks[other]["query"]).max() < 0.99
    alike = tasks["retrieval"]["query"] @ tasks["retrieval"]["query"].T
    assert (alike < 0.9).mean() > 0.95


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_reference_attends_as_the_backbone_does(reference, backbone):
    """What follows a token reaches it in EuroBERT, and not in Qwen3."""
    model = reference(backbone, "retrieval")
    ids = model.ids("Which planet is red?")
    changed = [*ids[:-1], 100]
    same = torch.allclose(model.hidden(ids)[0], model.hidden(changed)[0], atol=1e-4)
    assert same == (backbone == "qwen3")


def test_other_inputs_and_order_do_not_matter(retrieval):
    model, _ = retrieval
    others = scrambled(100, ["red", "planet"]) + [prose(n, seed=n) for n in range(1, 400, 4)]
    everything = TEXTS + others
    order = random.Random(1).sample(range(len(everything)), len(everything))
    shuffled = model.encode([everything[i] for i in order])
    together = np.empty_like(shuffled)
    together[order] = shuffled
    alone = np.stack([model.encode([text])[0] for text in everything])
    assert below(0.9999, together, alone, range(len(everything))) == {}


def test_repeated_texts(retrieval):
    model, _ = retrieval
    vectors = model.encode(["b", "a", "b", "c", "a"])
    np.testing.assert_array_equal(vectors[[0, 1]], vectors[[2, 4]])
    assert cosines(vectors[0], vectors[1]) < 0.99


@pytest.mark.parametrize("dimensions", [32, 48, None])
def test_truncation(retrieval, dimensions):
    model, reference = retrieval
    ours = model.encode(TEXTS, prompt_name="query", truncate_dim=dimensions)
    theirs = reference.encode(TEXTS, PROMPTS["query"], dimensions)
    assert ours.shape == theirs.shape
    assert below(0.9999, ours, theirs) == {}


def test_no_prompt(retrieval):
    model, reference = retrieval
    texts = [text for text in TEXTS if text]
    ours = model.encode(texts, prompt="")
    assert below(0.9999, ours, reference.encode(texts, ""), map(ascii, texts)) == {}


@pytest.mark.parametrize(("backbone", "tokens"), [("qwen3", 20_000), ("eurobert", 8_000)])
def test_long_text(converted, reference, backbone, tokens):
    """A text of many ubatches, the last of them with few tokens, or of one large one."""
    model = reference(backbone, "retrieval")
    texts = [prose(tokens), "short"]
    assert len(model.ids(PROMPTS["document"] + texts[0])) >= tokens
    with Embedder(converted(backbone, "retrieval", "F16")) as ours:
        vectors = ours.encode(texts, prompt_name="document")
    theirs = model.encode(texts, PROMPTS["document"])
    assert below(0.9999, vectors, theirs, ("long", "short")) == {}


@pytest.mark.parametrize("tokens", [510, 514, 1030, 2050, 4100, 8200])
def test_last_ubatch_of_few_tokens(converted, reference, tokens):
    """llama.cpp sums attention in float16 for fewer than 64 queries, which these would be."""
    text = [prose(tokens)]
    with Embedder(converted("qwen3", "retrieval", "F16")) as model:
        ours = model.encode(text, prompt_name="query")
    theirs = reference("qwen3", "retrieval").encode(text, PROMPTS["query"])
    assert below(0.99999, ours, theirs, (tokens,)) == {}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_capture_equals_pooling(converted, backbone):
    """Reading hidden states before the vocabulary head gives what llama.cpp pools itself."""
    path = converted(backbone, "retrieval", "F16")
    texts = [*TEXTS, prose(700), prose(1500), prose(3000)]
    with Embedder(path) as capturing, Embedder(path, capture=False) as pooling:
        a, b = (model.encode(texts, prompt_name="query") for model in (capturing, pooling))
    assert below(0.99999, a, b, range(len(texts))) == {}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_llama_cpp_needs_nothing_but_the_file(converted, reference, backbone):
    """No pooling argument: the header says it. Texts without added tokens: `embed` ignores them."""
    texts = ["Query: Which planet is red?", "Document: 火星 is red.", "Query: " + prose(300)]
    path = converted(backbone, "retrieval", "F16", whole=True)
    # `embed` cuts a text at n_batch.
    llama = llama_cpp.Llama(
        str(path), embedding=True, n_ctx=1024, n_batch=1024, n_ubatch=1024, verbose=False
    )
    vectors = np.array([llama.embed(text) for text in texts])
    llama.close()
    theirs = reference(backbone, "retrieval", whole=True).encode(texts, "")
    assert below(0.9999, vectors, theirs, texts) == {}
