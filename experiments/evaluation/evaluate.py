"""Runs a model over a split: how likely it finds the references, and what it says itself."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

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
from experiments.training.parallel import Machine, RowWise

UNSEARCHED = "nothing decoded: likelihoods alone"
"""How outputs are found where there are none, for people."""

SHAPES = 2
"""Padded shapes that splits are cut into, each of which is compiled."""


class Evaluator:
    """Evaluates parameters of one model on one task, again and again.

    What was compiled is kept between calls. A batch is spread over all devices of this host and the
    parameters are copied to each: hosts evaluate on their own, and find the same. Likelihoods can
    be had of parameters that are divided over a mesh.
    """

    def __init__(
        self,
        graphdef: nnx.GraphDef,
        task: Task,
        config: SearchConfig,
        machine: Machine | None = None,
    ):
        """Compiles nothing yet.

        Args:
            graphdef: of a model of the protocol, by `nnx.split`.
            task: its splits and tokenizers.
            config: how outputs are found and how many items are scored.
            machine: where likelihoods are computed; all its hosts must ask for them together (None:
                on this host's devices).

        Raises:
            InputError: a number in `config` that no search can have.
        """
        check_search(config)
        self._graphdef = graphdef
        self._task = task
        self._config = config
        self._here = Machine.of("jit", jax.local_devices())
        self._machine = machine or self._here
        lengths = np.concatenate([examples.lengths for examples in task.splits.values()])
        self._shapes = choose_shapes(lengths, SHAPES, config.batch_size)

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

    def each(self, function: RowWise, params: PyTree, examples: Examples, *static: Any) -> Any:
        """What `function` gives for each example, as NumPy arrays in the examples' order.

        Args:
            function: `function(graphdef, *static, params, batch)`, pure, of a device's rows.
            params: a tree of arrays, copied to each device of this host.
            examples: to be batched.
            static: what is not traced.
        """
        return self._each(self._here, function, params, examples, *static)

    def _each(
        self,
        machine: Machine,
        function: RowWise,
        params: PyTree,
        examples: Examples,
        *static: Any,
    ) -> Any:
        """`each`, on any machine; batches are sent off without waiting for the ones before."""
        rows = -(-min(self._config.batch_size, len(examples)) // machine.parts) * machine.parts
        batches = Ordered(examples, rows, self._shapes, *machine.share)
        run, params = machine.by_rows(function, self._graphdef, *static), machine.place(params)
        found = [run(params, machine.place_batch(batch)) for batch in batches]
        index = batches.examples_of_rows
        order = np.argsort(index, kind="stable")[np.sum(index < 0) :]
        return jax.tree.map(lambda *parts: np.concatenate(parts)[order], *jax.device_get(found))

    def _forced(self, params: PyTree, examples: Examples) -> tuple[np.ndarray, ...]:
        """What `_likelihood` gives for each example."""
        return self._each(self._machine, _likelihood, params, examples)

    def _free(self, params: PyTree, examples: Examples) -> list[str]:
        """The best output for each example, as text."""
        outputs = self.each(_outputs, params, examples, self._config)
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
    graphdef: nnx.GraphDef, params: PyTree, batch: Batch
) -> tuple[Float[Array, "B"], Int[Array, "B"], Int[Array, "B"]]:
    """-log P of each target, float32, the tokens it sums over, and how many of them the model finds
    the most likely; all 0 for filler."""
    model: Seq2Seq = nnx.merge(graphdef, params, copy=True)
    labels = batch.target[:, 1:]
    logits = model.decode(model.encode(batch.source), batch.target[:, :-1])
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
    graphdef: nnx.GraphDef, config: SearchConfig, params: PyTree, batch: Batch
) -> Int[Array, "B L"]:
    """The best output found for each source."""
    return jnp.asarray(searched(graphdef, params, batch.source, config, n_best=1).tokens)[:, 0]
