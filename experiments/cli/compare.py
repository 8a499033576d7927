"""`compare`: models head-to-head on one task."""

import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from experiments.cli.parsing import given, parse
from experiments.hosts import Hosts, join


@dataclass(frozen=True)
class Compare:
    """Train models head-to-head on one task and write a report.

    All models get the same batches, optimizer, number of examples and search, and are sized to
    the same number of parameters. Where a flag is left out, the task's own setting counts
    (experiments/configs/tasks.py). The same command goes on where it was interrupted.
    """

    task: str = "pronunciation"
    """Translation: verses, verses-as-lm, multi30k, tatoeba, or a TFDS translation set by its TFDS
    name. Spelling: pronunciation, silent-letters. Language: shakespeare, verses-english,
    verses-masked. Reading: sst, lookup. Generated: copy, reverse, permutation, recall, order."""
    models: tuple[str, ...] | None = None
    """By name, as experiments/configs/models.py has them (None: a few that suit the task)."""
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
    hosts: Hosts = field(default_factory=Hosts)

    def contest(self, command: str) -> Any:
        """What is asked for, in full."""
        from experiments.compare import Contest
        from experiments.configs import CONTESTS, for_task
        from experiments.tasks.registry import family_of

        base = for_task(self.task)
        base = replace(
            base,
            parameters=self.parameters or base.parameters,
            task=given(
                base.task,
                max_words=self.max_words,
                limit=self.limit,
                buckets=self.buckets,
                vocabulary=self.vocabulary,
                reverse=self.reverse,
                manual_dir=self.manual_dir,
                data_dir=self.data_dir,
            ),
            train=given(
                base.train,
                examples=self.examples,
                batch_size=self.batch_size,
                parallel=self.parallel,
            ),
            optimizer=given(base.optimizer, learning_rate=self.learning_rate),
            search=given(base.search, beam=self.beam, items=self.items),
        )
        folder = self.folder or Path("runs") / f"compare-{self.task.replace('/', '-')}"
        models = self.models or CONTESTS[family_of(base.task.name).kind]
        return Contest(base, models, self.seeds, folder, command)


def run_compare(arguments: list[str]) -> None:
    """train models head-to-head on one task and write a report"""
    command = shlex.join(["python", "-m", "experiments", "compare", *arguments])
    asked = parse(Compare, "compare", arguments)
    contest = asked.contest(command)
    join(asked.hosts)
    import jax

    from experiments.compare import compare

    compare(contest, Console(quiet=jax.process_index() > 0))
