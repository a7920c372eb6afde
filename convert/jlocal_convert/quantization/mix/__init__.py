"""Mixed quantisation: a tensor type for each matrix, chosen by its measured loss."""
