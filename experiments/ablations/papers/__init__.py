"""What the papers report, to set beside what the suites find.

Compare direction and ratio, never absolute scores: our data and sizes are smaller.
"""

from experiments.ablations.papers import modern, recurrent
from experiments.ablations.papers.record import Paper, Published

__all__ = ["EFFECT", "PUBLISHED", "Paper", "Published"]

PUBLISHED = {**recurrent.PUBLISHED, **modern.PUBLISHED}
"""By the suite's name, the most telling first."""

EFFECT = {
    "length_bottleneck": "RNNsearch-50 26.75 against RNNencdec-50 17.82 BLEU, and flat with length "
    "where the other falls",
    "score_function": "global dot and general scores at perplexity 6.1 against 6.4 for "
    "location; additive scores 22.47 against 9.98 BLEU without attention",
    "qk_scaling": "dot products fall from 22.33 BLEU at width 256 to 18.22 at 1024, additive "
    "scores stay at 22.1 to 22.5",
    "positions_extrapolate": "trained at 512, sinusoidal rises from perplexity 19.91 at 532 to 406 "
    "at 15512; ALiBi has 18.40 at 3072",
    "nmt_ladder": "perplexity 10.6, reversed 9.9, dropout 8.1, attention 7.3, input feeding 6.4 "
    "(18.1 BLEU); the Transformer 27.3 BLEU",
    "gradient_path": "no slope is published; attention over its own past takes an LSTM from "
    "perplexity 115 to 108, an RNN has 129",
    "heads_dk": "one head 5.29 and 8 heads 4.92 dev perplexity; d_k of 16 costs 0.24",
    "kv_sharing": "one key-value head costs 0.015 nats where 8 narrow heads cost 0.089, and "
    "decodes in 3.8 instead of 46 µs a token",
    "head_pruning": "8 of 96 encoder heads matter; 38 of 48 pruned cost 0.15 BLEU, those from "
    "decoder to encoder go last",
    "local_alignment": "local-p 5.9 against global 6.1 perplexity; alignment error 0.36 against "
    "0.39 for global location",
    "seq2seq_as_lm": "prefix-LM 26.43 against causal LM 25.09 BLEU, encoder-decoder of shared "
    "parameters 26.72",
}
"""By the suite's name, the published effect in one line."""
