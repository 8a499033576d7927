"""The files of a run's heads, made up: each layer has heads of a few known kinds."""

import json
from pathlib import Path

import numpy as np

OFFSETS = (-1, 0, 1)
SOURCE = "▁a ▁very ▁long ▁sen tence ▁with ▁<b> ▁tags </b> ▁& ▁“ quo tes ” ▁in ▁it , ▁is ▁it ▁not ?"
TARGET = "<s> ▁eine ▁sehr ▁lange ▁Zeile ▁mit ▁Klam mern ▁und ▁An führ ungs zeichen ▁darin"


def fabricate_heads(folder: Path, layers: int = 2, heads: int = 4, items: int = 2) -> dict:
    """Writes `heads.json` and `heads.npz`; returns the first.

    Head 1 of every layer looks one back, head 2 evenly, the others at random.
    """
    rng = np.random.default_rng(0)
    kinds = ("cross", "decoder", "encoder")  # as trees of arrays have them
    shown, weights, found = [], {}, {}
    for place in range(items):
        source, target = [*SOURCE.split()[place:], "</s>"], TARGET.split()
        shown.append({"source": source, "target": target})
        for kind in kinds:
            rows = len(source if kind == "encoder" else target)
            columns = len(target if kind == "decoder" else source)
            maps = _maps(rng, layers, heads, rows, columns, causal=kind == "decoder")
            weights[f"{place}-{kind}"] = np.round(255 * maps).astype(np.uint8)
    for kind in kinds:
        share = np.round(rng.uniform(0, 0.5, (layers, heads, 3)), 4)
        entropy = rng.uniform(0.5, 2.0, (layers, heads)).round(4)
        share[:, 0], entropy[:, 0], entropy[:, 1:2] = (1.0, 0.0, 0.0), 0.0, 2.7
        found[kind] = {"positions": 900, "entropy": entropy.tolist(), "uniform_entropy": 2.7}
        if kind != "cross":
            found[kind] |= {"weight": share.tolist(), "maximum": share.tolist()}
    content = {"offsets": list(OFFSETS), "items": shown, "measured": 256, "kinds": found}
    (folder / "heads.json").write_text(json.dumps(content))
    np.savez_compressed(folder / "heads.npz", allow_pickle=False, **weights)
    return content


def _maps(
    rng: np.random.Generator, layers: int, heads: int, rows: int, columns: int, causal: bool
) -> np.ndarray:
    score = rng.normal(0, 2, (layers, heads, rows, columns))
    distance = np.arange(columns) - np.arange(rows)[:, None]
    score[:, 0] = np.where(distance == -1, 60.0, np.where(distance == 0, 30.0, 0.0))
    score[:, 1:2] = 0.0
    if causal:
        score = np.where(distance <= 0, score, -np.inf)
    weights = np.exp(score - score.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)
