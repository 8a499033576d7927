"""The command line: one dataclass a command, every field a flag."""

import errno
import shlex
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console

from experiments.errors import InputError, expect_known

USAGE, STOPPED = 2, 42

SETTINGS = (tyro.conf.AvoidSubcommands, tyro.conf.FlagConversionOff)


def main(arguments: list[str]) -> int:
    """Runs a command; returns the exit code.

    2: the input is wrong. 42: stopped by SIGTERM with everything saved (130 by SIGINT).
    """
    from experiments.training.errors import DivergedError
    from experiments.training.signals import Interrupted

    errors = Console(stderr=True)

    def say(error: object, code: int) -> int:
        errors.print(f"[bold red]error:[/] {_plain(error)}", soft_wrap=True, highlight=False)
        return code

    try:
        command, rest = _command(arguments)
        command(rest)
    except InputError as error:
        return say(error, USAGE)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        return say(error, USAGE)
    except DivergedError as error:
        return say(error, 1)
    except Interrupted as error:
        errors.print(_plain(error), soft_wrap=True, highlight=False)
        return STOPPED if error.signal == signal.SIGTERM else 128 + signal.SIGINT
    return 0


def _plain(error: object) -> str:
    from rich.markup import escape

    return escape(str(error))


def _command(arguments: list[str]) -> tuple[Callable[[list[str]], None], list[str]]:
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: python -m experiments COMMAND [-h] ...\n")
        for name, run in COMMANDS.items():
            print(f"  {name:<10} {(run.__doc__ or '').strip().splitlines()[0]}")
        raise SystemExit(0 if arguments else USAGE)
    expect_known("command", arguments[0], COMMANDS)
    return COMMANDS[arguments[0]], arguments[1:]


def _parse(kind: Any, command: str, arguments: list[str], default: Any = None) -> Any:
    given = {} if default is None else {"default": default}
    return tyro.cli(
        kind, prog=f"python -m experiments {command}", args=arguments, config=SETTINGS, **given
    )


@dataclass(frozen=True)
class Compare:
    """Train models head-to-head on one task and write a report.

    All models get the same batches, optimizer, number of examples and search, and are sized to
    the same number of parameters. Where a flag is left out, the task's own setting counts
    (experiments/configs/tasks.py). The same command goes on where it was interrupted.
    """

    task: str = "pronunciation"
    """pronunciation, verses, multi30k, tatoeba, or a TFDS translation set by its TFDS name."""
    models: tuple[str, ...] = (
        "seq2seq",
        "rnnsearch",
        "luong-dot",
        "luong-general",
        "transformer",
    )
    """Also: seq2seq-every-step, luong-concat, luong-location."""
    seeds: tuple[int, ...] = (0,)
    """Every model is trained once from each."""
    folder: Path | None = None
    """Of the comparison (None: runs/compare-TASK)."""
    examples: int | None = None
    """Pairs that each model trains on, repeats counted."""
    parameters: int | None = None
    """About so many in every model (within 5%)."""
    max_words: int | None = None
    """Only pairs of at most this many source words."""
    batch_size: int | None = None
    learning_rate: float | None = None
    beam: int | None = None
    """Hypotheses kept in search; 1 is greedy."""
    items: int | None = None
    """Score only the first so many test items."""
    limit: int | None = None
    """Train on the first so many pairs only."""
    buckets: int | None = None
    """Padded shapes: more waste less on padding, and take longer to compile."""
    vocabulary: int | None = None
    """Subwords, for translation."""
    reverse: bool = False
    """Swap source and target."""
    parallel: Literal["pmap", "jit"] | None = None
    manual_dir: str | None = None
    """Folder with files fetched by hand (None: $ATTN_DATA)."""
    data_dir: str | None = None
    """Where prepared data is kept (None: $TFDS_DATA_DIR, else ~/tensorflow_datasets)."""

    def contest(self, command: str) -> Any:
        """What is asked for, in full."""
        from experiments.compare import Contest
        from experiments.configs import for_task

        base = for_task(self.task)
        base = replace(
            base,
            parameters=self.parameters or base.parameters,
            task=_given(
                base.task,
                max_words=self.max_words,
                limit=self.limit,
                buckets=self.buckets,
                vocabulary=self.vocabulary,
                reverse=self.reverse,
                manual_dir=self.manual_dir,
                data_dir=self.data_dir,
            ),
            train=_given(
                base.train,
                examples=self.examples,
                batch_size=self.batch_size,
                parallel=self.parallel,
            ),
            optimizer=_given(base.optimizer, learning_rate=self.learning_rate),
            search=_given(base.search, beam=self.beam, items=self.items),
        )
        folder = self.folder or Path("runs") / f"compare-{self.task.replace('/', '-')}"
        return Contest(base, self.models, self.seeds, folder, command)


def _given(settings: Any, **changes: Any) -> Any:
    """The settings with those changes that are not None."""
    return replace(settings, **{k: v for k, v in changes.items() if v is not None})


def run_compare(arguments: list[str]) -> None:
    """train models head-to-head on one task and write a report"""
    command = shlex.join(["python", "-m", "experiments", "compare", *arguments])
    contest = _parse(Compare, "compare", arguments).contest(command)
    from experiments.compare import compare

    compare(contest, Console())


