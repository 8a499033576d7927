import json
import logging
import math
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.errors import InputError
from experiments.faults.damage import DAMAGES, files_of, flip, truncate
from experiments.training.checkpoint import Checkpoints, best, best_step, steps_in


def state(number):
    return {
        "weights": jnp.arange(3000, dtype=jnp.float32).reshape(50, 60) + number,
        "inner": (jnp.float32(number), {"count": jnp.int32(number)}),
        "half": jnp.full(3, number, jnp.bfloat16),
        "none": None,
    }


def assert_same(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints"


def save(folder, nlls, keep=2, first=1):
    checkpoints = Checkpoints(folder, keep)
    for step, nll in enumerate(nlls, first):
        checkpoints.save(step, state(step), {"tokens": 10 * step, "seconds": step / 3}, nll)
    checkpoints.close()


def test_what_was_saved_comes_back(folder):
    save(folder, [None, 2.5])
    checkpoints = Checkpoints(folder, 2)
    found = checkpoints.restore(state(0))
    assert found.step == 2
    assert found.nll == 2.5
    assert found.record == {"tokens": 20, "seconds": 2 / 3}
    assert_same(found.state, state(2))
    checkpoints.close()


def test_nothing_to_restore(folder):
    checkpoints = Checkpoints(folder, 2)
    assert checkpoints.restore(state(0)) is None
    assert checkpoints.latest() is None
    checkpoints.close()


def test_the_newest_and_the_best_are_kept(folder):
    save(folder, [3.0, 1.0, None, 2.0, 1.5, None])
    assert steps_in(folder) == [2, 5, 6]
    assert best_step(folder) == 2
    assert best(folder, state(0)).nll == 1.0


def test_the_best_is_remembered_from_run_to_run(folder):
    save(folder, [3.0, 1.0, 2.0])
    save(folder, [1.5, None, 1.25], first=4)
    assert steps_in(folder) == [2, 5, 6]
    save(folder, [0.5, None, None], first=7)
    assert steps_in(folder) == [7, 8, 9]


def test_among_equals_the_newest_is_best(folder):
    save(folder, [1.0, 1.0, None, None])
    assert best_step(folder) == 2
    assert steps_in(folder) == [2, 3, 4]


def test_a_loss_that_is_no_number_is_never_best(folder):
    save(folder, [2.0, math.nan, math.inf])
    assert best_step(folder) == 1


def test_without_evaluation_the_newest_is_best(folder):
    save(folder, [None, None, None])
    assert best_step(folder) == 3


def test_the_state_may_be_donated_once_save_returns(folder):
    overwrite = jax.jit(lambda x: jax.tree.map(jnp.zeros_like, x), donate_argnums=0)
    checkpoints = Checkpoints(folder, 1)
    now = state(7)
    checkpoints.save(7, now, {})
    jax.block_until_ready(overwrite(now))
    checkpoints.close()
    assert_same(best(folder, state(0)).state, state(7))


# Orbax leaves reads behind when another read of the same checkpoint fails.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_to_any_file_is_noticed_or_harmless(folder, tmp_path, damage, caplog):
    """File by file: what is restored is a checkpoint as it was saved, never the damaged one."""
    save(folder, [2.0, 3.0])
    noticed = 0
    for path in files_of(folder, 2):
        copy = tmp_path / "copy" / "checkpoints"
        shutil.copytree(folder, copy)
        DAMAGES[damage](copy / path.relative_to(folder))
        with caplog.at_level(logging.WARNING, "experiments"):
            caplog.clear()
            checkpoints = Checkpoints(copy, 2)
            found = checkpoints.restore(state(0))
        assert_same(found.state, state(found.step))
        assert found.record["tokens"] == 10 * found.step
        assert found.nll == {1: 2.0, 2: 3.0}[found.step]
        if found.step == 1:
            noticed += 1
            assert f"{copy / '2'} is damaged" in caplog.text
            assert "passed over" in caplog.text
            assert [p.name for p in (copy.parent / "damaged").iterdir()] == ["2.0"]
            # Its place is free for the step to be saved again.
            checkpoints.save(2, state(2), {"tokens": 20}, 3.0)
        checkpoints.close()
        assert steps_in(copy) == [1, 2]
        shutil.rmtree(copy.parent)
    assert noticed >= 4


def test_flipped_numbers_are_noticed(folder):
    """Every file that holds the arrays' bytes is covered by the digest."""
    save(folder, [2.0, 3.0])
    largest = max(files_of(folder, 2), key=lambda path: path.stat().st_size)
    flip(largest)
    checkpoints = Checkpoints(folder, 2)
    assert checkpoints.restore(state(0)).step == 1
    checkpoints.close()


def test_a_record_that_was_edited_is_noticed(folder):
    save(folder, [2.0, 3.0])
    [path] = [path for path in files_of(folder, 2) if b'"tokens"' in path.read_bytes()]
    text = json.loads(path.read_text())
    text["record"]["tokens"] += 1
    path.write_text(json.dumps(text))
    checkpoints = Checkpoints(folder, 2)
    assert checkpoints.restore(state(0)).step == 1
    checkpoints.close()


def test_several_damaged_ones_are_passed_over(folder, caplog):
    save(folder, [3.0, 2.0, 1.0], keep=3)
    for step in (2, 3):
        for path in files_of(folder, step):
            truncate(path)
    assert best(folder, state(0)).step == 1  # reads only: nothing is moved
    assert steps_in(folder) == [1, 2, 3]
    checkpoints = Checkpoints(folder, 3)
    assert checkpoints.restore(state(0)).step == 1
    checkpoints.close()
    assert steps_in(folder) == [1]


def test_when_the_best_is_damaged_the_next_best_is_used(folder, caplog):
    save(folder, [3.0, 1.0, 2.0], keep=3)
    flip(max(files_of(folder, 2), key=lambda path: path.stat().st_size))
    found = best(folder, state(0))
    assert (found.step, found.nll) == (3, 2.0)
    assert f"{folder / '2'} is damaged" in caplog.text


def test_half_written_and_half_removed_ones_are_swept_away(folder):
    save(folder, [3.0, 2.0])
    shutil.copytree(folder / "2", folder / "3.orbax-checkpoint-tmp")
    shutil.copytree(folder / "1", folder / "removed" / "0")
    checkpoints = Checkpoints(folder, 2)
    assert checkpoints.restore(state(0)).step == 2
    checkpoints.save(3, state(3), {}, 1.0)
    checkpoints.close()
    assert sorted(path.name for path in folder.iterdir()) == ["2", "3"]


def test_another_models_checkpoint_is_refused_and_left_alone(folder):
    save(folder, [3.0])
    checkpoints = Checkpoints(folder, 2)
    for other in (state(0) | {"weights": jnp.zeros((60, 50))}, {"weights": jnp.zeros((50, 60))}):
        with pytest.raises(InputError, match="another model's state"):
            checkpoints.restore(other)
    checkpoints.close()
    assert steps_in(folder) == [1]


def test_no_sound_checkpoint(folder):
    with pytest.raises(InputError, match="no sound checkpoint"):
        best(folder, state(0))
    with pytest.raises(InputError, match="holds no checkpoint"):
        best_step(folder)
