"""Runs a model over a split: how likely it finds the references, and what it says itself."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from attn.models.protocol import PAD, Seq2Seq
from attn.typing import Array, Float, Int, PyTree
from experiments.checks import check_search
from experiments.config import SearchConfig
from experiments.data.batches import Batch, Examples, Ordered, Ragged
from experiments.data.buckets import choose_shapes
from experiments.evaluation.metrics import METRICS
from experiments.evaluation.outcome import Evaluation, Item, assess
from experiments.evaluation.search import searched
from experiments.tasks.task import Task

UNSEARCHED = "nothing decoded: likelihoods alone"
"""How outputs are found where there are none, for people."""

SHAPES = 2
"""Padded shapes that splits are cut into, each of which is compiled."""


class Evaluator:
    """Evaluates parameters of one model on one task, again and again.

    What was compiled is kept between calls. A batch is spread over all devices of this host and the
    parameters are copied to each: hosts evaluate on their own, and find the same.
    """

    def __init__(self, graphdef: nnx.GraphDef, task: Task, config: SearchConfig):
        """Compiles nothing yet.

        Args:
            graphdef: of a model of the protocol, by `nnx.split`.
            task: its splits and tokenizers.
            config: how outputs are found and how many items are scored.

        Raises:
            InputError: a number in `config` that no search can have.
        """
        check_search(config)
        self._graphdef = graphdef
        self._task = task
        self._config = config
        devices = Mesh(np.array(jax.local_devices()), ("data",))
        self._rows = NamedSharding(devices, PartitionSpec("data"))
        self._everywhere = NamedSharding(devices, PartitionSpec())
        lengths = np.concatenate([examples.lengths for examples in task.splits.values()])
        self._shapes = choose_shapes(lengths, SHAPES, config.batch_size)
        self._likelihood = jax.jit(partial(_likelihood, graphdef))
        self._outputs = jax.jit(partial(_outputs, graphdef, config=config))

    def likelihood(self, params: PyTree, split: str = "validation") -> dict[str, float]:
        """One teacher-forced pass: {"nll": nats per token, "perplexity": exp(nll)}."""
        nll, tokens, _ = self._forced(params, self.examples(split))
        sums = np.array([nll.sum(dtype=np.float64), tokens.sum()])
        return {name: float(METRICS[name].score(sums)) for name in ("nll", "perplexity")}

    def evaluate(self, params: PyTree, split: str = "test") -> Evaluation:
        """Likelihoods of the references, free-running outputs, and the scores of both.

        Where no metric of the task reads outputs, none are searched for: hypotheses are empty.
        """
        searched = self._task.searched
        found = assess(
            self.items(params, split, search=searched),
            self._task.metrics,
            decoding=describe(self._config) if searched else UNSEARCHED,
            resamples=self._config.resamples,
        )
        if not searched:
            return found
        return replace(found, attends=nnx.merge(self._graphdef, params).attends)

    def items(self, params: PyTree, split: str = "test", *, search: bool) -> list[Item]:
        """What the model makes of each example; without `search`, hypotheses are empty."""
        examples = self.examples(split)
        nll, tokens, right = self._forced(params, examples)
        outputs = self._free(params, examples) if search else [""] * len(examples)
        return [
            Item(
                index=index,
                source=examples.sources[index],
                reference=examples.targets[index],
                hypothesis=output,
                nll=float(nll[index]),
                tokens=int(tokens[index]),
                source_length=int(examples.source.lengths[index]) - 1,
                right=int(right[index]),
            )
            for index, output in enumerate(outputs)
        ]

    def examples(self, split: str, most: int | None = None) -> Examples:
        """The examples of a split that are scored: the first `items`, and at most `most`."""
        examples = self._task.splits[split]
        limits = [n for n in (self._config.items, most) if n is not None]
        n = min([len(examples), *limits])
        source, target = examples.source, examples.target
        return replace(
            examples,
            sources=examples.sources[:n],
            targets=examples.targets[:n],
            source=Ragged(source.tokens, source.offsets[: n + 1]),
            target=Ragged(target.tokens, target.offsets[: n + 1]),
        )

    def each(
        self, function: Callable[[PyTree, Batch], PyTree], params: PyTree, examples: Examples
    ) -> Any:
        """What `function` gives for each row of each batch, as NumPy arrays in the examples' order.

        Batches are sent off without waiting for the ones before.
        """
        devices = self._rows.mesh.size
        most = min(self._config.batch_size, len(examples))
        batches = Ordered(examples, -(-most // devices) * devices, self._shapes)
        params = jax.device_put(params, self._everywhere)
        found = [function(params, jax.device_put(batch, self._rows)) for batch in batches]
        index = np.concatenate([batch.index for batch in batches])
        order = np.argsort(index, kind="stable")[np.sum(index < 0) :]
        return jax.tree.map(lambda *parts: np.concatenate(parts)[order], *jax.device_get(found))

    def _forced(self, params: PyTree, examples: Examples) -> tuple[np.ndarray, ...]:
        """What `_likelihood` gives for each example."""
        return self.each(
            lambda params, batch: self._likelihood(params, batch.source, batch.target),
            params,
            examples,
        )

    def _free(self, params: PyTree, examples: Examples) -> list[str]:
        """The best output for each example, as text."""
        outputs = self.each(
            lambda params, batch: self._outputs(params, batch.source), params, examples
        )
        return [self._task.target.decode(output[output != PAD].tolist()) for output in outputs]


def evaluate(
    graphdef: nnx.GraphDef, params: PyTree, task: Task, split: str, config: SearchConfig
) -> Evaluation:
    """Evaluates parameters once; see `Evaluator`."""
    return Evaluator(graphdef, task, config).evaluate(params, split)


def describe(config: SearchConfig) -> str:
    """How outputs are found, for people: "greedy" or "beam 4, length penalty 0.6"."""
    if config.beam == 1:
        return "greedy"
    return f"beam {config.beam}, length penalty {config.length_penalty:g}"


def _likelihood(
    graphdef: nnx.GraphDef, params: PyTree, source: Int[Array, "B S"], target: Int[Array, "B T"]
) -> tuple[Float[Array, "B"], Int[Array, "B"], Int[Array, "B"]]:
    """-log P of each target, float32, the tokens it sums over, and how many of them the model finds
    the most likely; all 0 for filler."""
    model: Seq2Seq = nnx.merge(graphdef, params, copy=True)
    labels = target[:, 1:]
    logits = model.decode(model.encode(source), target[:, :-1])
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    chosen = jnp.take_along_axis(log_p, labels[..., None], axis=-1)[..., 0]
    real = labels != PAD
    right = real & (log_p.argmax(axis=-1) == labels)
    return (
        -jnp.sum(chosen, axis=1, where=real),
        jnp.sum(real, axis=1),
        jnp.sum(right, axis=1),
    )


def _outputs(
    graphdef: nnx.GraphDef, params: PyTree, source: Int[Array, "B S"], config: SearchConfig
) -> Int[Array, "B L"]:
    """The best output found for each source."""
    return jnp.asarray(searched(graphdef, params, source, config, n_best=1).tokens)[:, 0]
