from tests.attn.kernels.pallas import PallasTests


class TestPallasGpu(PallasTests):
    backend = "pallas_gpu"
