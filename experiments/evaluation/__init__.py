"""How good a model is: search, metrics, intervals, alignments."""
