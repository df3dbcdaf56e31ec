"""MoAI's tokenizer: InternLM2's sentencepiece model, read without running the code beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from sentencepiece import SentencePieceProcessor


class Tokenizer:
    """Text to token numbers and back, as the slow tokenizer that comes with InternLM2 does it.

    Text is cut at special tokens, and what lies between is left to sentencepiece; tokens that it
    knows as the user's own, such as [UNUSED_TOKEN_145], it keeps whole itself.

    Raises
    ------
    OSError : the folder holds no tokenizer, or a damaged one.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / "tokenizer.model"
        if not path.exists():
            raise OSError(f"{folder} has no tokenizer.model: download the model again")
        try:
            self._pieces = SentencePieceProcessor(model_proto=path.read_bytes())
            named = _special(folder)
        except (RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise OSError(f"the tokenizer in {folder} is damaged ({error})") from error
        # Numbers beyond the vocabulary stand for pictures, whose place the prompt alone decides.
        self._special = {text: i for text, i in named.items() if i < len(self)}
        for number in (self._pieces.bos_id(), self._pieces.eos_id(), self._pieces.unk_id()):
            self._special.setdefault(self._pieces.id_to_piece(number), number)
        longest = sorted(self._special, key=len, reverse=True)
        self._cut = re.compile("(" + "|".join(map(re.escape, longest)) + ")")

    @property
    def start(self) -> int:
        """What every text begins with."""
        return int(self._pieces.bos_id())

    @property
    def stops(self) -> list[int]:
        """The tokens that end an answer: the end, and all that begin with "[U"."""
        pieces = (self._pieces.id_to_piece(i) for i in range(len(self)))
        marked = [i for i, piece in enumerate(pieces) if piece.startswith("[U")]
        named = [i for text, i in self._special.items() if text.startswith("[U")]
        return sorted({int(self._pieces.eos_id()), *marked, *named})

    def __len__(self) -> int:
        return int(self._pieces.get_piece_size())

    def __call__(self, text: str) -> list[int]:
        """The numbers of a text's tokens, without the start."""
        numbers: list[int] = []
        for part in filter(None, self._cut.split(text)):
            known = self._special.get(part)
            numbers += self._pieces.encode(part) if known is None else [known]
        return numbers

    def read(self, numbers: Iterable[int]) -> str:
        """The text of tokens; special ones, and those that the tokenizer lacks, are left out."""
        skipped = set(self._special.values())
        kept = [i for i in numbers if 0 <= i < len(self) and i not in skipped]
        return str(self._pieces.decode(kept))


def _special(folder: Path) -> dict[str, int]:
    """The special tokens that a folder's files name."""
    special: dict[str, int] = {}
    settings, added = folder / "tokenizer_config.json", folder / "added_tokens.json"
    if settings.exists():
        known = json.loads(settings.read_text()).get("added_tokens_decoder", {})
        special |= {token["content"]: int(number) for number, token in known.items()}
    if added.exists():
        special |= json.loads(added.read_text())
    return special
