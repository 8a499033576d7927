"""Whole training steps, compiled for pods that are not here."""

from dataclasses import replace

import pytest
from rich.console import Console

from attn.models import DecoderConfig
from experiments.aot import command
from experiments.aot.collectives import sent_bytes
from experiments.aot.command import Aot, aot
from experiments.aot.growing import devices_of, grown, sizes, usual
from experiments.aot.plan import plan, resized, topology_devices
from experiments.chips import CHIPS, missing
from experiments.config import Config, TrainConfig
from experiments.configs.scale import SCALES, Scale
from experiments.errors import InputError


def small(fsdp=1, sequence=1, batch=16, target=256):
    model = DecoderConfig(
        width=256, layers=1, heads=2, positions="rope", dropout=0.0, dtype="bfloat16", remat="full"
    )
    train = TrainConfig(
        batch_size=batch, examples=1600, parallel="jit", fsdp=fsdp, sequence=sequence
    )
    return Scale(Config(model=model, train=train), 1, target, 2048)


@pytest.fixture(autouse=True, scope="module")
def compilers():
    if reason := missing(CHIPS["v5e"]):
        pytest.skip(reason)


@pytest.fixture(scope="module")
def parts(compilers):
    """The step on four chips that divide the state."""
    return plan(small(fsdp=4), "v5e", "2x2")


def test_data_parallel_sends_its_gradients_twice_but_for_a_part():
    whole = plan(small(), "v5e", "2x2")
    assert sent_bytes(whole.exchanges) == pytest.approx(2 * 3 / 4 * 4 * whole.parameters, rel=0.05)
    assert whole.mesh == {"data": 4}


def test_fsdp_sends_what_theory_says_and_keeps_a_part_of_the_state(parts):
    """Gradients are scattered and parameters gathered, in bfloat16: within 5%.

    A layer's are gathered for both passes; those of queries, keys and values also to compute them
    again; the table once, for the logits: of what is looked up in it, the vectors are exchanged."""
    once = 3 / 4 * 2 * parts.parameters
    assert parts.arguments == pytest.approx(3 * 4 * parts.parameters / 4, rel=0.1)
    assert parts.mesh == {"data": 1, "fsdp": 4, "tensor": 1, "sequence": 1}
    scattered = sent_bytes(parts.exchanges, "reduce-scatter")
    scattered += sent_bytes(parts.exchanges, "all-reduce") / 2
    assert scattered == pytest.approx(once, rel=0.05)
    table, projections = 2048 * 256, 3 * 256 * 256
    gathered = 2 * (parts.parameters - table) + projections + table
    found = sent_bytes(parts.exchanges, "all-gather")
    assert found == pytest.approx(3 / 4 * 2 * gathered, rel=0.05)


def test_each_part_of_an_accumulated_step_sends_as_much(parts):
    """A loop, whose turns its condition tells: the exchanges inside count as often."""
    halves = plan(resized(small(fsdp=4), accumulate=2), "v5e", "2x2")
    for kind in ("all-gather", "reduce-scatter"):
        expected = 2 * sent_bytes(parts.exchanges, kind)
        assert sent_bytes(halves.exchanges, kind) == pytest.approx(expected, rel=0.05)


def test_a_plan_without_a_program_says_what_is_unknown(tmp_path, monkeypatch, parts):
    none = replace(parts, exchanges=None, network_seconds=None, temporaries=2 * parts.memory)
    assert (none.sent, none.bound, none.fits) == (None, "compute", False)
    monkeypatch.setattr(command, "plan", lambda *asked: none)
    console = Console(record=True, width=120)
    aot(Aot("transformer-base", topology="2x2", output=tmp_path), console)
    printed = console.export_text()
    assert "does not fit" in printed
    assert "network unknown: there is no program" in printed
    aot(Aot("decoder-1b", topology="2x2", scale=True, output=tmp_path), console)
    assert "does not fit, " in console.export_text()


