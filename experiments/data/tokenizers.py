"""Text to token ids and back.

Every vocabulary begins with `PAD`, `BOS`, `EOS` (0, 1, 2: what the models know) and, but for
positions, `UNK` (3). A tokenizer is kept as one plain file in a folder: `symbols.json`,
`positions.json` or `sentencepiece.model`.
"""

import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import sentencepiece

from attn.models.protocol import BOS, EOS, PAD
from experiments.errors import InputError

TokenIds = Iterable[int] | np.ndarray

UNK = 3
SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")
MASK = "<mask>"
"""The symbol put in a token's place, of vocabularies trained with it; no text encodes to it."""


@runtime_checkable
class Tokenizer(Protocol):
    """A vocabulary and how text is cut into it."""

    @property
    def size(self) -> int:
        """Token ids, the special ones included."""
        ...

    def encode(self, text: str) -> list[int]:
        """Token ids without `BOS` and `EOS`; `UNK` for what the vocabulary lacks."""
        ...

    def surfaces(self, text: str) -> list[str]:
        """The part of the text that each id of `encode` stands for."""
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
        return [self._ids.get(symbol, UNK) for symbol in self.surfaces(text)]

    def surfaces(self, text: str) -> list[str]:
        return list(text) if self.unit == "character" else text.split()

    def decode(self, ids: TokenIds) -> str:
        shown = self.tokens(i for i in ids if i not in (PAD, BOS, EOS))
        return ("" if self.unit == "character" else " ").join(shown)

    def tokens(self, ids: TokenIds) -> list[str]:
        return [self._tokens[i] for i in ids]

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        data = {"unit": self.unit, "symbols": self._tokens[4:]}
        (folder / self.FILE).write_text(json.dumps(data, ensure_ascii=False) + "\n", "utf-8")


class Positions:
    """One token a place in another sequence, counted from 0: place p is id 3 + p."""

    FILE = "positions.json"
    FIRST = EOS + 1

    def __init__(self, count: int):
        """Places 0 to `count` - 1."""
        self.count = count

    @classmethod
    def read(cls, folder: Path) -> "Positions":
        """What `save` wrote."""
        return cls(json.loads((folder / cls.FILE).read_text("utf-8"))["count"])

    @property
    def size(self) -> int:
        return self.FIRST + self.count

    def encode(self, text: str) -> list[int]:
        """Ids of the numbers that white space separates.

        Raises:
            ValueError: something is not a number, or there is no such place.
        """
        places = [int(number) for number in text.split()]
        if not all(0 <= place < self.count for place in places):
            raise ValueError(f"places are {text}; expected 0 to {self.count - 1}")
        return [self.FIRST + place for place in places]

    def surfaces(self, text: str) -> list[str]:
        return text.split()

    def decode(self, ids: TokenIds) -> str:
        return " ".join(str(i - self.FIRST) for i in ids if i not in (PAD, BOS, EOS))

    def tokens(self, ids: TokenIds) -> list[str]:
        return [SPECIALS[i] if i < self.FIRST else str(i - self.FIRST) for i in ids]

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / self.FILE).write_text(json.dumps({"count": self.count}) + "\n", "utf-8")


class SentencePiece:
    """Subwords of a SentencePiece model (Kudo and Richardson 2018)."""

    FILE = "sentencepiece.model"

    def __init__(self, model: bytes):
        """From the bytes of a model file whose special ids are this module's."""
        self._model = model
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        size: int,
        kind: Literal["bpe", "unigram"],
        *,
        exact: bool = False,
        mask: bool = False,
    ) -> "SentencePiece":
        """Learns `size` subwords from `texts`; the same texts give the same model.

        Args:
            texts: to learn from.
            size: of the vocabulary.
            kind: of model.
            exact: keep every character as it is, line ends and repeated blanks too, so that the
                surfaces of a text make up the text.
            mask: have a token `MASK`.

        Raises:
            InputError: SentencePiece cannot make so many subwords of these texts.
        """
        model = io.BytesIO()
        options: dict[str, Any] = {"character_coverage": 0.9999}
        if exact:
            options = {
                "character_coverage": 1.0,
                "normalization_rule_name": "identity",
                "remove_extra_whitespaces": False,
                "add_dummy_prefix": False,
                "user_defined_symbols": ["\n"],
            }
        if mask:
            options["control_symbols"] = [MASK]
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
                num_threads=1,  # unigram's sums depend on how they are cut among threads
                minloglevel=2,
                **options,
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

    def surfaces(self, text: str) -> list[str]:
        pieces = self._processor.encode(text, out_type=str)  # what is unknown stands as it is
        return [piece.replace("▁", " ") for piece in pieces]

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
    for kind in (Symbols, Positions, SentencePiece):
        if (folder / kind.FILE).exists():
            try:
                return kind.read(folder)
            except (ValueError, KeyError, RuntimeError) as error:
                raise InputError(f"{folder / kind.FILE} is damaged: {error}") from error
    raise InputError(
        f"{folder} holds no tokenizer; expected {Symbols.FILE}, {Positions.FILE} or "
        f"{SentencePiece.FILE}"
    )
