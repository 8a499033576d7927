"""Pairs of texts, their tokens, and the batches that training and evaluation read."""
