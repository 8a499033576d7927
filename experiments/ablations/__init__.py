"""Papers' claims put to the test: what is varied, what is measured, and what would refute them."""
