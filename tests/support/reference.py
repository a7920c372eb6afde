"""The expected vectors: transformers and PEFT in float32, one text at a time.

This follows the published model code, without running it: the adapter is applied by PEFT beside
the frozen backbone, the last token's hidden state is cut to the dimension asked for, then
normalised. No text is padded, so padding cannot matter.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaModel, PreTrainedModel, Qwen3Config, Qwen3Model

try:
    from transformers import EuroBertConfig, EuroBertModel
except ImportError:  # transformers 4 leaves EuroBERT to remote code
    EuroBertConfig, EuroBertModel = LlamaConfig, LlamaModel

torch.set_num_threads(1)  # a second one costs models as small as these more than it gives

CONFIG_KEYS = (
    "attention_bias",
    "head_dim",
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "pad_token_id",
    "rms_norm_eps",
    "vocab_size",
)


class Reference:
    """A checkpoint in transformers and PEFT."""

    def __init__(self, checkpoint: Path, task: str | None = None) -> None:
        """Load a checkpoint with the adapter of a task; without a task, as it is."""
        self.tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
        config = json.loads((checkpoint / "config.json").read_text())
        self.bidirectional = "is_decoder" in config
        self.model: Any = backbone(config, self.bidirectional)
        weights = {
            name.removeprefix("model."): tensor.float()
            for file in checkpoint.glob("model*.safetensors")
            for name, tensor in load_file(file).items()
        }
        self.model.load_state_dict(weights)  # strict: nothing missing, nothing left over
        if task:
            self.model = adapted(self.model, checkpoint / "adapters" / task)
        self.model.eval()

    def ids(self, text: str) -> list[int]:
        """Token ids, with what the post-processor adds."""
        return self.tokenizer.encode(text).ids

    @torch.inference_mode()
    def hidden(self, ids: list[int]) -> torch.Tensor:
        """Return the final hidden states of one sequence: (tokens, hidden)."""
        arguments: dict[str, torch.Tensor] = {"input_ids": torch.tensor([ids])}
        if self.bidirectional and EuroBertModel is LlamaModel:
            # A mask of four dimensions stands in for the causal one: nothing is hidden.
            arguments["attention_mask"] = torch.zeros(1, 1, len(ids), len(ids))
        return self.model(**arguments).last_hidden_state[0]

    def encode(
        self, texts: Iterable[str], prompt: str, truncate_dim: int | None = None
    ) -> npt.NDArray[np.float32]:
        """Embed texts: (n, d), each of unit length."""
        last = torch.stack([self.hidden(self.ids(prompt + text))[-1] for text in texts])
        return torch.nn.functional.normalize(last[:, :truncate_dim], dim=-1).numpy()


def backbone(config: dict[str, Any], bidirectional: bool) -> PreTrainedModel:
    """Build the transformers model that a config.json describes, without its weights."""
    theta = config.get("rope_theta") or config["rope_parameters"]["rope_theta"]
    options = {key: config[key] for key in CONFIG_KEYS if key in config}
    # transformers 5 reads the second, transformers 4 the first.
    options |= {"rope_theta": theta}
    options |= {"rope_parameters": {"rope_type": "default", "rope_theta": theta}}
    if bidirectional:
        model = EuroBertModel(EuroBertConfig(**options))
    else:
        model = Qwen3Model(Qwen3Config(**options))
    frequencies = model.rotary_emb.inv_freq
    steps = torch.arange(len(frequencies)) / len(frequencies)
    torch.testing.assert_close(frequencies, 1 / theta**steps)
    assert model.layers[0].input_layernorm.variance_epsilon == config["rms_norm_eps"]
    return model


def adapted(model: PreTrainedModel, folder: Path) -> PeftModel:
    """Add an adapter to the model, unmerged, and check that all of its tensors were loaded.

    PEFT only warns of keys that it misses or does not know.
    """
    result = PeftModel.from_pretrained(model, folder)
    loaded = get_peft_model_state_dict(result)
    stored = load_file(folder / "adapter_model.safetensors")
    assert loaded.keys() == stored.keys()
    for name, tensor in stored.items():
        assert torch.equal(loaded[name].float(), tensor.float()), name
    return result
