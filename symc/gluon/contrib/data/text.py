"""Texts for language models, from local files."""

from __future__ import annotations

import os
import zipfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from symc import ndarray as nd
from symc.base import data_dir
from symc.core.errors import ArgumentError, SymcError
from symc.gluon.data import Dataset
from symc.ndarray import NDArray

if TYPE_CHECKING:
    from symc.contrib.text.vocab import Vocabulary

__all__ = ["WikiText2", "WikiText103"]

END = "<eos>"  # the token after each line
SEGMENTS = {"train": "wiki.train.tokens", "validation": "wiki.valid.tokens", "test": "wiki.test.tokens"}


class WikiText(Dataset):
    """Sequences of `seq_len` words as int32 numbers, and as labels the same one word later; lines end with <eos>.

    root      where the segment's file lies, or the archive that has it; by default $MXNET_HOME/datasets/<folder>
    segment   "train", "validation" or "test"
    vocab     gives the words their numbers; None: one of this very segment
    Words after the last whole sequence are left out. Nothing is downloaded: SymcError tells which file is to be put
    where.
    """

    folder: ClassVar[str]

    def __init__(
        self, root: str | None = None, segment: str = "train", vocab: Vocabulary | None = None, seq_len: int = 35
    ) -> None:
        from symc.contrib.text.utils import count_tokens_from_str
        from symc.contrib.text.vocab import Vocabulary

        if segment not in SEGMENTS:
            raise ArgumentError(f"{type(self).__name__}: no segment {segment!r}; there are {', '.join(SEGMENTS)}")
        self._root = Path(root or os.path.join(data_dir(), "datasets", self.folder)).expanduser()
        text = self._read(SEGMENTS[segment])
        self._counter = count_tokens_from_str(text)
        self._vocabulary = Vocabulary(self._counter, reserved_tokens=[END]) if vocab is None else vocab
        words = [word for line in text.splitlines() if line.strip() for word in (*line.split(), END)]
        numbers = np.array(self._vocabulary.to_indices(words), np.int32)
        size = max(len(numbers) - 1, 0) // seq_len * seq_len
        self._data, self._label = (
            nd.array(x[:size].reshape(-1, seq_len), dtype="int32") for x in (numbers[:-1], numbers[1:])
        )

    @property
    def vocabulary(self) -> Vocabulary:
        """The words and their numbers."""
        return self._vocabulary

    @property
    def frequencies(self) -> Counter:
        """How often each word occurs in the segment."""
        return self._counter

    def _read(self, name: str) -> str:
        archive = self._root / f"{self.folder}-v1.zip"
        try:
            if (self._root / name).exists() or not archive.exists():
                return (self._root / name).read_text(encoding="utf8")
            with zipfile.ZipFile(archive) as file:
                return file.read(f"{self.folder}/{name}").decode("utf8")
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise SymcError(
                f"{type(self).__name__}: put {name} or {archive.name} into {self._root} ({error}); nothing is "
                "downloaded without being asked: mx.gluon.utils.download(url, path) does"
            ) from None

    def __getitem__(self, idx: int) -> tuple[NDArray, NDArray]:
        return self._data[idx], self._label[idx]

    def __len__(self) -> int:
        return len(self._label)


class WikiText2(WikiText):
    """The smaller of Salesforce's collections of Wikipedia articles."""

    folder = "wikitext-2"


class WikiText103(WikiText):
    """The larger of Salesforce's collections of Wikipedia articles."""

    folder = "wikitext-103"
