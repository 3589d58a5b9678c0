"""Vectors of tokens, from files with a token and its numbers in every line; files are read where they lie."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from symc import ndarray as nd
from symc import registry
from symc.base import data_dir
from symc.core.errors import ArgumentError, ConflictError, MissingKeyError
from symc.ndarray import NDArray

from .names import FASTTEXT, GLOVE
from .vocab import UNKNOWN, Vocabulary

__all__ = [
    "CompositeEmbedding",
    "CustomEmbedding",
    "FastText",
    "GloVe",
    "create",
    "get_pretrained_file_names",
    "register",
]


class _TokenEmbedding(Vocabulary):
    """A vocabulary with a vector for each token; token 0 stands for all others, and has a vector too.

    pretrained_file_name_sha1   of a registered class: the names of its files; symc looks at no checksum
    """

    pretrained_file_name_sha1: ClassVar[Mapping[str, str | None]] = {}

    _vec_len: int = 0
    _idx_to_vec: NDArray | None = None

    @property
    def vec_len(self) -> int:
        """The length of a vector."""
        return self._vec_len

    @property
    def idx_to_vec(self) -> NDArray | None:
        """All vectors, float32 (n_tokens, vec_len)."""
        return self._idx_to_vec

    @classmethod
    def _check_pretrained_file_names(cls, pretrained_file_name: str) -> None:
        """Raises MissingKeyError for a file that the class does not list, where it lists any."""
        known = cls.pretrained_file_name_sha1
        if known and pretrained_file_name not in known:
            name = cls.__name__.lower()
            raise MissingKeyError(
                f"Cannot find pretrained file {pretrained_file_name} for token embedding {name}. Valid pretrained "
                f"files for embedding {name}: {', '.join(known)}"
            )

    @classmethod
    def _get_pretrained_file(cls, embedding_root: str, pretrained_file_name: str) -> str:
        """Where a file lies; raises ArgumentError where it does not: nothing is downloaded."""
        path = os.path.join(os.path.expanduser(embedding_root), cls.__name__.lower(), pretrained_file_name)
        if not os.path.isfile(path):
            raise ArgumentError(f"{path} is not there, and symc downloads no vectors; put the file there")
        return path

    def _load_embedding(
        self,
        pretrained_file_path: str,
        elem_delim: str,
        init_unknown_vec: Callable[..., NDArray],
        encoding: str = "utf8",
    ) -> None:
        """Reads the vectors of a file, and gives their tokens numbers.

        Raises ArgumentError where there is no such file, ConflictError naming the line that does not fit the others.
        """
        path = os.path.expanduser(pretrained_file_path)
        if not os.path.isfile(path):
            raise ArgumentError("`pretrained_file_path` must be a valid path to the pre-trained token embedding file.")
        logging.info("Loading pre-trained token embedding vectors from %s", path)
        vectors: list[list[float]] = []
        seen: set[str] = set()
        of_unknown: list[float] | None = None
        for place, token, vector in _lines_of(path, elem_delim, encoding):
            if token == self.unknown_token and of_unknown is None:
                of_unknown = vector
            elif token in seen:
                warnings.warn(
                    f"{place}: the embedding vector for token {token} has been loaded and a duplicate embedding "
                    "for the same token is seen and skipped.",
                    stacklevel=3,
                )
            elif len(vector) == 1:
                warnings.warn(
                    f"{place}: token {token} with 1-dimensional vector {vector} is likely a header and is skipped.",
                    stacklevel=3,
                )
                continue
            elif vectors and len(vector) != len(vectors[0]):
                raise ConflictError(
                    f"{place}: the dimension of token {token} is {len(vector)} but the dimension of previous "
                    f"tokens is {len(vectors[0])}. Dimensions of all the tokens must be the same."
                )
            else:
                vectors.append(vector)
                self._token_to_idx[token] = len(self._idx_to_token)
                self._idx_to_token.append(token)
            seen.add(token)
        if not vectors:
            raise ConflictError(f"{path} has no vector in it")
        if of_unknown is not None and len(of_unknown) != len(vectors[0]):
            raise ConflictError(
                f"{path}: the dimension of token {self.unknown_token} is {len(of_unknown)}, of all others "
                f"{len(vectors[0])}."
            )
        self._vec_len = len(vectors[0])
        table = np.zeros((len(self), self._vec_len), "float32")
        table[len(self) - len(vectors) :] = vectors
        self._idx_to_vec = nd.array(table)
        unknown = nd.array(of_unknown) if of_unknown is not None else init_unknown_vec(shape=self._vec_len)
        self._idx_to_vec[UNKNOWN] = unknown

    def _build_embedding_for_vocabulary(self, vocabulary: Vocabulary | None) -> None:
        """Keeps the vectors of a vocabulary's tokens alone, by its numbers."""
        if vocabulary is not None:
            self._set_idx_to_vec_by_embeddings([self], len(vocabulary), _checked(vocabulary).idx_to_token)
            self._index_tokens_from_vocabulary(vocabulary)

    def _index_tokens_from_vocabulary(self, vocabulary: Vocabulary) -> None:
        self._token_to_idx = dict(vocabulary.token_to_idx)
        self._idx_to_token = list(vocabulary.idx_to_token)
        self._unknown_token = vocabulary.unknown_token
        reserved = vocabulary.reserved_tokens
        self._reserved_tokens = None if reserved is None else list(reserved)

    def _set_idx_to_vec_by_embeddings(
        self, token_embeddings: Sequence[_TokenEmbedding], vocab_len: int, vocab_idx_to_token: Sequence[Any]
    ) -> None:
        """The vectors of tokens side by side, from several embeddings."""
        parts = []
        for embedding in token_embeddings:
            assert embedding.idx_to_vec is not None
            indices = [UNKNOWN, *embedding.to_indices(list(vocab_idx_to_token[1:]))]
            parts.append(embedding.idx_to_vec.asnumpy()[indices])
        table = np.concatenate(parts, axis=1)
        self._vec_len, self._idx_to_vec = table.shape[1], nd.array(table)

    def get_vecs_by_tokens(self, tokens: Any, lower_case_backup: bool = False) -> NDArray:
        """The vector of a token, (vec_len,), or of a list, (n, vec_len).

        With `lower_case_backup` an unknown token is looked for in lower case.
        """
        known = self.token_to_idx

        def index(token: Any) -> int:
            return known.get(token, known.get(token.lower(), UNKNOWN) if lower_case_backup else UNKNOWN)

        assert self._idx_to_vec is not None
        found = nd.take(
            self._idx_to_vec, nd.array([index(t) for t in (tokens if isinstance(tokens, list) else [tokens])])
        )
        return found if isinstance(tokens, list) else found[0]

    def update_token_vectors(self, tokens: Any, new_vectors: NDArray) -> None:
        """Sets the vectors of known tokens; raises ConflictError for shapes, ArgumentError for an unknown token."""
        listed = tokens if isinstance(tokens, list) else [tokens]
        if not isinstance(new_vectors, NDArray) or new_vectors.ndim not in ((1, 2) if len(listed) == 1 else (2,)):
            raise ConflictError("`new_vectors` must be a 2-D NDArray, or 1-D for a single token.")
        table = new_vectors.reshape((1, -1)) if new_vectors.ndim == 1 else new_vectors
        if table.shape != (len(listed), self.vec_len):
            raise ConflictError(
                f"The shape of new_vectors must be {(len(listed), self.vec_len)}: the number of tokens and the "
                f"dimension of the embedding; got {table.shape}."
            )
        unknown = [token for token in listed if token not in self.token_to_idx]
        if unknown:
            raise ArgumentError(
                f"Token {unknown[0]} is unknown. To update the embedding vector for an unknown token, please specify "
                f"it explicitly as the `unknown_token` {self.idx_to_token[UNKNOWN]} in `tokens`. This is to avoid "
                "unintended updates."
            )
        assert self._idx_to_vec is not None
        for token, vector in zip(listed, table):
            self._idx_to_vec[self.token_to_idx[token]] = vector


