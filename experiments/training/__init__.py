"""Training: a pure step, the machine it runs on, checkpoints, the loop."""
