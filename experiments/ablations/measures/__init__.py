"""What is measured of a trained model, item by item: functions of a `Lane`."""

from experiments.ablations.measures.alignment import alignment_error
from experiments.ablations.measures.gradients import gradient_by_lag
from experiments.ablations.measures.heads import head_importance
from experiments.ablations.measures.lane import Lane
from experiments.ablations.measures.scores import likelihoods, outputs
from experiments.ablations.measures.speed import decode_speed
from experiments.ablations.measures.start import attention_at_start
from experiments.ablations.measures.windows import extrapolation

__all__ = [
    "Lane",
    "alignment_error",
    "attention_at_start",
    "decode_speed",
    "extrapolation",
    "gradient_by_lag",
    "head_importance",
    "likelihoods",
    "outputs",
]
