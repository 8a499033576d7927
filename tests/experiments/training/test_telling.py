"""Progress, TensorBoard events, signals."""

import io
import os
import signal
import struct
import threading

import pytest
from rich.console import Console
from tensorboardX.proto.event_pb2 import Event, SessionLog

from experiments.training.progress import Display
from experiments.training.signals import StopRequest
from experiments.training.writers import Writers


def test_a_terminal_gets_one_live_line():
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=120)
    with Display(console, "rnnsearch-seed0", 0, 40) as display:
        for step in range(1, 41):
            display.advance(step)
            if step % 10 == 0:
                display.report(step, 2.5 - step / 40, 12345.6)
    text = shown.getvalue()
    assert "rnnsearch-seed0" in text
    assert "loss 1.500  12,346 tokens/s" in text
    assert "40/40" in text
    assert "step 10/40" not in text


def test_elsewhere_lines_tell_the_time_left():
    shown = io.StringIO()
    with Display(Console(file=shown, width=120), "run", 10, 40) as display:
        for step in (11, 20):
            display.advance(step)
            display.report(step, 1.0, 100.0)
    first, second = shown.getvalue().splitlines()
    assert first == "run: step 11/40  loss 1.000  100 tokens/s"  # no pace yet
    assert second == "run: step 20/40  loss 1.000  100 tokens/s  0:00:00 left"


def events(folder):
    """TFRecords: a length, its checksum, the bytes, their checksum."""
    for path in sorted(folder.glob("events.out.tfevents.*"), key=lambda path: path.stat().st_mtime):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            yield Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]


def test_tensorboard_events_and_where_a_resumed_run_begins(tmp_path):
    for start, steps in [(0, (1, 2, 3)), (2, (3,))]:
        writers = Writers(tmp_path, start)
        for step in steps:
            writers.write("train", step, {"loss": step / 4, "tokens": step})
        writers.close()
    found = list(events(tmp_path))
    scalars = [(e.summary.value[0].tag, e.step, e.summary.value[0].simple_value)
               for e in found if e.summary.value]  # fmt: skip
    assert ("train/loss", 2, 0.5) in scalars
    assert ("train/tokens", 3, 3.0) in scalars
    starts = [e.step for e in found if e.session_log.status == SessionLog.START]
    assert starts == [3]
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert lines[-1] == '{"kind": "train", "step": 3, "loss": 0.75, "tokens": 3}'
    assert len(lines) == 3


def test_the_first_signal_is_noted_and_a_second_interrupt_is_not_waited_for():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        assert stop.signal is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_outside_the_main_thread_signals_are_left_alone():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def enter():
        with StopRequest():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [before]
