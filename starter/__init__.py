"""How the starter model is made: texts, tokenizer, teacher, backbone, adapters, checkpoint."""
