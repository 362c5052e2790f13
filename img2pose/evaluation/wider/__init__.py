"""WIDER FACE: its ground truth, its files of predictions, its score, its multi-scale protocol."""
