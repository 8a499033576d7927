"""What is learned: named pairs of texts, their tokenizers, and the metrics that count."""

from experiments.tasks.family import Kind
from experiments.tasks.task import Task, load

__all__ = ["Kind", "Task", "load"]
