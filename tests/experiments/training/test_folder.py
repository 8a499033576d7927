import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import get_args

import pytest

from attn.models import ModelConfig, RNNSearchConfig
from experiments.config import Config, TrainConfig
from experiments.errors import InputError
from experiments.training.folder import (
    claimed,
    config_to_json,
    in_use,
    keep_lines,
    read_config,
    write_json,
    writing,
)


def make(folder, config):
    with claimed(folder, config_to_json(config)):
        pass


@pytest.mark.parametrize("model", get_args(ModelConfig))
def test_a_configuration_comes_back(tmp_path, model):
    config = Config(model=model(width=34), parameters=1000, train=TrainConfig(seed=3))
    make(tmp_path / "run", config)
    assert read_config(tmp_path / "run") == config


def test_the_same_configuration_goes_on(tmp_path):
    for _ in range(2):
        make(tmp_path / "run", Config())


def test_another_configuration_is_refused_with_what_differs(tmp_path):
    make(tmp_path, Config())
    other = Config(train=TrainConfig(seed=7), model=replace(RNNSearchConfig(), width=6))
    with pytest.raises(InputError) as error:
        make(tmp_path, other)
    lines = str(error.value).splitlines()
    assert lines[0] == f"{tmp_path} was made with another configuration:"
    assert lines[1:3] == [
        f"  model.width: {RNNSearchConfig().width} there, 6 now",
        "  train.seed: 0 there, 7 now",
    ]
    assert read_config(tmp_path) == Config()


def test_a_field_younger_than_the_folder_counts_as_its_default(tmp_path):
    make(tmp_path, Config())
    value = config_to_json(Config())
    del value["train"]["keep"]
    (tmp_path / "config.json").write_text(json.dumps(value))
    make(tmp_path, Config())
    with pytest.raises(InputError, match=r"train\.keep: 3 there, 4 now"):
        make(tmp_path, Config(train=TrainConfig(keep=4)))


def test_a_field_that_is_gone_is_named(tmp_path):
    make(tmp_path, Config())
    value = config_to_json(Config())
    value["train"]["old"] = 1
    (tmp_path / "config.json").write_text(json.dumps(value))
    with pytest.raises(InputError, match=r"train\.old: 1 there, 'not there' now"):
        make(tmp_path, Config())


def test_whether_a_process_trains_in_a_folder(tmp_path):
    assert not in_use(tmp_path)
    with claimed(tmp_path, config_to_json(Config())):
        assert in_use(tmp_path)
    assert not in_use(tmp_path)


def test_a_folder_in_use_is_refused(tmp_path):
    with claimed(tmp_path, config_to_json(Config())), pytest.raises(InputError, match="in use"):
        make(tmp_path, Config())
    make(tmp_path, Config())


def test_a_killed_process_leaves_the_folder_free(tmp_path):
    program = (
        "import os, sys; from pathlib import Path; from experiments.config import Config\n"
        "from experiments.training.folder import claimed, config_to_json\n"
        "with claimed(Path(sys.argv[1]), config_to_json(Config())): os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", program, tmp_path], check=False).returncode == -9
    make(tmp_path, Config())


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match=r"holds no config.json but other files \(letter.txt\)"):
        make(tmp_path, Config())


def test_the_tokenizer_may_be_there_first(tmp_path):
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "config.json.new").write_text("{")  # killed while it was written
    make(tmp_path, Config())
    assert read_config(tmp_path) == Config()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is no run's folder"),
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"model": {"name": "perceptron"}}', "is not a configuration of this version"),
        ('{"model": {"name": "rnnsearch", "depth": 9}}', "is not a configuration of this version"),
        ('{"task": {}}', "is not a configuration of this version"),
    ],
)
def test_configurations_that_cannot_be_read(tmp_path, text, message):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_config(tmp_path)


def test_a_file_in_the_way_of_the_folder(tmp_path):
    (tmp_path / "run").write_text("")
    for folder in (tmp_path / "run", tmp_path / "run" / "inner"):
        with pytest.raises(InputError, match=f"cannot write {folder}"):
            make(folder, Config())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_disk_errors_become_messages(tmp_path, number):
    for error in (
        OSError(number, "from the system"),
        ValueError(f"RESOURCE_EXHAUSTED: Error writing [os_error_code='{number}']"),
    ):
        expected = f"cannot write {tmp_path}: {os.strerror(number)}"
        with pytest.raises(InputError, match=expected), writing(tmp_path):
            raise error


@pytest.mark.parametrize("error", [ValueError("a mistake"), OSError(errno.EBADF, "a mistake")])
def test_other_errors_stay_what_they_are(tmp_path, error):
    with pytest.raises(type(error), match="a mistake"), writing(tmp_path):
        raise error


def test_a_full_disk(tmp_path):
    (tmp_path / "value.json.new").symlink_to("/dev/full")
    (tmp_path / "value.json").write_text("1")
    with pytest.raises(InputError, match="No space left on device"):
        write_json(tmp_path / "value.json", 2)
    assert (tmp_path / "value.json").read_text() == "1"


def test_lines_of_later_steps_are_dropped(tmp_path):
    path = tmp_path / "lines.jsonl"
    lines = [json.dumps({"step": step}) for step in (1, 2, 2, 3, 4)]
    for end in ("\n", '\n{"st', "\nnonsense\n"):
        path.write_text("\n".join(lines) + end)
        keep_lines(path, 3)
        assert path.read_text().splitlines() == lines[:4]
    keep_lines(path, 0)
    assert path.read_text() == ""
    keep_lines(tmp_path / "missing.jsonl", 3)
    assert not (tmp_path / "missing.jsonl").exists()
