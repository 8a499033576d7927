"""The two sides of `bench train`: a model, an optimizer and steps over host batches."""

import os
import time
from collections.abc import Sequence
from typing import Protocol

import jax
import numpy as np
import torch
from flax import nnx
from torch.nn import functional

from attn.models import PAD
from experiments.bench.torch_models import counterpart
from experiments.config import Config
from experiments.data.batches import Batch
from experiments.training.parallel import Machine
from experiments.training.step import Metrics, initialise, make_train_step

Sizes = tuple[int, int]
"""Of the source's and the target's vocabulary."""


class Trainer(Protocol):
    """Trains one model on batches of host arrays; it goes on from call to call."""

    parameters: int

    @property
    def workers(self) -> str:
        """How many devices or threads share a step."""
        ...

    def prepare(self, batches: Sequence[Batch]) -> None:
        """Does whatever need be done once for each shape among the batches."""
        ...

    def run(self, batches: Sequence[Batch]) -> list[float]:
        """A step on each batch, placing it included; returns each step's mean loss in nats."""
        ...


class AttnTrainer:
    """The training step of a real run, on all devices."""

    def __init__(self, config: Config, vocabularies: Sizes):
        model = config.model.build(*vocabularies, nnx.Rngs(config.train.seed))
        graphdef, params = nnx.split(model)
        self.parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
        steps = -(-config.train.examples // config.train.batch_size)
        self.machine = Machine.of(config.train.parallel)
        self.machine.check_divides(config.train.batch_size, config.train.accumulate)
        self.step = self.machine.spread(make_train_step(graphdef, config, steps))
        self.state = self.machine.place(jax.device_get(initialise(params, config, steps)))

    @property
    def workers(self) -> str:
        return f"{len(self.machine.devices)} devices"

    def prepare(self, batches: Sequence[Batch]) -> None:
        """Compiles the step for each shape."""
        of_shape = {(np.shape(batch.source), np.shape(batch.target)): batch for batch in batches}
        self.machine.compile(self.step, self.state, of_shape.values())

    def run(self, batches: Sequence[Batch]) -> list[float]:
        """As the training loop does, reads each step's numbers while the next is computed."""
        losses: list[float] = []
        pending: Metrics | None = None
        for batch in batches:
            self.state, metrics = self.step(self.state, self.machine.place_batch(batch))
            losses += _mean_loss(pending)
            pending = metrics
        return losses + _mean_loss(pending)


def _mean_loss(metrics: Metrics | None) -> list[float]:
    if metrics is None:
        return []
    metrics = jax.device_get(metrics)
    return [float(metrics.loss) / float(metrics.tokens)]


class TorchTrainer:
    """The same step in PyTorch: eager, with its fused AdamW."""

    def __init__(self, config: Config, vocabularies: Sizes):
        torch.manual_seed(config.train.seed)
        optimizer = config.optimizer
        self.clip_norm = optimizer.clip_norm
        self.model = counterpart(config.model, *vocabularies)
        self.parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=optimizer.learning_rate,
            betas=(optimizer.b1, optimizer.b2),
            eps=optimizer.eps,
            weight_decay=optimizer.weight_decay,
            fused=True,
        )

    @property
    def workers(self) -> str:
        return f"{torch.get_num_threads()} threads"

    def prepare(self, batches: Sequence[Batch]) -> None:
        """Keeps the number of threads that a pass takes least time with.

        More are not always faster: threads that wait for each other spin, and where other programs
        want the cores too, they wait long.
        """
        cores = os.cpu_count() or 1
        choices = sorted({1, cores // 2 or 1, cores})
        self.run(batches)
        torch.set_num_threads(min(choices, key=lambda threads: self._seconds(batches, threads)))

    def _seconds(self, batches: Sequence[Batch], threads: int) -> float:
        """The better of two passes."""
        torch.set_num_threads(threads)
        passes = []
        for _ in range(2):
            began = time.perf_counter()
            self.run(batches)
            passes.append(time.perf_counter() - began)
        return min(passes)

    def run(self, batches: Sequence[Batch]) -> list[float]:
        """A step on each batch, one after another."""
        return [self._step(batch) for batch in batches]

    def _step(self, batch: Batch) -> float:
        source, target = (torch.from_numpy(x).long() for x in (batch.source, batch.target))
        logits = self.model(source, target[:, :-1])
        labels = target[:, 1:].reshape(-1)
        loss = functional.cross_entropy(logits.flatten(0, 1), labels, ignore_index=PAD)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        return loss.item()
