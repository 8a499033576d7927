"""Which machine a call is compiled for."""

import jax

_GPUS = ("gpu", "cuda", "rocm")


def lacking(platform: str) -> str | None:
    """Why a kernel for "gpu" or "tpu" cannot run here; None if it can.

    Here is where JAX computes by default, or the device of the abstract mesh in whose context a
    program is traced: that is how one compiles for a machine one does not have.
    """
    device = jax.sharding.get_abstract_mesh().abstract_device
    here = jax.default_backend() if device is None else device.platform
    here = "gpu" if here in _GPUS else here
    if here != platform:
        return f"needs a {platform.upper()}; this is a {here.upper()}"
    if device is None and platform == "gpu":
        capability = getattr(jax.devices()[0], "compute_capability", "0")
        if float(capability) < 8:
            return f"needs compute capability 8.0 (Ampere); this GPU has {capability}"
    return None
