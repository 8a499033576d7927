"""Products are counted as on paper."""

import jax
import jax.numpy as jnp

from experiments.aot.flops import product_flops


def test_counts_products_in_loops_and_derivatives():
    x, w = jnp.ones((3, 5)), jnp.ones((5, 5))
    assert product_flops(lambda x, w: x @ w, x, w) == 2 * 3 * 5 * 5

    def looped(x, w):
        return jax.lax.scan(lambda y, _: (jax.jit(jnp.dot)(y, w), None), x, length=7)[0]

    assert product_flops(looped, x, w) == 7 * 2 * 3 * 5 * 5
    gradient = jax.grad(lambda x, w: jnp.sum((x @ w) ** 2), argnums=(0, 1))
    assert product_flops(gradient, x, w) == 3 * 2 * 3 * 5 * 5