def test_figures_hang_together(parts):
    found = parts
    assert found.fits
    assert found.tokens == 16 * 256
    assert found.steps == 100
    # 6 FLOPs for each weight that multiplies, and token; and those of attention.
    products = found.parameters - 2048 * 256  # the table is looked up, and then a product
    rough = 6 * found.tokens * (products + 2048 * 256) + 12 * found.tokens * 256 * 256
    assert found.model_flops == pytest.approx(rough, rel=0.02)
    assert found.step_flops == found.model_flops * 4 / 3
    assert 0 < found.utilisation <= 0.75  # a third more is computed than counts
    assert found.seconds >= found.compute_seconds


@pytest.mark.slow
def test_memory_of_a_chip_stays_flat_as_chips_and_work_grow():
    fsdp = [plan(small(fsdp=n, batch=4 * n), "v5e", t).needed for n, t in ((4, "2x2"), (8, "2x4"))]
    assert fsdp[1] < 1.02 * fsdp[0]
    ring = [
        plan(small(sequence=n, batch=2, target=512 * n), "v5e", t).needed
        for n, t in ((4, "2x2"), (8, "2x4"))
    ]
    assert ring[1] < 1.05 * ring[0]


def test_a_sweep_is_drawn(tmp_path, monkeypatch, parts):
    monkeypatch.setattr(
        command, "plan", lambda *asked: replace(parts, chips=asked[0].config.train.batch_size)
    )
    asked = Aot("decoder-1b", topology="16x16", scale=True, output=tmp_path)
    assert [found.chips for found in aot(asked, Console(quiet=True))] == [
        1,
        4,
        8,
        16,
        32,
        64,
        128,
        256,
    ]
    assert "all-gather" in (tmp_path / "decoder-1b-v5e-16x16-scale.svg").read_text("utf-8")


@pytest.mark.parametrize("chip", ["v5e", "v6e", "v5p"])
def test_the_smallest_and_the_largest_topology_of_a_sweep_are_there(chip):
    for topology in (sizes(chip)[0], sizes(chip)[-1]):
        found = topology_devices(CHIPS[chip], topology)
        assert len(found) == devices_of(chip, topology)


def test_every_config_grows_on_every_chip():
    for name, make in SCALES.items():
        for chip, reference in (("v5e", "16x16"), ("v5p", "4x8x8"), ("h100", "256")):
            found = [grown(make(), chip, reference, topology) for topology in sizes(chip)]
            assert found[-1] is not None, name
            assert sum(scale is not None for scale in found) >= 3, name


@pytest.mark.parametrize(
    ("config", "chip", "topology"),
    [
        ("transformer-base", "v5e", "4x4"),
        ("transformer-base", "v5p", "2x2x4"),
        ("transformer-base", "tpu7x", "2x2x2"),  # of two devices a chip
        ("decoder-1b", "h100", "16"),
        ("decoder-8b", "v5p", "4x4x4"),
        ("ring-128k", "v5e", "16x16"),
        ("ring-128k", "v5p", "4x8x8"),
    ],
)
def test_without_a_topology_a_run_has_the_smallest_that_it_can_be_divided_over(
    config, chip, topology
):
    assert usual(SCALES[config](), chip) == topology


def test_the_command_prints_and_keeps_a_sheet(tmp_path, monkeypatch, parts):
    asked_for = []
    monkeypatch.setattr(command, "plan", lambda *asked: asked_for.append(asked) or parts)
    console = Console(record=True, width=120)
    aot(Aot("transformer-base", topology="2x2", batch_size=64, output=tmp_path), console)
    text = console.export_text()
    ((scale, chip, topology),) = asked_for
    assert (scale.config.train.batch_size, chip, topology) == (64, "v5e", "2x2")
    for expected in ("fits", "utilisation at most", "100 steps", "GiB"):
        assert expected in text
    assert (tmp_path / "transformer-base-v5e-2x2.json").exists()


def test_wrong_input_is_refused(tmp_path):
    right = Aot("transformer-base", output=tmp_path)
    for change, message in (
        ({"config": "transformer-bas"}, "transformer-bas"),
        ({"chip": "v9"}, "v9"),
        ({"topology": "5x5"}, "topology is 5x5 of v5e"),
        ({"utilisation": 0.0}, "utilisation is 0"),
        ({"batch_size": 7}, r"train\.batch_size is 7"),
        ({"fsdp": 3}, "is 3, which 16 device"),
    ):
        with pytest.raises(InputError, match=message):
            aot(replace(right, **change), Console(quiet=True))
