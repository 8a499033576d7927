from tests.attn.kernels.base import BackendTests


class TestReference(BackendTests):
    backend = "reference"
