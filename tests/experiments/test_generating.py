"""`python -m experiments generate`: what it prints, to a pipe and to a terminal."""

import sys

import pytest
from flax import nnx

from experiments.cli import main
from experiments.config import Config
from experiments.training.restore import Trained
from tests.experiments.evaluation.toy import HistoryModule, task
from tests.experiments.evaluation.toy_language import RecurrentModel, text_task


@pytest.fixture
def trained(monkeypatch):
    """Makes any folder a run of the given model and task."""

    def put(model, on):
        run = Trained(Config(), *nnx.split(model), step=1, nll=None)
        monkeypatch.setattr("experiments.runs.load_run", lambda folder: (run, on))

    return put


@pytest.fixture
def language(trained):
    trained(RecurrentModel(text_task().target.size), text_task())


def generate(capsys, *arguments: str) -> str:
    assert main(["generate", "run", *arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.usefixtures("language")
def test_a_pipe_gets_the_text_alone(capsys):
    written = generate(capsys, "bad ", "--max-tokens", "9", "--seed", "4")
    assert written.startswith("bad ")
    assert len("bad ") < len(written.rstrip("\n")) <= len("bad ") + 9
    assert "\033" not in written
    assert generate(capsys, "bad ", "--max-tokens", "9", "--seed", "4") == written


@pytest.mark.usefixtures("language")
def test_a_terminal_gets_the_prompt_dim(capsys, monkeypatch):
    plain = generate(capsys, "bad", "--max-tokens", "5")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert generate(capsys, "bad", "--max-tokens", "5") == plain.replace(
        "bad", "\033[2mbad\033[0m", 1
    )


@pytest.mark.usefixtures("language")
def test_several_texts_stand_one_after_another(capsys):
    texts = generate(capsys, "bad", "--number", "3", "--max-tokens", "5").split("\n\n")
    assert len(texts) == 3
    assert all(text.startswith("bad") for text in texts)
    assert texts[0] == generate(capsys, "bad", "--max-tokens", "5").removesuffix("\n")
    found = generate(capsys, "bad", "--beam", "4", "--number", "2", "--max-tokens", "5")
    assert len(set(found.split("\n\n"))) == 2


@pytest.mark.usefixtures("language")
def test_a_reader_that_has_enough_is_no_error(capfd, monkeypatch):
    def closed(*args, **kwargs):
        raise BrokenPipeError(32, "Broken pipe")

    with monkeypatch.context() as patch:
        patch.setattr("builtins.print", closed)
        patch.setattr("os.dup2", lambda old, new: None)
        assert main(["generate", "run", "bad"]) == 141
    assert capfd.readouterr().err == ""


def test_other_models_are_referred_to_translate(trained, capsys):
    trained(HistoryModule(vocabulary=8, seed=7), task())
    assert main(["generate", "run", "abc"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "run trained rnnsearch; expected a model of one sequence" in said
    assert "python -m experiments translate" in said


@pytest.mark.usefixtures("language")
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--temperature -1", "temperature is -1.0"),
        ("--top-k 0", "top_k is 0"),
        ("--top-p 2", "top_p is 2.0; expected more than 0 and at most 1"),
        ("--min-p 0", "min_p is 0.0"),
        ("--max-tokens 0", "max_tokens is 0"),
        ("--number 0", "number is 0"),
        ("--beam 0", "beam is 0"),
        ("--beam 2 --number 3", "number is 3; expected 1 to beam = 2"),
        ("--beam 2 --top-p 0.9 --seed 1", "a search draws nothing; got also top_p 0.9, seed 1"),
    ],
)
def test_bad_values_are_named(flags, said, capsys):
    assert main(["generate", "run", "bad", *flags.split()]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
