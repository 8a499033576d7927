from tests.attn.kernels.base import BackendTests


class TestPallasGpu(BackendTests):
    backend = "pallas_gpu"
    float64 = False
    stretch = 7
    forward_mode = False
    second_order = False
