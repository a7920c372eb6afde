"""Reference vectors of a checkpoint, computed by transformers and PEFT in float32.

This follows the published model code without running it: PEFT applies the adapter, unmerged, to the
frozen backbone, and the last token's final hidden state is normalised. Texts are computed one at a
time, so that padding cannot matter.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jlocal import extras
from jlocal.errors import ArgumentError, CheckpointError
from jlocal.llama.tokenizer import Tokens
from jlocal.progress import text_progress_bar
from jlocal.terms import Argument
from jlocal.vectors import Floats, normalize
from jlocal.verify.encoders import Encoded, ModelInfo, encode_with
from jlocal.verify.texts import Text
from jlocal_convert.checkpoint.digest import Digests
from jlocal_convert.checkpoint.embedding_config import read_embedding_config
from jlocal_convert.checkpoint.folder import Checkpoint, open_checkpoint
from jlocal_convert.checkpoint.json_config import JsonConfig, read_json_config

_MAX_SIZE, _MAX_LAYERS = (1 << 31) - 1, 1000
_SIZES = (
    *("hidden_size", "intermediate_size", "max_position_embeddings", "num_attention_heads"),
    *("num_hidden_layers", "num_key_value_heads", "vocab_size"),
)


class CheckpointEncoder:
    """A checkpoint with one adapter, separate or merged."""

    texts = None

    def __init__(self, folder: Path, task: str | None, threads: int | None) -> None:
        """Read the configuration.

        Args:
            folder: a folder in the layout of jina-embeddings-v5-text.
            task: name of the adapter; it may be None if there is only one.
            threads: CPU threads; None leaves the number to torch.

        Raises:
            CheckpointError: the checkpoint is incomplete, or cannot be computed here.
            ArgumentError: there is no such adapter, or several and none was named.
            ExtraError: transformers or PEFT are missing.

        """
        need_packages()
        self._threads = threads
        self._checkpoint = checkpoint = open_checkpoint(folder)
        for name in _SIZES:
            limit = _MAX_LAYERS if name == "num_hidden_layers" else _MAX_SIZE
            checkpoint.config.integer(name, limit)
        task = _choose(checkpoint, task)
        self._adapter = folder / "adapters" / task if task in checkpoint.adapters else None
        dimensions = checkpoint.config.integer("hidden_size", _MAX_SIZE)
        embedding_config = read_embedding_config(checkpoint, dimensions)
        with Digests() as digests:
            digest = digests.of(folder, checkpoint.source_files(task))
        self.info = ModelInfo(
            name=checkpoint.name,
            origin=str(folder),
            kind="checkpoint",
            weights="float32",
            sha256=digest,
            source_sha256=digest,
            task=task,
            dimensions=dimensions,
            matryoshka=embedding_config.dimensions,
            prompts=embedding_config.prompts,
        )

    def encode(
        self, texts: Sequence[Text], prompts: Mapping[str, str], *, show_progress: bool
    ) -> Encoded:
        """Encode texts; see `Encoder`."""
        import torch
        from tokenizers import Tokenizer

        if self._threads:
            torch.set_num_threads(self._threads)
        try:
            tokenizer = Tokenizer.from_file(str(self._checkpoint.folder / "tokenizer.json"))
        except Exception as error:  # the library has no class of its own for it
            raise CheckpointError(
                f"cannot use {self._checkpoint.folder}/tokenizer.json: {error}"
            ) from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        model = self._load()

        def tokenize(text: str, prefix: str) -> Tokens:
            return np.array(tokenizer.encode(prefix + text).ids, np.int32)

        with (
            text_progress_bar(len(texts) * len(prompts), show=show_progress) as on_texts,
            torch.inference_mode(),
        ):

            def embed(strings: list[str], prefix: str) -> Floats:
                rows = []
                for text in strings:
                    ids = tokenize(text, prefix)
                    batch = torch.from_numpy(ids.astype(np.int64))[None]
                    rows.append(model(input_ids=batch).last_hidden_state[0, -1].numpy())
                    if on_texts:
                        on_texts(1, len(ids))
                return normalize(np.stack(rows))

            return encode_with(
                self.info,
                texts,
                prompts,
                limit=self._checkpoint.config.integer("max_position_embeddings", _MAX_SIZE),
                computed="float32",
                tokenize=tokenize,
                embed=embed,
            )

    def _load(self) -> Any:
        """Load the backbone and its unmerged adapter."""
        import torch
        from transformers import logging

        # It would warn of special tokens that only text generation uses.
        logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        try:
            with torch.device("meta"):
                self._check_shapes(_backbone(self._checkpoint.config))
            model = _backbone(self._checkpoint.config)
            model.load_state_dict(self._stored())
            with warnings.catch_warnings():
                # PEFT calls functions that transformers has renamed.
                warnings.simplefilter("ignore", FutureWarning)
                return (_adapted(model, self._adapter) if self._adapter else model).eval()
        except CheckpointError:
            raise
        # A wrong configuration can raise any exception there.
        except Exception as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise CheckpointError(
                f"{self._checkpoint.folder} cannot be loaded: {reason}"
            ) from error

    def _stored(self) -> dict[str, Any]:
        from safetensors.torch import load_file

        return {
            name.removeprefix("model."): tensor
            for file in self._checkpoint.weight_files
            for name, tensor in load_file(file).items()
        }

    def _check_shapes(self, skeleton: Any) -> None:
        """Check the weights against the configuration before allocating memory for them."""
        stored = {name: tensor.shape for name, tensor in self._checkpoint.tensors.items()}
        expected = {name: tuple(tensor.shape) for name, tensor in skeleton.state_dict().items()}
        for name in sorted(expected.keys() | stored.keys()):
            if expected.get(name) != stored.get(name):
                raise CheckpointError(
                    f"{self._checkpoint.folder}: config.json and weights do not belong together: "
                    f"{name} is {expected.get(name, 'absent')} by config.json and "
                    f"{stored.get(name, 'absent')} in the weights"
                )


def need_packages() -> None:
    """Check that the packages that compute a checkpoint are installed.

    Raises:
        ExtraError: a package is missing.

    """
    needs = "a checkpoint is computed by torch, transformers 5 and peft, which need"
    with extras.importing("verify", needs):
        # Import torch first: without it, the other packages print to stderr.
        import torch  # noqa: F401, I001
        import peft  # noqa: F401
        import safetensors  # noqa: F401
        import tokenizers  # noqa: F401
        from transformers import EuroBertModel, Qwen3Model  # noqa: F401


def _choose(checkpoint: Checkpoint, requested: str | None) -> str | None:
    """Return the task, which a merged checkpoint has in its name."""
    folder, adapters = checkpoint.folder, checkpoint.adapters
    if not adapters:
        merged = checkpoint.merged_task
        if requested and merged and requested != merged:
            raise ArgumentError(
                f"{folder} holds the adapter of {merged!r}, not {requested}", argument="task"
            )
        return requested or merged
    if requested is None and len(adapters) > 1:
        choice = Argument("task")
        raise ArgumentError(
            f"{folder} has adapters for {', '.join(adapters)}; choose with {choice}",
            choice,
            argument="task",
        )
    if requested is not None and requested not in adapters:
        raise ArgumentError(
            f"{folder} has no adapter for {requested!r}; it has: {', '.join(adapters)}",
            argument="task",
        )
    return requested or adapters[0]


def _backbone(config: JsonConfig) -> Any:
    """Build the model that config.json describes, without its weights.

    Raises:
        CheckpointError: it is neither of the two supported networks, or scales its positions.

    """
    from transformers import EuroBertConfig, EuroBertModel, Qwen3Config, Qwen3Model

    rope = config.section("rope_parameters")
    if config.get("rope_scaling") or rope.get("rope_type", "default") != "default":
        raise CheckpointError("config.json scales its positions, which is not supported")
    theta = config.get("rope_theta") or rope.get("rope_theta")
    options = {
        key: config[key]
        for key in (*_SIZES, "attention_bias", "head_dim", "hidden_act", "rms_norm_eps")
        if key in config
    } | {"rope_parameters": {"rope_type": "default", "rope_theta": theta}}
    model_type = config.get("model_type")
    if model_type not in ("jina_embeddings_v5", "qwen3", "eurobert"):
        raise CheckpointError(
            f"config.json names the model type {str(model_type)[:40]!r}; give a checkpoint in the "
            "layout of jina-embeddings-v5-text"
        )
    # small and nano name the same type; only this identifies the bidirectional network.
    if config.get("is_decoder") is False or model_type == "eurobert":
        return EuroBertModel(EuroBertConfig(**options))
    return Qwen3Model(Qwen3Config(**options))


def _adapted(model: Any, folder: Path) -> Any:
    """Apply an adapter to a model, unmerged.

    Raises:
        CheckpointError: PEFT, which only warns, did not load the whole adapter.

    """
    import torch
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors.torch import load_file

    if read_json_config(folder / "adapter_config.json").get("peft_type") != "LORA":
        raise CheckpointError(f"{folder} is not a LoRA adapter", path=folder)
    # PEFT would look on the hub for missing files, or take pickled weights.
    weights = folder / "adapter_model.safetensors"
    if not weights.is_file():
        raise CheckpointError(
            f"{folder} has no adapter_model.safetensors; it is incomplete", path=folder
        )
    adapted = PeftModel.from_pretrained(model, folder)
    loaded, stored = get_peft_model_state_dict(adapted), load_file(weights)
    for name, tensor in loaded.items():
        there = stored.get(name)
        if there is None or not torch.equal(tensor.float(), there.float()):
            raise CheckpointError(f"{folder}: PEFT could not load {name}", path=folder)
    if len(stored) != len(loaded):
        raise CheckpointError(f"{folder} has weights that PEFT does not know", path=folder)
    return adapted
