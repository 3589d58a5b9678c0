"""Sentences as numbers, and batches of sentences of about one length."""

from __future__ import annotations

import bisect
import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from symc import ndarray
from symc.core.errors import ArgumentError, ConflictError
from symc.io import DataBatch, DataDesc, DataIter
from symc.io.batch import require_samples
from symc.ndarray import NDArray


def encode_sentences(
    sentences: Sequence[Sequence[str]],
    vocab: dict[str, int] | None = None,
    invalid_label: int = -1,
    invalid_key: str = "\n",
    start_label: int = 0,
    unknown_token: str | None = None,
) -> tuple[list[list[int]], dict[str, int]]:
    """Sentences with a number for each word, and the numbers by word.

    vocab            numbers to use; None: words are numbered as they come, from start_label on, but for invalid_label,
                     which is that of invalid_key
    unknown_token    the word that stands for those not in the vocabulary; without one such a word is an error
    """
    is_new = vocab is None
    if vocab is None:
        vocab = {invalid_key: invalid_label}
    number = start_label
    coded = []
    for sentence in sentences:
        row = []
        for word in sentence:
            if word not in vocab:
                if not (is_new or unknown_token):
                    raise ConflictError(f"Unknown token {word}")
                if number == invalid_label:
                    number += 1
                word = unknown_token or word
                vocab[word] = number
                number += 1
            row.append(vocab[word])
        coded.append(row)
    return coded, vocab


class BucketSentenceIter(DataIter):
    """Batches for a language model: each from one bucket of sentences, filled up to its length; labels are next words.

    sentences                of numbers
    buckets                  lengths; by default those that batch_size sentences have; longer sentences are left out
    invalid_label            what sentences are filled up with
    layout                   "NT" or "TN"
    """

    def __init__(
        self,
        sentences: Sequence[Sequence[int]],
        batch_size: int,
        buckets: list[int] | None = None,
        invalid_label: int = -1,
        data_name: str = "data",
        label_name: str = "softmax_label",
        dtype: Any = "float32",
        layout: str = "NT",
    ) -> None:
        super().__init__(batch_size)
        require_samples("BucketSentenceIter", batch_size)
        self.major_axis = layout.find("N")
        if self.major_axis not in (0, 1):
            raise ArgumentError(f"Invalid layout {layout}: Must by NT (batch major) or TN (time major)")
        if not buckets:
            buckets = [n for n, count in enumerate(np.bincount([len(s) for s in sentences])) if count >= batch_size]
        self.data_name, self.label_name = data_name, label_name
        self.dtype, self.layout, self.invalid_label = dtype, layout, invalid_label
        self.buckets, self.data = self._sorted_in(sorted(buckets), sentences)
        self.nddata: list[NDArray] = []
        self.ndlabel: list[NDArray] = []
        self.default_bucket_key = max(self.buckets)
        self.provide_data = [self._description(data_name, self.default_bucket_key)]
        self.provide_label = [self._description(label_name, self.default_bucket_key)]
        self.idx = [
            (bucket, start)
            for bucket, rows in enumerate(self.data)
            for start in range(0, len(rows) - batch_size + 1, batch_size)
        ]
        self.curr_idx = 0
        self.reset()

    def _sorted_in(self, buckets: list[int], sentences: Sequence[Sequence[int]]) -> tuple[list[int], list[np.ndarray]]:
        """The buckets that have sentences, and the sentences of each (n, length), filled up."""
        rows: list[list[np.ndarray]] = [[] for _ in buckets]
        n_discarded = 0
        for sentence in sentences:
            bucket = bisect.bisect_left(buckets, len(sentence))
            if bucket == len(buckets):
                n_discarded += 1
                continue
            row = np.full((buckets[bucket],), self.invalid_label, dtype=self.dtype)
            row[: len(sentence)] = sentence
            rows[bucket].append(row)
        print(f"WARNING: discarded {n_discarded} sentences longer than the largest bucket.")
        used = [k for k in range(len(buckets)) if rows[k]]
        if not used:
            raise ArgumentError(f"no sentence fits one of the buckets {buckets}")
        return [buckets[k] for k in used], [np.asarray(rows[k], dtype=self.dtype) for k in used]

    def _description(self, name: str, length: int) -> DataDesc:
        shape = (self.batch_size, length) if self.major_axis == 0 else (length, self.batch_size)
        return DataDesc(name, shape, layout=self.layout)

    def reset(self) -> None:
        """Starts the next epoch, in another order."""
        self.curr_idx = 0
        random.shuffle(self.idx)
        self.nddata, self.ndlabel = [], []
        for rows in self.data:
            np.random.shuffle(rows)  # noqa: NPY002 - the stream that scripts seed
            label = np.full_like(rows, self.invalid_label)
            label[:, :-1] = rows[:, 1:]
            self.nddata.append(ndarray.array(rows, dtype=self.dtype))
            self.ndlabel.append(ndarray.array(label, dtype=self.dtype))

    def next(self) -> DataBatch:
        """The next batch; raises StopIteration at the end of the epoch."""
        if self.curr_idx == len(self.idx):
            raise StopIteration
        bucket, start = self.idx[self.curr_idx]
        self.curr_idx += 1
        data, label = (arrays[bucket][start : start + self.batch_size] for arrays in (self.nddata, self.ndlabel))
        if self.major_axis == 1:
            data, label = data.T, label.T
        length = self.buckets[bucket]
        return DataBatch(
            [data],
            [label],
            pad=0,
            bucket_key=length,
            provide_data=[self._description(self.data_name, length)],
            provide_label=[self._description(self.label_name, length)],
        )
