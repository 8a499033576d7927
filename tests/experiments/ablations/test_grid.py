import pytest

from attn.models import RNNSearchConfig, Seq2SeqConfig
from experiments.ablations.grid import chain, changed, over, product, setting, zipped
from experiments.config import Config
from experiments.errors import InputError


def names(grid):
    return [point.name for point in grid]


def test_a_product_has_every_combination():
    grid = product(over("model.width", 4, 8), over("train.seed", first=0, second_one=1))
    assert names(grid) == ["4, first", "4, second one", "8, first", "8, second one"]
    assert grid[3].changes == {"model.width": 8, "train.seed": 1}
    assert grid[3].labels == {"model.width": "8", "train.seed": "second one"}


def test_chains_follow_and_zips_go_side_by_side():
    widths, seeds = over("model.width", 4, 8), over("train.seed", 0, 1)
    assert names(chain(widths, seeds)) == ["4", "8", "0", "1"]
    assert names(zipped(widths, seeds)) == ["4, 0", "8, 1"]
    with pytest.raises(InputError, match=r"zipped grids have \[2, 1\] points"):
        zipped(widths, over("train.seed", 0))


def test_a_setting_changes_several_fields_under_one_label():
    small = setting("small", {"model": Seq2SeqConfig(width=3), "train.batch_size": 2})
    grid = product(small, over("model.init_scale", 0.1, 0.2))
    assert names(grid) == ["small, 0.1", "small, 0.2"]
    assert grid[0].labels == {"model": "small", "model.init_scale": "0.1"}
    found = changed(Config(), grid[1].changes)
    assert (found.model, found.train.batch_size) == (Seq2SeqConfig(width=3, init_scale=0.2), 2)


def test_changes_are_made_in_their_order():
    point = product(over("model", new=Seq2SeqConfig()), over("model.width", 6))[0]
    found = changed(Config(model=RNNSearchConfig()), point.changes)
    assert found == Config(model=Seq2SeqConfig(width=6))


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("model.widht", "RNNSearchConfig has no 'widht'.*expected one of width"),
        ("tasks", "Config has no 'tasks'"),
        ("train.seed.more", "int has no 'more'.*none: it is a plain value"),
    ],
)
def test_a_field_that_is_not_there_is_refused(field, message):
    with pytest.raises(InputError, match=message):
        changed(Config(), {field: 1})
