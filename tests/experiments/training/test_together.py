import os
import signal
from dataclasses import replace

import jax
import numpy as np
import pytest

from attn.models import Seq2SeqConfig
from experiments.config import Config, OptimizerConfig, TaskConfig, TrainConfig
from experiments.errors import InputError
from experiments.faults import processes
from experiments.training import together
from experiments.training.parallel import Machine
from experiments.training.signals import Interrupted
from experiments.training.together import train_together
from tests.experiments.training.toy_task import reversal

CONFIG = Config(
    task=TaskConfig(buckets=1),
    model=Seq2SeqConfig(width=6, dropout=0.2),
    optimizer=OptimizerConfig(learning_rate=3e-3, warmup_steps=2, eps=1e-4),
    train=TrainConfig(batch_size=16, examples=16 * 9, save_every=4, log_every=3),
)


def configs(*seeds):
    return [replace(CONFIG, train=replace(CONFIG.train, seed=seed)) for seed in seeds]


def learn(folder, *seeds, task=None):
    return train_together(configs(*seeds), [task or reversal()] * len(seeds), folder)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    return learn(tmp_path_factory.mktemp("three"), 3, 4, 5)


def test_each_learns_what_it_would_alone(tmp_path, learned):
    alone = learn(tmp_path, 5)
    for mine, its in zip(learned.run(2), alone.run(0), strict=True):
        for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(its), strict=True):
            np.testing.assert_allclose(a, b, atol=2e-5)
    assert learned.losses[2] == pytest.approx(alone.losses[0], rel=1e-4)
    assert learned.losses[0] != pytest.approx(learned.losses[2], rel=1e-5)
    assert learned.diverged == (None, None, None)


def test_they_go_on_from_a_checkpoint_in_the_same_bits(tmp_path, learned, monkeypatch):
    placed, place = [], Machine.place_batch

    def placing(machine, batch):
        placed.append(batch)
        if len(placed) == 1 + 5:  # one is compiled with before
            os.kill(os.getpid(), signal.SIGTERM)
        return place(machine, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Machine, "place_batch", placing)
        with pytest.raises(Interrupted, match="after step 5"):
            learn(tmp_path, 3, 4, 5)
    again = learn(tmp_path, 3, 4, 5)
    jax.tree.map(np.testing.assert_array_equal, again.params, learned.params)
    assert again.losses == learned.losses
    assert learn(tmp_path, 3, 4, 5).losses == learned.losses  # finished: nothing is done


def test_one_that_diverges_leaves_the_others_alone(tmp_path, learned, monkeypatch):
    made = together.initialise

    def broken(params, config, steps):
        if config.train.seed == 4:
            params = jax.tree.map(lambda x: x * np.nan, params)
        return made(params, config, steps)

    monkeypatch.setattr(together, "initialise", broken)
    found = learn(tmp_path, 3, 4, 5)
    assert found.diverged == (None, 1, None)
    for number in (0, 2):
        jax.tree.map(np.testing.assert_array_equal, found.run(number), learned.run(number))


def test_runs_that_are_no_one_program_are_refused(tmp_path):
    first, second = configs(0, 1)
    wider = replace(second, model=Seq2SeqConfig(width=8))
    with pytest.raises(InputError, match="2 different settings; expected one"):
        train_together([first, wider], [reversal()] * 2, tmp_path)
    with pytest.raises(InputError, match="2 different shapes; expected one"):
        train_together([first, second], [reversal(), reversal(train=200)], tmp_path)


def test_runs_together_are_not_divided_over_a_mesh():
    assert processes.run(refused_mesh, devices=2) == (
        "train.fsdp, train.tensor and train.sequence are (2, 1, 1); expected 1 each, as runs that "
        "train together lie whole on every device"
    )


def refused_mesh():
    from experiments.training.together import _machine

    with pytest.raises(InputError) as error:
        _machine(Config(train=TrainConfig(parallel="jit", fsdp=2)))
    return str(error.value)
