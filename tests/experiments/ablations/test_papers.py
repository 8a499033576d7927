"""The published numbers: every suite has some, each is told once and whole."""

import math

import pytest

from experiments.ablations.papers import EFFECT, PUBLISHED

SUITES = {
    "length_bottleneck",
    "score_function",
    "qk_scaling",
    "positions_extrapolate",
    "nmt_ladder",
    "gradient_path",
    "heads_dk",
    "kv_sharing",
    "head_pruning",
    "local_alignment",
    "seq2seq_as_lm",
}


def test_every_suite_has_numbers_and_their_effect_in_a_line():
    assert set(PUBLISHED) == set(EFFECT) == SUITES
    assert all(PUBLISHED.values())
    assert all(effect and "\n" not in effect for effect in EFFECT.values())


@pytest.mark.parametrize("suite", sorted(SUITES))
def test_numbers_are_finite_and_say_where_they_are_from(suite):
    for published in PUBLISHED[suite]:
        assert published.values
        assert all(math.isfinite(value) for value in published.values.values())
        assert published.provenance in ("text", "notes", "memory")
        assert published.where or published.provenance != "text"
        for said in (published.what, published.setting, published.unit, *published.values):
            assert said == said.strip() != ""


@pytest.mark.parametrize("suite", sorted(SUITES))
def test_nothing_is_told_twice(suite):
    told = [(p.paper, p.what, p.setting, p.unit) for p in PUBLISHED[suite]]
    assert len(set(told)) == len(told)


def test_papers_are_distinct_and_whole():
    papers = {p.paper for published in PUBLISHED.values() for p in published}
    assert len({paper.key for paper in papers}) == len(papers)
    assert len({paper.title for paper in papers}) == len(papers)
    for paper in papers:
        surname = paper.authors.partition(",")[0].lower()
        assert paper.key == f"{surname}{paper.year}"
        assert paper.source.startswith(("arXiv:", "https://"))
        if paper.source.startswith("arXiv:"):
            # The first four digits of an arXiv number are the year and month of its appearance.
            assert 2000 + int(paper.source[6:8]) == paper.year


def test_known_by_heart_is_marked():
    by_heart = {
        p.paper.key for suite in PUBLISHED.values() for p in suite if p.provenance == "memory"
    }
    assert by_heart == {"cheng2016"}


def find(suite, key, what, unit):
    return next(
        p.values
        for p in PUBLISHED[suite]
        if p.paper.key == key and what in p.what and p.unit == unit
    )


def test_effects_are_the_numbers():
    encdec = find("length_bottleneck", "bahdanau2014", "fixed", "BLEU")
    assert f"{encdec['RNNsearch-50']:.2f}" in EFFECT["length_bottleneck"]
    assert f"{encdec['RNNencdec-50']:.2f}" in EFFECT["length_bottleneck"]
    heads = find("heads_dk", "vaswani2017", "heads", "perplexity")
    assert f"one head {heads['1']}" in EFFECT["heads_dk"]
    widths = find("heads_dk", "vaswani2017", "d_k", "perplexity")
    assert f"{widths['16'] - widths['64']:.2f}" in EFFECT["heads_dk"]
    shared = find("kv_sharing", "shazeer2019", "fewer", "nats per token")
    assert f"{shared['MQA, 8 heads'] - shared['MHA, 8 heads']:.3f}" in EFFECT["kv_sharing"]
    assert f"{shared['8 heads of 16'] - shared['MHA, 8 heads']:.3f}" in EFFECT["kv_sharing"]
