from tests.attn.kernels.pallas import PallasTests


class TestPallasTpu(PallasTests):
    backend = "pallas_tpu"
