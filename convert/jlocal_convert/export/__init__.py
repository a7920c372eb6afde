"""From a checkpoint to a GGUF file: plan, merge, write, and say in a model card what was done."""
