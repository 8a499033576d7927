"""`generate`: text from a language model, token by token."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro

from experiments.cli.parsing import parse
from experiments.errors import InputError

_DIM, _PLAIN = "\033[2m", "\033[0m"


@dataclass(frozen=True)
class Generate:
    """Write on from a prompt with a run's best model, which must be a language model.

    On a text task the prompt is the beginning of the text, and printed before it; elsewhere it is
    the source. One text is printed while it is drawn; the same seed draws the same. What goes on
    from running text has `max_tokens` tokens: the ends trained on are where chunks were cut.
    """

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    prompt: tyro.conf.Positional[str] = ""
    max_tokens: int = 256
    """Tokens written at most."""
    temperature: float | None = None
    """Logits are divided by it (None: 1); 0 is greedy."""
    top_k: int | None = None
    """Draw among the so many likeliest tokens."""
    top_p: float | None = None
    """Draw among the fewest tokens that have this probability together."""
    min_p: float | None = None
    """Draw among tokens at least so many times as likely as the likeliest."""
    beam: int | None = None
    """Search, keeping so many hypotheses, and draw nothing."""
    seed: int | None = None
    """Of the draws (None: 0)."""
    number: int = 1
    """Texts drawn at once, or the so many best of a search."""

    def sampling(self) -> Any:
        """How tokens are drawn (None: they are not).

        Raises:
            InputError: a search is asked for as well, or a value is out of its range.
        """
        from experiments.evaluation.sampling import Sampling

        names = ("temperature", "top_k", "top_p", "min_p", "seed")
        asked = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if self.beam is None:
            return Sampling(**asked)
        if asked:
            flags = ", ".join(f"{name} {value}" for name, value in asked.items())
            raise InputError(f"beam {self.beam}: a search draws nothing; got also {flags}")
        return None


def run_generate(arguments: list[str]) -> None:
    """write on from a prompt, token by token, with a run's language model"""
    asked: Generate = parse(Generate, "generate", arguments)
    sampling = asked.sampling()
    from flax import nnx

    from attn.models.one_sequence import OneSequence
    from experiments.evaluation.generate import Generator
    from experiments.runs import load_run

    trained, task = load_run(asked.run)
    if not isinstance(nnx.merge(trained.graphdef, trained.params), OneSequence):
        raise InputError(
            f"{asked.run} trained {trained.config.model.name}; expected a model of one sequence. "
            "This one answers: python -m experiments translate"
        )
    if sampling is not None and task.kind == "text":
        sampling = replace(sampling, ends=False)
    generator = Generator(trained.graphdef, trained.params, task, asked.max_tokens, sampling)
    prompt = generator.echo(asked.prompt)
    if asked.beam is not None:
        penalty = trained.config.search.length_penalty
        best = generator.best(
            asked.prompt, beam=asked.beam, number=asked.number, length_penalty=penalty
        )
        texts: list[Iterable[str]] = [[text] for text in best]
    elif asked.number == 1:
        texts = [generator.stream(asked.prompt)]
    else:
        texts = [[text] for text in generator.samples(asked.prompt, asked.number)]
    for place, text in enumerate(texts):
        _print(prompt, text, after="\n\n" if place < len(texts) - 1 else "\n")


def _print(prompt: str, pieces: Iterable[str], after: str) -> None:
    """Prints pieces as they come, behind the prompt, which a terminal shows dim."""
    if prompt and sys.stdout.isatty():
        prompt = f"{_DIM}{prompt}{_PLAIN}"
    print(prompt, end="", flush=True)
    for piece in pieces:
        print(piece, end="", flush=True)
    print(after, end="", flush=True)
