from dataclasses import replace

import pytest

from attn.models import RNNSearchConfig, TransformerConfig, count_parameters
from experiments.ablations.plan import MATCH, Plan, code_version, level
from experiments.config import Config
from experiments.errors import InputError
from tests.experiments.ablations.toy_suite import SUITE
from tests.experiments.training.toy_task import reversal


@pytest.mark.parametrize("model", [RNNSearchConfig(), TransformerConfig(width=32)])
def test_models_are_sized_to_the_same_parameters(model):
    task = reversal()
    found = level(Config(model=model, parameters=64_000), task).model
    assert count_parameters(found, task.source.size, task.target.size) == pytest.approx(
        64_000, rel=MATCH
    )
    if isinstance(model, TransformerConfig):
        assert found.width == 32


def test_a_size_that_cannot_be_is_refused():
    with pytest.raises(InputError, match="5,000 are too few for transformer of 32"):
        level(Config(model=TransformerConfig(width=32), parameters=5_000), reversal())


def test_numbers_that_no_run_can_have_are_refused_before_any_data_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(Plan, "task", None)
    budgets = {"cpu": replace(SUITE.budgets["cpu"], changes={"train.batch_size": 0})}
    with pytest.raises(InputError, match=r"train\.batch_size is 0; expected at least 1"):
        Plan(replace(SUITE, budgets=budgets), "cpu", (0, 1, 2), tmp_path)


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return Plan(SUITE, "cpu", (0, 1, 2), tmp_path_factory.mktemp("plan"))


def test_runs_of_one_program_train_together_up_to_the_budgets_most(plan):
    assert [[run.name for run in group.runs] for group in plan.groups] == [
        ["last, 10, seed 0", "last, 10, seed 1", "last, 10, seed 2"],
        ["last, 12, seed 0", "last, 12, seed 1", "last, 12, seed 2"],
    ]
    assert len({group.name for group in plan.groups}) == 2
    few = Plan(
        replace(SUITE, budgets={"cpu": replace(SUITE.budgets["cpu"], together=2)}),
        "cpu", (0, 1, 2), plan.folder,
    )  # fmt: skip
    assert [len(group.runs) for group in few.groups] == [2, 1] * 2


def test_the_code_version_follows_what_is_measured(plan):
    assert code_version(SUITE) == code_version(SUITE.with_data("/a", "/b"))
    other = replace(SUITE, base=replace(SUITE.base, parameters=3))
    assert code_version(other) != code_version(SUITE)
