"""What is read from compilers' dumps, and that they are still written as they were."""

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from experiments.bench import static
from experiments.bench.schedules import parse_schedule
from experiments.bench.static import Registers, gpu_kernels, parse_ptxas, tpu_kernels
from experiments.chips import CHIPS, missing
from experiments.errors import InputError

HERE = "tests.experiments.bench.test_static"
FACTORY = f"{HERE}:tanh_tiles"

HEAD = """= control target key start
LH: loop header
= control target key end

"""
BUNDLES = (
    HEAD
    + """     0   :  { %s0_s0 = smov 0  ;;  %s90_s9 = smov 3 } /* Start region 1 */
   0x1 LB: > { %s1_s1 = sphi %s0_s0, %s2_s1 /* phi copy
over two lines */  ;;  %p7_p7 = scmp.ge.s32.totalorder %s1_s1, 1 } /* Start region 9 */
   0x2   : > { %p8_p8 = scmp.lt.s32.totalorder %s1_s1, 9  ;;  %p1_p1 = pnand %p7_p7, %p8_p8 }
   0x3   : > { %7 = sbr.rel (%p1_p1) target = $region4  ;;  %s3_s3 = sadd.s32 (!%p1_p1), 1, %s1_s1 }
   0x4   :  {}
   0x5   :  {}
   0x6   :  {}
   0x7   :  {} /* End region 2 */
   0x8   : > { %9 = sbr.rel (%p3_p3) target = $region6 }
   0x9   :  {}
   0xa   :  {}
   0xb   :  {}
   0xc   :  {}
   0xd LB: >> { %s91_s9 = sphi %s90_s9, %s92_s9 } /* Start region 11 */
   0xe   : >> { %s92_s9 = sadd.s32 2, %s91_s9  ;;  %v1_v1 = vtanh.f32 %v0_v0 }
   0xf   : >> { %p4_p4 = scmp.ge.s32.totalorder %s92_s9, 23 /* loop exit test */ }
  0x10   : > { %10 = sbr.rel (!%p4_p4) target = $region11 }
  0x11   :  {}
  0x12   :  {}
  0x13   :  {}
  0x14   :  {}
  0x15 PF: > { %11 = vst [vmem:[#a2]] %v1_v1 } /* Start/End empty region 6 :: Start region 7 */
  0x16   : > { %12 = sbr.rel (%p5_p5) target = $region8 }
  0x17   :  {}
  0x18   :  {}
  0x19   :  {}
  0x1a   :  {}
  0x1b   : > { %13 = vst [vmem:[#allocation3]] %v1_v1 }
  0x1c PF: > { %14 = vnop } /* Start/End empty region 8 */
  0x1d PF: > { %s2_s1 = sadd.s32 1, %s1_s1 } /* Start/End empty region 4 */
  0x1e   : > { %p6_p6 = scmp.ge.s32.totalorder %s2_s1, 10 /* loop exit test */ }
  0x1f   :  { %6 = sbr.rel (!%p6_p6) target = $region9 }
  0x20   :  {}
  0x21   :  {}
  0x22   :  {}
  0x23   :  {}
  0x24   :  { %15 = vsyncpa [#allocation6], 1 } /* exit bundle: %tiles.1 = f32[8] custom-call(%x) */
"""
)
"""A grid of 8 steps; a branch in it has a loop over 3, 5, ... 21; another is of one bundle."""


def utilization(eup_at):
    rows = ["0 1" if at == eup_at else "1 0" for at in range(0x25)]
    head = ["== CAPACITY:", "MXU, EUP", "    4     1", "== UTILIZATION:"]
    return "\n".join([*head, *rows])


def test_schedules_are_read_as_nested_blocks():
    kernel = parse_schedule("tiles.1", BUNDLES, utilization(eup_at=0xE))
    grid = kernel.grid
    assert (kernel.root.bundles, grid.kind, grid.trips, kernel.steps) == (2, "loop", 10, 8)
    (body,) = grid.inner
    assert (body.kind, grid.bundles, body.bundles) == ("body", 14, 12)
    work, end = body.inner
    assert (work.bundles, end.bundles) == (0, 1)
    (loop,) = work.inner
    assert (loop.kind, loop.trips, loop.bundles) == ("loop", 10, 8)
    assert kernel.heavy == work
    assert kernel.use("EUP") == 10 / 80
    assert kernel.use("MXU") == 70 / 80 / 4


