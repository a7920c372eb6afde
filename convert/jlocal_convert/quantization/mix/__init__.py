"""Tensor types chosen matrix by matrix, by measuring what each costs in the model's vectors."""
