"""`translate`: texts in, outputs and where the best of them looked."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from experiments.cli.parsing import parse
from experiments.cli.searching import Search


@dataclass(frozen=True)
class Translate:
    """Translate a text, or standard input line by line, with a run's best model.

    Prints the n best outputs with their scores and leaves a picture of where the best one looked.
    """

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    text: tyro.conf.Positional[str | None] = None
    """None: read lines from standard input."""
    search: Annotated[Search, tyro.conf.arg(name="")] = field(
        default_factory=lambda: Search(beam=4)
    )


def run_translate(arguments: list[str]) -> None:
    """translate a text, or standard input, with a run's best model"""
    asked = parse(Translate, "translate", arguments)
    from experiments.evaluation.translate import Translator
    from experiments.runs import load_run

    trained, task = load_run(asked.run)
    search = asked.search.over(trained.config.search)
    translator = Translator(trained.graphdef, trained.params, task, search)
    if asked.text is not None:
        _show(translator, task, asked.text, asked.run)
        return
    for line in sys.stdin:
        if line.strip():
            _show(translator, task, line.strip(), asked.run)


def _show(translator: Any, task: Any, text: str, run: Path) -> None:
    from experiments.evaluation.alignments import draw

    (found,) = translator([text])
    for output, score in found.outputs:
        print(f"{score:8.3f}  {task.shown(text, output)}", flush=True)
    if found.alignment is not None:
        pictures = run / "alignments"
        pictures.mkdir(exist_ok=True)
        slug = "".join(c if c.isalnum() else "-" for c in text.lower())[:60].strip("-") or "text"
        draw(found.alignment, pictures / f"{slug}.png")
        print(f"          {pictures / slug}.png", flush=True)
