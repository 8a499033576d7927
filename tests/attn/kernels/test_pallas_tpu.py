from tests.attn.kernels.base import BackendTests


class TestPallasTpu(BackendTests):
    backend = "pallas_tpu"
    float64 = False
    forward_mode = False
    second_order = False
    stretch = 7
