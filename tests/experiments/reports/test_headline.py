from dataclasses import replace

from experiments.reports.headline import sentences, title
from experiments.reports.results import Bucket, Estimate, Results, Run


def _run(
    model: str, attends: bool | None, scores: list[float], metric: str, half: float = 0.5
) -> Run:
    """A run whose score in three buckets of length, and over all (the second), is given."""
    estimates = [Estimate(score, (score - half, score + half)) for score in scores]
    buckets = tuple(
        Bucket(low, high, 100, {metric: estimate})
        for (low, high), estimate in zip([(2, 4), (5, 8), (9, 16)], estimates, strict=True)
    )
    return Run(
        model, 0, 1000, 64, 640, 10.0, 1.0, 0.1, 0.05, {metric: estimates[1]}, buckets,
        f"{model}-seed0", "greedy", attends,
    )  # fmt: skip


def _results(*runs: Run) -> Results:
    return Results("pronunciation", {}, {}, "", "", runs, ())


PER = "phoneme_error_rate"
FIXED = _run("seq2seq", False, [17.0, 20.0, 27.7], PER)
ATTENDING = _run("rnnsearch", True, [16.8, 15.0, 19.5], PER)


def test_attention_against_a_fixed_vector_on_the_longest_sources() -> None:
    results = _results(FIXED, ATTENDING)
    assert title(results, "letters") == (
        "With attention, phoneme error rate on sources of 9–16 letters is 8.2 points lower"
    )
    best, longest, growth = sentences(results, "letters")
    assert best == (
        "rnnsearch has the lowest phoneme error rate on the test split (free-running, greedy): "
        "15.0% (14.5–15.5). Next is seq2seq with 20.0% (19.5–20.5); "
        "their 95% intervals do not overlap."
    )
    assert longest == (
        "On the longest sources (9–16 letters, 100 test items) the best model with attention, "
        "rnnsearch, has 19.5% (19.0–20.0) and the best with a fixed vector, seq2seq, "
        "27.7% (27.2–28.2): 8.2 points lower; their 95% intervals do not overlap."
    )
    assert growth == (
        "The lead of rnnsearch over seq2seq grows with every step in length: 0.2 points at "
        "2–4 letters, 8.2 points at 9–16 letters; from 5 letters on, the intervals are apart."
    )


def test_overlapping_intervals_are_not_called_a_difference() -> None:
    results = _results(FIXED, _run("rnnsearch", True, [16.0, 19.5, 27.0], PER))
    assert title(results, "letters") == (
        "With attention or without, phoneme error rate on sources of 9–16 letters is not told apart"
    )
    assert sentences(results, "letters")[1].endswith("their 95% intervals overlap.")
    assert sentences(results, "letters")[2].endswith("0.7 points at 9–16 letters.")


def test_a_lead_that_shrinks_is_not_called_growing() -> None:
    results = _results(FIXED, _run("rnnsearch", True, [10.0, 15.0, 25.0], PER))
    growth = sentences(results, "letters")[2]
    assert "does not grow with length: 7.0 points" in growth
    assert growth.endswith("the intervals are apart at every length.")


def test_a_lead_that_grows_unsteadily() -> None:
    results = _results(FIXED, _run("rnnsearch", True, [16.0, 20.5, 25.0], PER))
    assert "is larger on long sources than on short ones" in sentences(results, "letters")[2]


def test_more_is_better_for_bleu() -> None:
    results = _results(
        _run("seq2seq", False, [20.0, 10.0, 4.0], "bleu"),
        _run("rnnsearch", True, [22.0, 15.0, 11.0], "bleu"),
        _run("transformer", True, [21.0, 14.0, 12.0], "bleu"),
    )
    assert title(results, "words") == (
        "With attention, BLEU on sources of 9–16 words is 7.0 points higher"
    )
    best, _, growth = sentences(results, "words")
    assert best.startswith("rnnsearch has the highest BLEU on the test split")
    assert "2.0 points at 2–4 words, 7.0 points at 9–16 words" in growth


def test_attention_may_lose() -> None:
    results = _results(FIXED, _run("rnnsearch", True, [16.8, 21.0, 30.0], PER))
    assert title(results, "letters").endswith("is 2.3 points higher")


def test_nothing_is_said_of_attention_where_it_is_not_known() -> None:
    results = _results(replace(FIXED, attends=None), replace(ATTENDING, attends=None))
    assert title(results, "letters") == (
        "rnnsearch has the best phoneme error rate on pronunciation: 15.0%"
    )
    assert len(sentences(results, "letters")) == 1


def test_one_run() -> None:
    assert title(_results(ATTENDING), "letters") == (
        "rnnsearch on pronunciation: phoneme error rate 15.0%"
    )
    assert sentences(_results(ATTENDING), "letters") == [
        "On the test split (free-running, greedy) rnnsearch has 15.0% (14.5–15.5), with 1,000 "
        "parameters, 64 examples seen and 10 seconds of training."
    ]
