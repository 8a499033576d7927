import numpy as np
import pytest
from flax import nnx

from experiments.config import SearchConfig
from experiments.errors import InputError
from experiments.evaluation.translate import Translator
from tests.experiments.evaluation.toy import HistoryModule, task

TOY = task()


def translator(attends=True, beam=3):
    model = nnx.split(HistoryModule(vocabulary=8, seed=7, attends=attends))
    return Translator(*model, TOY, SearchConfig(beam=beam, max_length=10))


def test_gives_the_best_outputs_first():
    found = translator()(["abc", "hgfed"])
    assert [translation.text for translation in found] == ["abc", "hgfed"]
    for translation in found:
        scores = [score for _, score in translation.outputs]
        assert len(scores) == 3
        assert scores == sorted(scores, reverse=True)
        said = {phoneme for text, _ in translation.outputs for phoneme in text.split()}
        assert said <= {"<unk>", "AA", "B", "K", "S"}
    assert translator()(["hgfed"])[0].outputs == found[1].outputs
    assert translator()([]) == []


def test_aligns_the_best_output_with_its_source():
    for translation in translator()(["abc", "hgfed"]):
        alignment = translation.alignment
        assert alignment.source == (*translation.text, "</s>")
        assert alignment.target == (*translation.outputs[0][0].split(), "</s>")
        assert (alignment.layers, alignment.heads) == (2, 2)
        assert alignment.shown == "layer 2 of 2, mean of 2 heads"
        # One head looks at the first token and one at the last.
        expected = np.zeros((len(alignment.target), len(alignment.source)))
        expected[:, [0, -1]] = 0.5
        np.testing.assert_array_equal(alignment.weights, expected)


def test_a_model_without_attention_is_not_aligned():
    (found,) = translator(attends=False)(["abc"])
    assert found.alignment is None
    assert len(found.outputs) == 3


def test_text_of_nothing_known_is_refused():
    with pytest.raises(InputError, match="'zzz'"):
        translator()(["abc", "zzz"])
