"""Faults put into small training runs on purpose, to see that they survive them."""
