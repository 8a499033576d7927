"""Text to token ids and back.

Every vocabulary begins with `PAD`, `BOS`, `EOS` (0, 1, 2: what the models know) and `UNK` (3). A
tokenizer is kept as one plain file in a folder: `symbols.json` or `sentencepiece.model`.
"""

import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import sentencepiece

from attn.models.protocol import BOS, EOS, PAD
from experiments.errors import InputError

TokenIds = Iterable[int] | np.ndarray

UNK = 3
SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")


@runtime_checkable
class Tokenizer(Protocol):
    """A vocabulary and how text is cut into it."""

    @property
    def size(self) -> int:
        """Token ids, the special four included."""
        ...

    def encode(self, text: str) -> list[int]:
        """Token ids without `BOS` and `EOS`; `UNK` for what the vocabulary lacks."""
        ...

    def decode(self, ids: TokenIds) -> str:
        """The text of token ids; `PAD`, `BOS` and `EOS` are left out."""
        ...

    def tokens(self, ids: TokenIds) -> list[str]:
        """A label for each id, special ones too, as a picture shows them."""
        ...

    def save(self, folder: Path) -> None:
        """Writes the tokenizer's file; `load` of this module reads it."""
        ...


class Symbols:
    """One token a symbol: characters, or words between spaces (phonemes)."""

    FILE = "symbols.json"

    def __init__(self, symbols: Sequence[str], unit: Literal["character", "word"]):
        """A vocabulary of the special tokens, then `symbols` in the order given.

        A symbol is read in either case where the vocabulary has just one of them.
        """
        self.unit = unit
        self._tokens = [*SPECIALS, *symbols]
        self._ids = {symbol: 4 + i for i, symbol in enumerate(symbols)}
        for symbol in symbols:
            for variant in (symbol.lower(), symbol.upper()):
                self._ids.setdefault(variant, self._ids[symbol])

    @classmethod
    def of(cls, texts: Iterable[str], unit: Literal["character", "word"]) -> "Symbols":
        """The symbols that occur in `texts`, in sorted order."""
        found: set[str] = set()
        for text in texts:
            found.update(text if unit == "character" else text.split())
        return cls(sorted(found), unit)

    @classmethod
    def read(cls, folder: Path) -> "Symbols":
        """What `save` wrote."""
        data = json.loads((folder / cls.FILE).read_text("utf-8"))
        return cls(data["symbols"], data["unit"])

    @property
    def size(self) -> int:
        return len(self._tokens)

    def encode(self, text: str) -> list[int]:
        symbols = text if self.unit == "character" else text.split()
        return [self._ids.get(symbol, UNK) for symbol in symbols]

    def decode(self, ids: TokenIds) -> str:
        shown = self.tokens(i for i in ids if i not in (PAD, BOS, EOS))
        return ("" if self.unit == "character" else " ").join(shown)

    def tokens(self, ids: TokenIds) -> list[str]:
        return [self._tokens[i] for i in ids]

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        data = {"unit": self.unit, "symbols": self._tokens[4:]}
        (folder / self.FILE).write_text(json.dumps(data, ensure_ascii=False) + "\n", "utf-8")


class SentencePiece:
    """Subwords of a SentencePiece model (Kudo and Richardson 2018)."""

    FILE = "sentencepiece.model"

    def __init__(self, model: bytes):
        """From the bytes of a model file whose special ids are this module's."""
        self._model = model
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)

    @classmethod
    def train(
        cls, texts: Iterable[str], size: int, kind: Literal["bpe", "unigram"]
    ) -> "SentencePiece":
        """Learns `size` subwords from `texts`; the same texts give the same model.

        Raises:
            InputError: SentencePiece cannot make so many subwords of these texts.
        """
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(texts),
                model_writer=model,
                model_type=kind,
                vocab_size=size,
                pad_id=PAD,
                bos_id=BOS,
                eos_id=EOS,
                unk_id=UNK,
                pad_piece=SPECIALS[PAD],
                bos_piece=SPECIALS[BOS],
                eos_piece=SPECIALS[EOS],
                unk_piece=SPECIALS[UNK],
                character_coverage=0.9999,
                num_threads=1,  # unigram's sums depend on how they are cut among threads
                minloglevel=2,
            )
        except RuntimeError as error:
            reason = str(error).splitlines()[-1]
            raise InputError(
                f"vocabulary {size}: the training split does not give so many {kind} subwords "
                f"(SentencePiece: {reason})"
            ) from error
        return cls(model.getvalue())

    @classmethod
    def read(cls, folder: Path) -> "SentencePiece":
        """What `save` wrote."""
        return cls((folder / cls.FILE).read_bytes())

    @property
    def size(self) -> int:
        return self._processor.vocab_size()

    def encode(self, text: str) -> list[int]:
        return self._processor.encode(text)

    def decode(self, ids: TokenIds) -> str:
        return self._processor.decode([int(i) for i in ids if i not in (PAD, BOS, EOS)])

    def tokens(self, ids: TokenIds) -> list[str]:
        return [self._processor.id_to_piece(int(i)) for i in ids]

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / self.FILE).write_bytes(self._model)


def load(folder: Path) -> Tokenizer:
    """The tokenizer that was saved in `folder`.

    Raises:
        InputError: there is none, or its file cannot be read.
    """
    for kind in (Symbols, SentencePiece):
        if (folder / kind.FILE).exists():
            try:
                return kind.read(folder)
            except (ValueError, KeyError, RuntimeError) as error:
                raise InputError(f"{folder / kind.FILE} is damaged: {error}") from error
    raise InputError(
        f"{folder} holds no tokenizer; expected {Symbols.FILE} or {SentencePiece.FILE}"
    )
