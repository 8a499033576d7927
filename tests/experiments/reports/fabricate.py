"""A comparison folder whose numbers are made up: plausible in form, measured by nobody."""

import json
from pathlib import Path

import numpy as np

PRONUNCIATIONS = {
    "cat": "K AE1 T",
    "edge": "EH1 JH",
    "chord": "K AO1 R D",
    "banjo": "B AE1 N JH OW0",
    "rhythm": "R IH1 DH AH0 M",
    "picture": "P IH1 K CH ER0",
    "thorough": "TH ER1 OW0",
    "attention": "AH0 T EH1 N SH AH0 N",
    "phonograph": "F OW1 N AH0 G R AE2 F",
    "experiment": "IH0 K S P EH1 R AH0 M AH0 N T",
    "mathematics": "M AE2 TH AH0 M AE1 T IH0 K S",
    "pronunciation": "P R OW0 N AH2 N S IY0 EY1 SH AH0 N",
    "representative": "R EH2 P R AH0 Z EH1 N T AH0 T IH0 V",
    "intercontinental": "IH2 N T ER0 K AA2 N T AH0 N EH1 N T AH0 L",
}
MODELS = {"seq2seq": 18.0, "rnnsearch": 14.1, "luong-dot": 14.9, "luong-general": 14.6,
          "transformer": 16.2}  # fmt: skip
BUCKETS = ((2, 4, 1210), (5, 6, 3320), (7, 8, 3870), (9, 10, 2410), (11, 16, 1190))


def fabricate(
    folder: Path, models: dict[str, float] = MODELS, seeds: int = 2, maps: int = 4
) -> dict:
    """Fills `folder` with `results.json` and a run folder a model and seed; returns the results.

    `models` gives a phoneme error rate to each name; seq2seq alone has no attention.
    """
    runs = [
        _run(folder, model, level, seed, maps)
        for model, level in models.items()
        for seed in range(seeds)
    ]
    results = {
        "task": "pronunciation",
        "hardware": {"note": "synthetic: made up by a test, no machine ran this"},
        "versions": {"jax": "0.0.0", "flax": "0.0.0", "python": "0.0.0"},
        "command": "python -m experiments compare  # synthetic",
        "date": "2000-01-01",
        "config": {},
        "runs": runs,
        "paired": _paired(models, seeds),
    }
    (folder / "results.json").write_text(json.dumps(results))
    return results


def _run(folder: Path, model: str, level: float, seed: int, maps: int) -> dict:
    rng = np.random.default_rng([seed, *map(ord, model)])
    level += rng.normal(0, 0.2)
    place = folder / f"{model}-seed{seed}"
    place.mkdir(parents=True)
    steep = 0.45 if model == "seq2seq" else 0.22
    test, intervals = _scores(level, 0.45)
    by_length = []
    for n, (low, high, items) in enumerate(BUCKETS):
        values, spans = _scores(level * (1 + steep * (n - 2) / 2), 25 / items**0.5)
        by_length.append({"from": low, "to": high, "n": items, **values, "interval": spans})
    decoding = "greedy"
    seconds = 55.0 + 8 * rng.random()
    summary = {
        "steps": 1000,
        "examples_seen": 128_000,
        "tokens_seen": 2_050_000,
        "train_seconds": seconds,
        "compile_seconds": 6.0 + rng.random(),
        "data_wait_seconds": 0.006 * seconds,
        "padding": 0.083,
        "parameters": 520_000 + int(rng.integers(-9000, 9000)),
        "best_step": 1000,
    }
    _write(place / "config.json", _config(model, seed))
    _write(place / "summary.json", summary)
    _write(
        place / "test.json",
        {
            "metrics": test,
            "intervals": intervals,
            "by_length": by_length,
            "signatures": {},
            "decoding": decoding,
            "items": _items(rng, level),
        },
    )
    _curves(place / "metrics.jsonl", rng, level, seconds)
    attends = model != "seq2seq"
    if attends:
        _write(place / "alignments.json", _alignments(rng, model)[:maps])
    kept = {name: summary[name] for name in summary if name not in ("steps", "best_step")}
    return {
        "model": model, "seed": seed, **kept, "test": test, "intervals": intervals,
        "by_length": by_length, "folder": place.name, "decoding": decoding, "attends": attends,
    }  # fmt: skip


