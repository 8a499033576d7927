"""The command line: a file a command, one dataclass a command, every field a flag."""

import os
import signal
import sys
from collections.abc import Callable

from rich.console import Console

from experiments.cli.ablate import run_ablate
from experiments.cli.aot import run_aot
from experiments.cli.bench import run_bench
from experiments.cli.compare import run_compare
from experiments.cli.evaluate import run_eval
from experiments.cli.faults import run_faults
from experiments.cli.generate import run_generate
from experiments.cli.parsing import USAGE
from experiments.cli.report import run_report
from experiments.cli.status import run_status
from experiments.cli.train import run_train
from experiments.cli.translate import run_translate
from experiments.errors import InputError, expect_known
from experiments.hosts import INTERRUPTED, STOPPED
from experiments.secrets import redacted

COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "compare": run_compare,
    "train": run_train,
    "eval": run_eval,
    "translate": run_translate,
    "generate": run_generate,
    "report": run_report,
    "status": run_status,
    "ablate": run_ablate,
    "bench": run_bench,
    "aot": run_aot,
    "faults": run_faults,
}


def main(arguments: list[str]) -> int:
    """Runs a command; returns the exit code.

    2: the input is wrong. 42: stopped by SIGTERM with everything saved (130 by SIGINT). 141: the
    output was no longer read.
    """
    from experiments.training.errors import DivergedError
    from experiments.training.folder import DISK_ERRORS
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
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read the output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        return say(error, USAGE)
    except DivergedError as error:
        return say(error, 1)
    except Interrupted as error:
        errors.print(_plain(error), soft_wrap=True, highlight=False)
        return STOPPED if error.signal == signal.SIGTERM else INTERRUPTED
    return 0


def _plain(error: object) -> str:
    from rich.markup import escape

    return escape(redacted(str(error)))


def _command(arguments: list[str]) -> tuple[Callable[[list[str]], None], list[str]]:
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: python -m experiments COMMAND [-h] ...\n")
        for name, run in COMMANDS.items():
            print(f"  {name:<10} {(run.__doc__ or '').strip().splitlines()[0]}")
        raise SystemExit(0 if arguments else USAGE)
    expect_known("command", arguments[0], COMMANDS)
    return COMMANDS[arguments[0]], arguments[1:]
