"""What a training step will take of machines that are not there yet."""