def _scores(error: float, half: float) -> tuple[dict, dict]:
    """All metrics from one error rate, with intervals of about ± `half` points."""
    values = {
        "phoneme_error_rate": error,
        "word_error_rate": min(95.0, 3.1 * error),
        "nll": error / 28,
        "perplexity": float(np.exp(error / 28)),
    }
    wide = {name: value * half / error for name, value in values.items()}
    return values, {name: [values[name] - wide[name], values[name] + wide[name]] for name in values}


def _config(model: str, seed: int) -> dict:
    extra = {
        "seq2seq": {"cell": "lstm", "context": "every step", "layers": 1},
        "rnnsearch": {"cell": "gru", "layers": 1, "score_state": "previous"},
        "transformer": {"layers": 3, "heads": 4, "norm": "pre", "tied": True},
    }.get(model, {"cell": "lstm", "layers": 1, "score": model.removeprefix("luong-")})
    return {
        "task": {"name": "pronunciation", "max_words": None},
        "model": {"name": model, "width": 128 if model != "rnnsearch" else 112, **extra},
        "optimizer": {"learning_rate": 0.001 if model == "transformer" else 0.002},
        "train": {"batch_size": 128, "examples": 128_000, "seed": seed, "ema": None},
        "search": {"beam": 1},
    }


def _items(rng: np.random.Generator, level: float) -> list[dict]:
    symbols = sorted({phoneme for said in PRONUNCIATIONS.values() for phoneme in said.split()})
    items = []
    for index, (word, said) in enumerate(PRONUNCIATIONS.items()):
        hypothesis = []
        for phoneme in said.split():
            draw = rng.random() * 100
            if draw > level:
                hypothesis.append(phoneme)
            elif draw > level / 3:
                hypothesis.append(str(rng.choice(symbols)))
        items.append({
            "index": index, "source": word, "reference": said, "hypothesis": " ".join(hypothesis),
            "nll": 0.5, "tokens": len(said.split()) + 1, "source_length": len(word),
        })  # fmt: skip
    return items


def _alignments(rng: np.random.Generator, model: str) -> list[dict]:
    """Roughly diagonal weights, blurred as much as heads and layers would."""
    blur = {"rnnsearch": 0.6, "transformer": 2.0}.get(model, 0.9)
    shown = "layer 3 of 3, mean of 4 heads" if model == "transformer" else "one layer, one head"
    alignments = []
    for word in ("rhythm", "attention", "mathematics", "pronunciation"):
        source, target = [*word, "</s>"], [*PRONUNCIATIONS[word].split(), "</s>"]
        centers = np.linspace(0, len(source) - 1, len(target))[:, None]
        score = -((np.arange(len(source)) - centers) ** 2) / blur
        weights = np.exp(score + rng.normal(0, 0.4, score.shape))
        weights /= weights.sum(axis=1, keepdims=True)
        alignments.append({
            "source": source, "target": target, "weights": weights.round(4).tolist(),
            "layers": 1, "heads": 1, "shown": shown,
        })  # fmt: skip
    return alignments


def _curves(path: Path, rng: np.random.Generator, level: float, seconds: float) -> None:
    lines = []
    for step in range(50, 1001, 50):
        loss = level / 28 + 2.6 * np.exp(-step / 160)
        moment = {"step": step, "examples": 128 * step, "seconds": seconds * step / 1000}
        lines.append({
            "kind": "train", **moment, "tokens": 2050 * step, "loss": loss * rng.normal(0.97, 0.03),
            "learning_rate": 0.002, "gradient_norm": 1.0, "tokens_per_second": 35_000.0,
        })  # fmt: skip
        if step % 100 == 0:
            nll = loss * rng.normal(1.0, 0.01)
            lines.append({"kind": "validation", **moment, "nll": nll, "perplexity": np.exp(nll)})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _paired(models: dict[str, float], seeds: int) -> list[dict]:
    names = list(models)
    return [
        {
            "a": a, "b": b, "seed": seed, "metric": metric, "p": 0.002 if abs(gap) > 0.5 else 0.3,
            "difference": gap, "interval": [gap - 0.45 * scale, gap + 0.45 * scale],
        }
        for n, a in enumerate(names)
        for b in names[n + 1 :]
        for seed in range(seeds)
        for metric, scale in (("phoneme_error_rate", 1.0), ("word_error_rate", 3.1))
        for gap in [scale * (models[a] - models[b] + 0.2 * seed)]
    ]  # fmt: skip


def _write(path: Path, content: dict | list) -> None:
    path.write_text(json.dumps(content))