def test_cycles_are_of_the_branches_that_are_taken():
    kernel = parse_schedule("tiles.1", BUNDLES, utilization(eup_at=0xE))
    always = 10 * 14 / 8 + 12
    assert kernel.skipped == always
    assert kernel.taken == always + 80
    assert kernel.rare == 1
    assert kernel.cycles(heavy=0.5, rare=0.25) == 2 + 8 * (always + 40 + 0.25)


def test_loops_of_unknown_length_are_asked_for():
    dynamic = BUNDLES.replace("%s92_s9, 23 ", "%s92_s9, %s55_s5 ")
    with pytest.raises(ValueError, match="loop 11 has a bound known at run time"):
        parse_schedule("tiles.1", dynamic, utilization(0))
    kernel = parse_schedule("tiles.1", dynamic, utilization(0), trips=(7,))
    assert kernel.taken - kernel.skipped == 7 * 8


def test_ptxas_is_read():
    said = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'fusion' for 'sm_90a'
ptxas info    : Function properties for fusion
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 8 registers, used 0 barriers, 512 bytes smem
ptxas info    : (C7511) Potential Performance Loss: wgmma.mma_async instructions are serialized \
due to insufficient register resources for the wgmma pipeline in the function 'kernel'
ptxas info    : Compiling entry function 'kernel' for 'sm_90a'
ptxas info    : Function properties for kernel
    8 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 8 bytes cumulative stack size
"""
    launches = """001: kCustomKernel [source] kernel grid: [4, 1, 1] threads: [128, 1, 1]  \
shared_memory: 131072 bytes
002: kCustomKernel [sink] fusion grid: [512, 1, 1] threads: [64, 1, 1]  shared_memory: 0 bytes
"""
    assert parse_ptxas(said, launches) == [
        Registers("fusion", 8, 0, 512, 64, serialized=False),
        Registers("kernel", 255, 20, 131072, 128, serialized=True),
    ]


def tanh_tiles(rows=1024):
    """A factory: tanh, 128 rows at a time."""
    x = jax.ShapeDtypeStruct((rows, 128), jnp.float32)

    def kernel(block, out):
        out[...] = jnp.tanh(block[...])

    def run(x):
        device = jax.sharding.get_abstract_mesh().abstract_device
        params = plgpu.CompilerParams(num_warps=4) if device.platform == "gpu" else None
        block = pl.BlockSpec((128, 128), lambda i: (i, 0))
        return pl.pallas_call(
            kernel,
            out_shape=x,
            grid=(rows // 128,),
            in_specs=[block],
            out_specs=block,
            compiler_params=params,
            name="tanh_tiles",
        )(x)

    return run, (x,)


def need(name):
    reason = missing(CHIPS[name])
    if reason is not None:
        pytest.skip(reason)


def test_a_tpu_kernel_is_measured():
    """128 x 128 values are 16 registers full of them: as many tanh instructions a step."""
    need("v5e")
    (kernel,) = tpu_kernels("v5e", FACTORY, {"rows": 1024})
    assert kernel.name.startswith("tanh_tiles")
    assert kernel.steps == 8
    assert kernel.root.used("EUP") == 8 * 16
    assert 16 < kernel.taken < 200


def test_a_gpu_kernel_is_measured():
    need("h100")
    try:
        static.ptxas()
    except InputError as reason:
        pytest.skip(str(reason))
    (kernel,) = gpu_kernels("h100", FACTORY, {"rows": 1024})
    assert kernel.name == "tanh_tiles"
    assert 0 < kernel.registers <= 255
    assert (kernel.spill_bytes, kernel.threads) == (0, 128)


def test_errors_of_the_compiler_come_through():
    need("v5e")
    with pytest.raises(InputError, match="no_such_factory"):
        tpu_kernels("v5e", f"{HERE}:no_such_factory", {})
    with pytest.raises(InputError, match="unknown TPU 'h100'"):
        tpu_kernels("h100", FACTORY, {})