def run_train(arguments: list[str]) -> None:
    """train one named experiment, every setting of it a flag"""
    from experiments.config import Config
    from experiments.configs import named

    known = named()
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: python -m experiments train CONFIG [-h] [flags]\n\nCONFIG is one of:")
        print("\n".join(f"  {name}" for name in known))
        raise SystemExit(0 if arguments else USAGE)
    name, rest = arguments[0], arguments[1:]
    expect_known("config", name, known)

    @dataclass(frozen=True)
    class Train:
        """Train one model; the same command goes on where it was stopped."""

        config: Annotated[Config, tyro.conf.arg(name="")]
        folder: Path = Path("runs") / name
        """Of the run."""

    asked = _parse(Train, f"train {name}", rest, Train(known[name]))
    from experiments import tasks
    from experiments.runs import test_run, train_run

    console = Console()
    task = tasks.load(asked.config.task, asked.folder)
    train_run(asked.config, task, asked.folder, console)
    _print_scores(console, test_run(asked.folder, task), "test")
    console.print(f"run: {asked.folder}", soft_wrap=True)


@dataclass(frozen=True)
class Search:
    """How outputs are found; what is left out is as in the run's configuration."""

    beam: int | None = None
    """Hypotheses kept; 1 is greedy."""
    length_penalty: float | None = None
    """GNMT's alpha."""
    max_length: int | None = None
    """Tokens at most in an output."""

    def over(self, settings: Any) -> Any:
        """The run's settings, changed where this says so."""
        return _given(
            settings,
            beam=self.beam,
            length_penalty=self.length_penalty,
            max_length=self.max_length,
        )


@dataclass(frozen=True)
class Eval:
    """Score a run's best model on a split."""

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    split: Literal["train", "validation", "test"] = "test"
    items: int | None = None
    """Score the first so many items only."""
    search: Annotated[Search, tyro.conf.arg(name="")] = Search()


def run_eval(arguments: list[str]) -> None:
    """score a run's best model on a split"""
    asked = _parse(Eval, "eval", arguments)
    from experiments.runs import evaluate_run
    from experiments.training.folder import read_config

    search = _given(asked.search.over(read_config(asked.run).search), items=asked.items)
    _print_scores(Console(), evaluate_run(asked.run, asked.split, search), asked.split)


def _print_scores(console: Console, evaluation: Any, split: str) -> None:
    from experiments.reports.results import METRICS

    console.print(f"{split} split, {len(evaluation.items):,} items, {evaluation.decoding}")
    for name, value in evaluation.metrics.items():
        low, high = evaluation.intervals[name]
        write = METRICS[name].write
        console.print(
            f"  {METRICS[name].label:<22} {write(value):>8}   95% {write(low)} to {write(high)}",
            highlight=False,
        )
    for name, signature in evaluation.signatures.items():
        console.print(f"  {name}: {signature}", style="dim", highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Translate:
    """Translate a text, or standard input line by line, with a run's best model.

    Prints the n best outputs with their scores and leaves a picture of where the best one looked.
    """

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    text: tyro.conf.Positional[str | None] = None
    """None: read lines from standard input."""
    search: Annotated[Search, tyro.conf.arg(name="")] = Search(beam=4)


def run_translate(arguments: list[str]) -> None:
    """translate a text, or standard input, with a run's best model"""
    asked = _parse(Translate, "translate", arguments)
    from experiments.evaluation.translate import Translator
    from experiments.runs import load_run

    trained, task = load_run(asked.run)
    search = asked.search.over(trained.config.search)
    translator = Translator(trained.graphdef, trained.params, task, search)
    if asked.text is not None:
        _show(translator, asked.text, asked.run)
        return
    for line in sys.stdin:
        if line.strip():
            _show(translator, line.strip(), asked.run)


def _show(translator: Any, text: str, run: Path) -> None:
    from experiments.evaluation.alignments import draw

    (found,) = translator([text])
    for output, score in found.outputs:
        print(f"{score:8.3f}  {output}", flush=True)
    if found.alignment is not None:
        pictures = run / "alignments"
        pictures.mkdir(exist_ok=True)
        slug = "".join(c if c.isalnum() else "-" for c in text.lower())[:60].strip("-") or "text"
        draw(found.alignment, pictures / f"{slug}.png")
        print(f"          {pictures / slug}.png", flush=True)


@dataclass(frozen=True)
class Report:
    """Write report.html anew from what is in a folder."""

    folder: tyro.conf.Positional[Path]
    """Of a comparison or of a run."""


def run_report(arguments: list[str]) -> None:
    """write report.html anew from what is in a folder"""
    asked = _parse(Report, "report", arguments)
    from experiments.reports import write_report

    print(write_report(asked.folder))


def run_bench(arguments: list[str]) -> None:
    """measure attn against its peers: bench train, bench kernels, bench chips"""
    benches = {"train": _bench_train, "kernels": _bench_kernels, "chips": _bench_chips}
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: python -m experiments bench {train,kernels,chips} [-h] [flags]")
        raise SystemExit(0 if arguments else USAGE)
    expect_known("bench", arguments[0], benches)
    benches[arguments[0]](arguments[1:])


def _bench_train(arguments: list[str]) -> None:
    from experiments.bench.train import BenchTrain, bench_train

    bench_train(_parse(BenchTrain, "bench train", arguments), Console())


def _bench_kernels(arguments: list[str]) -> None:
    from experiments.bench.kernels import BenchKernels, bench_kernels

    bench_kernels(_parse(BenchKernels, "bench kernels", arguments), Console())


def _bench_chips(arguments: list[str]) -> None:
    from experiments.bench.chips import BenchChips, bench_chips

    bench_chips(_parse(BenchChips, "bench chips", arguments), Console())


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "compare": run_compare,
    "train": run_train,
    "eval": run_eval,
    "translate": run_translate,
    "report": run_report,
    "bench": run_bench,
}