register = registry.get_register_func(_TokenEmbedding, "token embedding")
create = registry.get_create_func(_TokenEmbedding, "token embedding")


def _lines_of(path: str, elem_delim: str, encoding: str) -> Iterator[tuple[str, str, list[float]]]:
    """Which line it is in words, token and vector of each line; raises ConflictError for one that is no such."""
    with open(path, encoding=encoding, errors="surrogateescape") as file:
        for number, line in enumerate(file, 1):
            token, *texts = line.rstrip().split(elem_delim)
            place = f"At line {number} of the pre-trained token embedding file"
            try:
                line.encode(encoding)
                vector = [float(text) for text in texts]
            except ValueError as error:  # also what is not of this encoding
                raise ConflictError(f"{place}: the data format of {path} is unexpected: {error}.") from None
            if not vector:
                raise ConflictError(f"{place}: the data format of {path} is unexpected.")
            yield place, token, vector


def get_pretrained_file_names(embedding_name: str | None = None) -> Any:
    """The files that a registered class lists, wherever they are, or those of all classes by name.

    Raises MissingKeyError for a class that is not registered.
    """
    known = registry.get_registry(_TokenEmbedding)
    if embedding_name is None:
        return {name: list(cls.pretrained_file_name_sha1) for name, cls in known.items()}
    if embedding_name not in known:
        raise MissingKeyError(
            f"Cannot find `embedding_name` {embedding_name}. Use "
            "`get_pretrained_file_names(embedding_name=None).keys()` to get all the valid embedding names."
        )
    return list(known[embedding_name].pretrained_file_name_sha1)


