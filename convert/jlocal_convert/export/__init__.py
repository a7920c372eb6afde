"""Export of a checkpoint to GGUF files: plan, merge, write, verify, and a model card."""
