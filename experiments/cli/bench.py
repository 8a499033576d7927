"""`bench`: attn against its peers."""

from rich.console import Console

from experiments.cli.parsing import USAGE, parse
from experiments.errors import expect_known


def run_bench(arguments: list[str]) -> None:
    """measure attn: bench {train,kernels,layers,decode,chips,memory,together}"""
    benches = {
        "train": _bench_train,
        "kernels": _bench_kernels,
        "layers": _bench_layers,
        "decode": _bench_decode,
        "chips": _bench_chips,
        "memory": _bench_memory,
        "together": _bench_together,
    }
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"usage: python -m experiments bench {{{','.join(benches)}}} [-h] [flags]")
        raise SystemExit(0 if arguments else USAGE)
    expect_known("bench", arguments[0], benches)
    benches[arguments[0]](arguments[1:])


def _bench_train(arguments: list[str]) -> None:
    from experiments.bench.train import BenchTrain, bench_train

    bench_train(parse(BenchTrain, "bench train", arguments), Console())


def _bench_kernels(arguments: list[str]) -> None:
    from experiments.bench.kernels import BenchKernels, bench_kernels

    bench_kernels(parse(BenchKernels, "bench kernels", arguments), Console())


def _bench_chips(arguments: list[str]) -> None:
    from experiments.bench.chips import BenchChips, bench_chips

    bench_chips(parse(BenchChips, "bench chips", arguments), Console())


def _bench_layers(arguments: list[str]) -> None:
    from experiments.bench.layers import BenchLayers, bench_layers

    bench_layers(parse(BenchLayers, "bench layers", arguments), Console())


def _bench_decode(arguments: list[str]) -> None:
    from experiments.bench.decode import BenchDecode, bench_decode

    bench_decode(parse(BenchDecode, "bench decode", arguments), Console())


def _bench_memory(arguments: list[str]) -> None:
    from experiments.bench.memory import BenchMemory, bench_memory

    bench_memory(parse(BenchMemory, "bench memory", arguments), Console())


def _bench_together(arguments: list[str]) -> None:
    from experiments.bench.together import BenchTogether, bench_together

    bench_together(parse(BenchTogether, "bench together", arguments), Console())
