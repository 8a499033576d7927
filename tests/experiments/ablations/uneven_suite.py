from tests.experiments.ablations.toy_suite import suite

SUITE = suite(10, 14, 12)
