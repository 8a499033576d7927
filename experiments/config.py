"""What an experiment is made of: frozen dataclasses, every field a flag on the command line."""

from dataclasses import dataclass, field
from typing import Literal

from attn.models import ModelConfig, RNNSearchConfig


@dataclass(frozen=True)
class TaskConfig:
    """What is learned, from which data."""

    name: str = "pronunciation"
    """pronunciation, verses, multi30k, tatoeba, shakespeare, verses-english, verses-masked, sst,
    silent-letters, lookup, copy, reverse, permutation, recall, order, or a TFDS translation set
    such as wmt14_translate/de-en."""
    reverse: bool = False
    """Swap source and target: learn the other direction."""
    max_words: int | None = None
    """Keep pairs of at most this many source words (None: all)."""
    limit: int | None = None
    """Train on the first so many pairs only (None: all)."""
    train_length: int | None = None
    """Train on sources of at most so many tokens only (None: all); validation and test keep all."""
    subwords: Literal["bpe", "unigram"] = "bpe"
    """SentencePiece model of a task of subwords (pronunciation reads letters and phonemes)."""
    vocabulary: int = 4000
    """Subwords, in the one vocabulary that source and target share where both are text."""
    unit: Literal["character", "subword"] = "character"
    """What a language model's text is cut into (shakespeare, verses-english)."""
    context: int = 256
    """Tokens at most in a chunk of a language model's text."""
    classes: int = 2
    """Degrees of sentiment (sst), 2 or 5; with 2, neutral sentences are left out."""
    length: int = 16
    """Symbols of a generated source: at most (copy, reverse), or exactly (permutation, order)."""
    symbols: int = 16
    """Different symbols of a generated source (copy, reverse, permutation), or keys, and as many
    values (recall)."""
    block: int = 1
    """Neighbouring symbols that change their order (permutation): 1 is a copy, `length` a
    reversal."""
    pairs: int = 8
    """Keys with their values in a source (recall)."""
    relations: int = 1
    """Values of each key, every one behind its relation if there are several (recall)."""
    instruction: str | None = None
    """Put before every source of a translation or sentiment task, such as "translate English to
    Spanish:" (None: nothing)."""
    buckets: int = 6
    """Different padded shapes: more waste less on padding, and take longer to compile."""
    manual_dir: str | None = None
    """Folder with files fetched by hand (None: $ATTN_DATA)."""
    data_dir: str | None = None
    """Where prepared data is kept (None: $TFDS_DATA_DIR, else ~/tensorflow_datasets)."""


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam(W), a warm-up, a decay."""

    learning_rate: float = 2e-3
    """At its peak."""
    warmup_steps: int = 200
    schedule: Literal["constant", "inverse_sqrt", "cosine", "linear"] = "cosine"
    """What follows the warm-up; cosine and linear end at zero with the run."""
    b1: float = 0.9
    b2: float = 0.98
    eps: float = 1e-9
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    """Gradients of a larger global norm are scaled down to it (0: never)."""
    ema: float | None = None
    """Evaluate an exponential moving average of the parameters with this decay (None: don't)."""


@dataclass(frozen=True)
class TrainConfig:
    """How long, on what, how often it speaks."""

    batch_size: int = 128
    """Pairs in a step, over all devices and hosts."""
    examples: int = 200_000
    """Pairs to train on, repeats counted."""
    accumulate: int = 1
    """Parts that a step's batch is cut into; gradients are summed over them."""
    label_smoothing: float = 0.0
    parallel: Literal["pmap", "jit"] = "pmap"
    """Batches are cut over all devices; under jit, what follows divides more than batches."""
    fsdp: int = 1
    """Devices that share batches and what is stored of parameters and moments (jit)."""
    tensor: int = 1
    """Devices that share heads and hidden units (jit)."""
    sequence: int = 1
    """Devices that share each text, with attention in a ring (jit)."""
    seed: int = 0
    log_every: int = 50
    """Steps between lines of metrics.jsonl."""
    evaluate_every: int = 500
    """Steps between evaluations on the validation split."""
    save_every: int = 500
    """Steps between checkpoints."""
    keep: int = 3
    """Newest checkpoints kept, beside the best."""
    profile: bool = False
    """Leave a trace of steps 10 to 19 in the run's folder, for xprof."""
    wandb: Literal["offline", "online"] | None = None
    """Tell Weights & Biases as well; offline keeps it in the run's folder, for `wandb sync`."""


@dataclass(frozen=True)
class SearchConfig:
    """How outputs are found and how many items are scored."""

    beam: int = 1
    """Hypotheses kept; 1 is greedy."""
    length_penalty: float = 0.6
    """GNMT's alpha: scores are divided by ((5 + length) / 6) ** alpha."""
    max_length: int = 64
    """Tokens at most in an output."""
    batch_size: int = 256
    items: int | None = None
    """Score the first so many items of a split (None: all)."""
    resamples: int = 1000
    """Bootstrap resamples behind every interval."""


@dataclass(frozen=True)
class Config:
    """One run."""

    task: TaskConfig = field(default_factory=TaskConfig)
    model: ModelConfig = field(default_factory=RNNSearchConfig)
    parameters: int | None = None
    """Widen or narrow the model to about so many parameters (None: `model.width` as it is)."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
