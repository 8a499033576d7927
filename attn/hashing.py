"""Random bits as a pure function of a key and integer counters.

Dropout asks for the bit of one element (batch b, head n, query i, key j). A hash of the key and
these indices answers the same on every machine, for every block size and in the backward pass,
with nothing stored. Plain 32-bit integer arithmetic, so it runs inside a kernel too.
"""

import jax
import jax.numpy as jnp

from attn.typing import Array, Float, Int, Key, UInt32

Counter = Int[Array, "..."] | UInt32[Array, "..."] | int


def counter_bits(key: Key[Array, ""], *counters: Counter) -> UInt32[Array, "..."]:
    """32 random bits for each element of `counters`, which broadcast together.

    The first counters should be the small ones (a batch index, a row): each is absorbed at its own
    size, and only the last at the size of the result.

    Args:
        key: a typed JAX key of any implementation.
        *counters: at least one array of integers; taken modulo 2**32.
    """
    if not counters:
        raise TypeError("counter_bits: got no counters; expected at least one")
    words = jax.random.key_data(key)
    return hash_words(tuple(words[w] for w in range(words.shape[0])), *counters)


def counter_uniform(key: Key[Array, ""], *counters: Counter) -> Float[Array, "..."]:
    """Uniform float32 in [0, 1), a multiple of 2**-24, for each element of `counters`."""
    bits = counter_bits(key, *counters) >> 8
    # Below 2**24, so that the signed conversion (which every machine has) is exact.
    return bits.astype(jnp.int32).astype(jnp.float32) * jnp.float32(2.0**-24)


def hash_words(words: tuple[Counter, ...], *counters: Counter) -> UInt32[Array, "..."]:
    """`counter_bits` with the key given as its 32-bit words.

    The state is two words, so that two rows (all counters but the last) meet with probability
    2**-63 only. The last counter runs through both: rows differ in their offset and their stride.
    """
    offset, stride = jnp.uint32(0x9E3779B9), jnp.uint32(0x85EBCA6B)
    for counter in (*words, *counters[:-1]):
        offset = _absorb(counter, offset, stride)
        stride = _mix(offset ^ (stride + jnp.uint32(0xC2B2AE35)))
    return _absorb(counters[-1], offset, stride)


def _absorb(counter: Counter, offset: Array, stride: Array) -> Array:
    return _mix((jnp.asarray(counter).astype(jnp.uint32) + offset) * (stride | jnp.uint32(1)))


def _mix(x: Array) -> Array:
    """A bijection of 32 bits whose every output bit depends on every input bit.

    `lowbias32` from C. Wellons' hash prospector (bias 0.17 of 1000).
    """
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)