class _OfFolder(_TokenEmbedding):
    """Vectors of a file in `<embedding_root>/<class name>/`; by default $MXNET_HOME/embeddings."""

    def __init__(
        self,
        pretrained_file_name: str,
        embedding_root: str | None = None,
        init_unknown_vec: Callable[..., NDArray] = nd.zeros,
        vocabulary: Vocabulary | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        root = os.path.join(data_dir(), "embeddings") if embedding_root is None else embedding_root
        self._load_embedding(self._get_pretrained_file(root, pretrained_file_name), " ", init_unknown_vec)
        self._build_embedding_for_vocabulary(vocabulary)


@register
class GloVe(_OfFolder):
    """GloVe's vectors, from `glove/<name>`."""

    pretrained_file_name_sha1 = dict.fromkeys(GLOVE)

    def __init__(self, pretrained_file_name: str = "glove.840B.300d.txt", *args: Any, **kwargs: Any) -> None:
        super().__init__(pretrained_file_name, *args, **kwargs)


@register
class FastText(_OfFolder):
    """fastText's vectors, from `fasttext/<name>`."""

    pretrained_file_name_sha1 = dict.fromkeys(FASTTEXT)

    def __init__(self, pretrained_file_name: str = "wiki.simple.vec", *args: Any, **kwargs: Any) -> None:
        super().__init__(pretrained_file_name, *args, **kwargs)


class CustomEmbedding(_TokenEmbedding):
    """Vectors of any file; of a vocabulary's tokens alone where one is given."""

    def __init__(
        self,
        pretrained_file_path: str,
        elem_delim: str = " ",
        encoding: str = "utf8",
        init_unknown_vec: Callable[..., NDArray] = nd.zeros,
        vocabulary: Vocabulary | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._load_embedding(pretrained_file_path, elem_delim, init_unknown_vec, encoding)
        self._build_embedding_for_vocabulary(vocabulary)


class CompositeEmbedding(_TokenEmbedding):
    """For the tokens of a vocabulary the vectors of several embeddings, side by side."""

    def __init__(self, vocabulary: Vocabulary, token_embeddings: _TokenEmbedding | list[_TokenEmbedding]) -> None:
        self._index_tokens_from_vocabulary(_checked(vocabulary))
        listed = token_embeddings if isinstance(token_embeddings, list) else [token_embeddings]
        if not all(isinstance(embedding, _TokenEmbedding) for embedding in listed):
            raise ConflictError("The argument `token_embeddings` must be a token embedding or a list of them.")
        self._set_idx_to_vec_by_embeddings(listed, len(self), self.idx_to_token)


def _checked(vocabulary: Vocabulary) -> Vocabulary:
    if not isinstance(vocabulary, Vocabulary):
        raise ConflictError("The argument `vocabulary` must be an instance of mxnet.contrib.text.vocab.Vocabulary.")
    return vocabulary
