"""What compilers say of kernels' speed, for chips that this machine does not have.

`python -m experiments.bench.static CHIP MODULE:FACTORY [JSON]` compiles what FACTORY(**JSON)
returns, a function and the shapes of its arguments, and prints of each kernel: for a TPU, the
cycles of its schedule; for a GPU, its registers, spills and shared memory.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from experiments.bench.schedules import Kernel, parse_schedule
from experiments.chips import CHIPS, compile_for
from experiments.errors import InputError, expect_known


@dataclass(frozen=True)
class Registers:
    """What a GPU kernel takes."""

    name: str
    registers: int
    """Of a thread."""
    spill_bytes: int
    """Stored to memory and loaded again, for want of registers, by a thread."""
    shared_bytes: int
    """Of a block of threads."""
    threads: int
    """Of a block; 0 where XLA does not launch it."""
    serialized: bool
    """Whether ptxas had to make the tensor cores' instructions wait for each other."""


def tpu_kernels(
    chip: str, factory: str, arguments: Mapping[str, Any], trips: Sequence[int] = ()
) -> list[Kernel]:
    """Schedules of the Pallas kernels of a function, in the order in which they were compiled.

    Args:
        chip: a TPU of `experiments.chips.CHIPS`.
        factory: "module:function"; returns a function and a tuple of its arguments' shapes.
        arguments: of the factory, by name.
        trips: of the loops whose bounds are known at run time alone; see `parse_schedule`.

    Raises:
        InputError: no such TPU, or it does not compile.
    """
    expect_known("TPU", chip, [name for name, c in CHIPS.items() if c.platform == "tpu"])
    found = []
    with TemporaryDirectory() as folder:
        flags = f"--xla_jf_dump_to={folder} --xla_jf_dump_llo_text=true"
        _compile_apart(chip, factory, arguments, {"LIBTPU_INIT_ARGS": flags})
        for path in sorted(Path(folder).glob("*-final_bundles.txt")):
            text = path.read_text("utf-8", "replace")
            kernel = re.search(r"exit bundle: %?([\w.-]+) = .*\bcustom-call\(", text)
            if kernel is not None:
                stem = re.sub(r"-\d+-final_bundles\.txt$", "", path.name)
                (use,) = Path(folder).glob(f"{stem}-*-final_hlo-static-per-bundle-utilization.txt")
                found.append(parse_schedule(kernel[1], text, use.read_text("utf-8"), trips))
    return found


def gpu_kernels(chip: str, factory: str, arguments: Mapping[str, Any]) -> list[Registers]:
    """What the kernels of a function take, XLA's own among them; arguments as of `tpu_kernels`.

    Raises:
        InputError: no such GPU, it does not compile, or there is no ptxas.
    """
    expect_known("GPU", chip, [name for name, c in CHIPS.items() if c.platform == "cuda"])
    assembler, said = ptxas(), ""
    with TemporaryDirectory() as folder:
        flags = f"--xla_dump_to={folder} --xla_dump_emitter_re=.*"
        _compile_apart(chip, factory, arguments, {"XLA_FLAGS": flags})
        for path in sorted(Path(folder).glob("*.ptx")):
            if path.stat().st_size > 0:
                command = [assembler, "-v", "-arch=sm_90a", str(path), "-o", os.devnull]
                said += _run(command, {})
        launches = "".join(p.read_text("utf-8") for p in Path(folder).glob("*thunk_sequence.txt"))
    return parse_ptxas(said, launches)


def parse_ptxas(said: str, launches: str) -> list[Registers]:
    """From what `ptxas -v` says, and XLA's `*thunk_sequence.txt`, which has the launches.

    Triton kernels take their shared memory at launch, so that ptxas does not know of it.
    """
    found = []
    for part in re.split(r"(?=^ptxas info +: Compiling entry function)", said, flags=re.MULTILINE):
        name = re.match(r"ptxas info +: Compiling entry function '([^']+)'", part)
        if name is None:
            continue
        launch = re.search(
            rf" {re.escape(name[1])} grid: .*threads: \[(\d+),.*shared_memory: (\d+) bytes",
            launches,
        )
        late = re.search(rf"serialized .* in the function '{re.escape(name[1])}'", said)
        found.append(
            Registers(
                name[1],
                registers=sum(map(int, re.findall(r"Used (\d+) registers", part))),
                spill_bytes=sum(map(int, re.findall(r"(\d+) bytes spill", part))),
                shared_bytes=sum(map(int, re.findall(r"(\d+) bytes smem", part)))
                + (int(launch[2]) if launch else 0),
                threads=int(launch[1]) if launch else 0,
                serialized=late is not None,
            )
        )
    return found


def ptxas() -> str:
    """NVIDIA's assembler: of the package nvidia-cuda-nvcc, or else on the path.

    XLA looks in that order too, and writes PTX of the version that its find can read.

    Raises:
        InputError: there is none.
    """
    spec = find_spec("nvidia")
    roots = spec.submodule_search_locations if spec is not None else None
    places = [str(path) for root in roots or () for path in Path(root).glob("cu*/bin")]
    found = shutil.which("ptxas", path=os.pathsep.join(places)) or shutil.which("ptxas")
    if found is None:
        raise InputError("there is no ptxas; pip install 'attn[aot]' brings it")
    return found


def compile_named(chip: str, factory: str, arguments: str) -> None:
    """Compiles what a factory returns.

    Args:
        chip: of `experiments.chips.CHIPS`.
        factory: "module:function"; returns a function and a tuple of its arguments' shapes.
        arguments: of the factory: an object in JSON.
    """
    module, _, name = factory.partition(":")
    function, shapes = getattr(import_module(module), name)(**json.loads(arguments))
    compile_for(CHIPS[chip], function, *shapes)


def _compile_apart(
    chip: str, factory: str, arguments: Mapping[str, Any], flags: Mapping[str, str]
) -> None:
    """In a process of its own: compilers read their flags once."""
    code = f"import sys; from {__spec__.name} import compile_named; compile_named(*sys.argv[1:])"
    apart = {
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_COMPILATION_CACHE": "false",  # or nothing may be compiled
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        **flags,
    }
    _run([sys.executable, "-c", code, chip, factory, json.dumps(arguments)], apart)


def _run(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Its messages."""
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise InputError(f"{Path(command[0]).name} failed: {done.stderr.strip()[-2000:]}")
    return done.stderr


def main(chip: str, factory: str, arguments: str = "{}") -> None:
    """Prints a line a kernel."""
    expect_known("chip", chip, CHIPS)
    if CHIPS[chip].platform == "cuda":
        for each in gpu_kernels(chip, factory, json.loads(arguments)):
            print(each)
        return
    for kernel in tpu_kernels(chip, factory, json.loads(arguments)):
        units = (f"{unit} {kernel.use(unit):.0%}" for unit in kernel.capacity if kernel.use(unit))
        print(
            f"{kernel.name}: {kernel.steps} steps of {kernel.taken:,.0f} cycles, "
            f"{kernel.skipped:,.0f} where skipped, {kernel.rare:,.0f} rarely; {', '.join(units)}"
        )


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except InputError as error:
        sys.exit(str(error))
