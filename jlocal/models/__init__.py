"""What a model is: names, headers, prompts. Nothing here loads weights."""
