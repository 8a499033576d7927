from dataclasses import replace

import pytest

from experiments.ablations.grid import over
from experiments.ablations.papers import EFFECT, PUBLISHED
from experiments.ablations.suite import Budget, check_seeds
from experiments.ablations.suites import NAMES, find
from experiments.ablations.verdict import rehearse
from experiments.errors import InputError
from tests.experiments.ablations.toy_suite import SUITE


@pytest.mark.parametrize("name", NAMES)
def test_every_suite_says_what_it_varies(name):
    suite = find(name)
    assert (suite.name, name in EFFECT, name in PUBLISHED) == (name, True, True)
    assert len(suite.budgets["cpu"].seeds) >= 5
    for budget in suite.budgets.values():
        check_seeds(budget.seeds)
        variants = suite.variants(budget)
        assert len(set(map(repr, variants.values()))) == len(variants) == len(suite.grid)
        rehearse(suite.contrasts, variants)
        for path, value in budget.models.items():
            field = path.removeprefix("model.")
            assert all(getattr(config.model, field) == value for config in variants.values())


@pytest.mark.parametrize("name", NAMES)
def test_data_is_where_it_is_said_to_be_at_every_budget(name):
    suite = find(name).with_data("by hand", "prepared")
    for budget in suite.budgets.values():
        for config in suite.variants(budget).values():
            assert (config.task.manual_dir, config.task.data_dir) == ("by hand", "prepared")


def test_a_suite_of_ones_own_goes_by_its_module():
    assert find("tests.experiments.ablations.toy_suite") is SUITE
    with pytest.raises(InputError, match=r"tests\.experiments is no module with a SUITE"):
        find("tests.experiments")
    with pytest.raises(InputError, match="unknown suite 'heads'; nearest: heads_dk"):
        find("heads")


@pytest.mark.parametrize("seeds", [(), (0, 1), (0, 1, 1, 2)])
def test_too_few_seeds_are_refused(seeds):
    with pytest.raises(InputError, match=r"seeds: got .*; expected at least 3, each once"):
        check_seeds(seeds)


def test_what_a_suite_has_not_is_refused():
    with pytest.raises(InputError, match="toy has no 'gpu'; expected one of cpu"):
        SUITE.budget("gpu")
    twice = replace(SUITE, grid=over("model.width", 4) + over("train.seed", **{"4": 0}))
    with pytest.raises(InputError, match="2 points and 1 names"):
        twice.variants(Budget())
