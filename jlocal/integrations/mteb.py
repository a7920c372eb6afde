"""mteb: `JlocalModel`, which runs its tasks on a GGUF file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jlocal.errors import HubError
from jlocal.extras import importing
from jlocal.files import sha256_of
from jlocal.integrations.shared import SharedArguments, SharedModel
from jlocal.vectors import Vectors

with importing("mteb", "jlocal.integrations.mteb needs"):
    import mteb
    from datasets.exceptions import DatasetsError
    from mteb.abstasks import AbsTask
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.models.abs_encoder import AbsEncoder
    from mteb.models.model_meta import ModelMeta, ScoringFunction
    from mteb.types import PromptType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from typing_extensions import Unpack

# https://github.com/embeddings-benchmark/mteb, jina_models.py: the adapter for each type of task.
_ADAPTERS = {
    "Retrieval": "retrieval",
    "Reranking": "retrieval",
    "InstructionRetrieval": "retrieval",
    "InstructionReranking": "retrieval",
    "Clustering": "clustering",
    "Classification": "classification",
    "MultilabelClassification": "classification",
    "STS": "text-matching",
    "PairClassification": "text-matching",
    "BitextMining": "text-matching",
    "Summarization": "text-matching",
}


class JlocalModel(AbsEncoder):
    """A model for `mteb.evaluate`, with the file's prompts for queries and documents.

    Texts above the context are truncated with a warning, as in other models of mteb, unless
    `on_long` is "error".
    """

    def __init__(
        self, model: str | Path | None = None, **arguments: Unpack[SharedArguments]
    ) -> None:
        """Load a model, or share the one that is loaded.

        Args:
            model: path of a GGUF file, or a name, as in `Embedder`.
            **arguments: those of `SharedArguments`.

        Raises:
            JlocalError: as in `shared_embedder`.

        """
        given: SharedArguments = {"on_long": "truncate", **arguments}
        self._model = SharedModel.of(type(self).__name__, model, given)
        self.mteb_model_meta = _meta(self._model)

    def encode(
        self,
        inputs: Iterable[Mapping[str, list[str]]],
        *,
        task_metadata: TaskMetadata,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **kwargs: Any,
    ) -> Vectors:
        """Embed texts, to (n, d) float32; without a type they get the file's default prompt."""
        del task_metadata, hf_split, hf_subset
        embedder = self._model.embedder
        methods = {
            PromptType.query: embedder.encode_query,
            PromptType.document: embedder.encode_document,
        }
        encode = embedder.encode if prompt_type is None else methods[PromptType(prompt_type)]
        # jlocal plans its batches by tokens: it should have all texts.
        return encode(
            [text for batch in inputs for text in batch["text"]],
            precision=kwargs.get("precision") or "float32",
            show_progress_bar=bool(kwargs.get("show_progress_bar")),
        )

    def wrong_adapter(self, task: TaskMetadata) -> str | None:
        """Return the adapter for a task, if the file has another one."""
        own, fitting = self._model.embedder.profile.task, _ADAPTERS.get(task.type)
        return fitting if own and fitting and fitting != own else None


def _meta(model: SharedModel) -> ModelMeta:
    """Describe a model: files that differ, and lengths of vectors, have results of their own."""
    profile = model.embedder.profile
    changes = {
        name: value
        for name, value in model.arguments.items()
        if name == "truncate_dim" and value != profile.dimensions
    }
    return ModelMeta.create_empty(
        overwrites={
            "name": f"jlocal/{profile.path.stem}",
            "revision": sha256_of(profile.path),
            "embed_dim": model.dimensions,
            "max_tokens": profile.context,
            "framework": ["GGUF"],
            "similarity_fn_name": ScoringFunction.COSINE,
            "experiment_kwargs": changes or None,
        }
    )


@dataclass(frozen=True)
class Score:
    """The main score of a task, which mteb has written to a file with all others.

    Attributes:
        task: name of the task.
        measure: name of the main score, such as "ndcg_at_10".
        score: the main score; the mean over subsets and splits.
        file: mteb's result file.

    """

    task: str
    measure: str
    score: float
    file: Path


def run_task(
    model: JlocalModel,
    task: AbsTask,
    folder: Path | None = None,
    *,
    again: bool = False,
    show_progress: bool = False,
) -> Score:
    """Run a task, or return its stored result of the same file, data and version of mteb.

    Args:
        model: the model.
        task: the task, such as `mteb.get_task` and `local_task` return.
        folder: where results are written; None for mteb's own cache.
        again: compute the task even if its result exists.
        show_progress: show texts done on stderr.

    Raises:
        HubError: the data of a task of mteb are not on this machine and cannot be downloaded, or
            a result cannot be written.
        JlocalError: a text cannot be embedded.

    """
    cache = mteb.ResultCache(folder) if folder else mteb.ResultCache()
    is_current = _is_current(cache, model.mteb_model_meta, task)
    try:
        result = mteb.evaluate(
            model,
            task,
            cache=cache,
            co2_tracker=False,
            overwrite_strategy="only-missing" if is_current and not again else "always",
            encode_kwargs={"batch_size": 512, "show_progress_bar": show_progress},
            show_progress_bar=False,
        )
    except (OSError, DatasetsError) as error:
        raise HubError(" ".join(str(error).split())[:200]) from error
    file = cache.get_task_result_path(task.metadata.name, model.mteb_model_meta)
    score = round(float(result.task_results[0].get_score()), 6)  # as in the file
    return Score(task.metadata.name, task.metadata.main_score, score, file)


def _is_current(cache: mteb.ResultCache, meta: ModelMeta, task: AbsTask) -> bool:
    """Tell whether a stored result is of these data and this mteb, which mteb itself does not ask.

    mteb looks at both where a part of the result is missing, and not where it is complete.
    """
    try:
        stored = cache.load_task_result(task.metadata.name, meta)
    except (ValueError, KeyError):  # a damaged file
        return False
    versions = task.metadata.revision, mteb.__version__
    return stored is not None and (stored.dataset_revision, stored.mteb_version) == versions
