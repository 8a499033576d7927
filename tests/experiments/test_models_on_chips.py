"""Training, evaluation and search of every kind of model, compiled for several chips at once.

Where devices share the rows, a kernel has to be alone with its device's: no compiler looks into it.
"""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from experiments.aot.plan import topology_devices
from experiments.chips import CHIPS, missing
from experiments.config import Config, SearchConfig, TrainConfig
from experiments.configs import MODELS
from experiments.data.batches import Batch
from experiments.evaluation.evaluate import _likelihood, _outputs
from experiments.training.parallel import Machine
from experiments.training.sharded import machine_of
from experiments.training.step import initialise, make_train_step
from tests.marks import param

SEVERAL = {"v5e": ("2x2", "tpu", "tpu_custom_call"), "h100": ("2", "cuda", "triton")}
"""A topology, JAX's name of the platform, and what a program with a kernel of ours holds."""
WORDS, STEPS = 60, 100
SEARCH = SearchConfig(beam=4, max_length=24)
NAMES = ("rnnsearch", "luong-location", "luong-local-m", "luong-local-p", "lstmn", "lstmn-deep",
         "lstmn-lm", "transformer", "prefix-lm", "llama", "encoder")  # fmt: skip
QUICK = {("v5e", "luong-local-p"), ("h100", "prefix-lm")}


def compiled(machine, chip, function, *arguments):
    """A program over all of the machine's devices; it holds a kernel."""
    _, platform, kernel = SEVERAL[chip]
    lowered = function.trace(*arguments).lower(lowering_platforms=(platform,))
    assert kernel in lowered.as_text()
    return lowered.compile()


def there(machine, tree, shardings=None):
    """Shapes of arrays as they lie on the machine."""
    return jax.tree.map(
        lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        tree,
        machine.shardings(tree) if shardings is None else shardings,
    )


def rows(machine, count, source, target):
    shapes = Batch(*(jax.ShapeDtypeStruct(s, jnp.int32)
                     for s in ((count, source), (count, target), (count,))))  # fmt: skip
    return there(machine, shapes, jax.tree.map(lambda _: machine.rows, shapes))


def evaluate(machine, chip, graphdef, params, batch, *, search):
    """Compiles likelihoods, and the search."""
    programs = [machine.by_rows(_likelihood, graphdef)]
    programs += [machine.by_rows(_outputs, graphdef, SEARCH)] * search
    for program in programs:
        compiled(machine, chip, program.func, *program.args, params, batch)


@pytest.fixture(autouse=True, scope="module", params=list(SEVERAL))
def chip(request):
    if reason := missing(CHIPS[request.param]):
        pytest.skip(reason)
    return request.param


@pytest.mark.parametrize(
    ("chip", "name"),
    [
        param(chip, name, quick=(chip, name) in QUICK, id=f"{chip}-{name}")
        for chip in SEVERAL
        for name in NAMES
    ],
    indirect=["chip"],
)
def test_models_train_and_are_evaluated(chip, name):
    machine = Machine.of("jit", topology_devices(CHIPS[chip], SEVERAL[chip][0]))
    model, count = MODELS[name], 8 * machine.parts
    config = Config(model=model, train=TrainConfig(parallel="jit", batch_size=count))

    def build():
        return nnx.split(model.build(WORDS, WORDS, nnx.Rngs(0)))[1]

    graphdef, params = nnx.split(nnx.eval_shape(lambda: model.build(WORDS, WORDS, nnx.Rngs(0))))
    state = jax.eval_shape(lambda: initialise(build(), config, STEPS))
    batch = rows(machine, count, 21, 19)
    step = machine.spread(make_train_step(graphdef, config, STEPS, machine.axis))
    compiled(machine, chip, step, there(machine, state), batch)
    evaluate(machine, chip, graphdef, there(machine, params), batch, search=True)


@pytest.mark.parametrize("chip", ["v5e"], indirect=True)
@pytest.mark.parametrize("ways", [{"fsdp": 2, "tensor": 2}, {"fsdp": 2, "sequence": 2}])
def test_divided_parameters_are_evaluated(chip, ways):
    model = MODELS["llama"]
    config = Config(model=model, train=TrainConfig(parallel="jit", **ways))
    machine = machine_of(config, topology_devices(CHIPS[chip], SEVERAL[chip][0]))
    graphdef, params = nnx.split(nnx.eval_shape(lambda: model.build(WORDS, WORDS, nnx.Rngs(0))))
    batch = rows(machine, 8, 128, 129)
    evaluate(machine, chip, graphdef, there(machine, params), batch, search=False)
