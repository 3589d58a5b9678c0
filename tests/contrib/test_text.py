"""Vocabularies and vectors of tokens; what is counted and read is what MXNet 1.9.1 counts and reads."""

from __future__ import annotations

import shutil
from collections import Counter

import numpy as np
import pytest

import symc as mx
from symc.contrib import text
from symc.core.errors import ArgumentError, ConflictError

COUNTED = Counter({"a": 1, "b": 3, "c": 3, "some": 2, "<pad>": 9})


def test_tokens_are_counted():
    counted = text.utils.count_tokens_from_str("*Life*is*great*\n*life*is*", r"\*", "\n")
    assert counted == {"Life": 1, "is": 2, "great": 1, "life": 1}
    assert text.utils.count_tokens_from_str(" Life \n life ", to_lower=True, counter_to_update=Counter(life=1)) == {
        "life": 3
    }


@pytest.mark.parametrize(
    "options, tokens",
    [
        ({}, ["<unk>", "<pad>", "b", "c", "some", "a"]),
        ({"min_freq": 2, "reserved_tokens": ["<pad>"]}, ["<unk>", "<pad>", "b", "c", "some"]),
        ({"most_freq_count": 1, "reserved_tokens": ["<pad>", "x"], "unknown_token": "?"}, ["?", "<pad>", "x", "b"]),
        ({"most_freq_count": 0}, ["<unk>"]),
    ],
)
def test_a_vocabulary_numbers_tokens_by_frequency(options, tokens):
    vocabulary = text.vocab.Vocabulary(COUNTED, **options)
    assert vocabulary.idx_to_token == tokens and len(vocabulary) == len(tokens)
    assert vocabulary.token_to_idx == {token: k for k, token in enumerate(tokens)}
    assert vocabulary.reserved_tokens == options.get("reserved_tokens")


def test_tokens_and_numbers():
    vocabulary = text.vocab.Vocabulary(COUNTED)
    assert vocabulary.to_indices(["b", "never"]) == [2, 0] and vocabulary.to_indices("c") == 3
    assert vocabulary.to_tokens([2, 0]) == ["b", "<unk>"] and vocabulary.to_tokens(3) == "c"
    with pytest.raises(ArgumentError, match="Token index 6 in the provided `indices` is invalid"):
        vocabulary.to_tokens(6)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"min_freq": 0}, "positive value"),
        ({"reserved_tokens": ["<unk>"]}, "cannot contain `unknown_token`"),
        ({"reserved_tokens": ["x", "x"]}, "duplicate"),
        ({"counter": ["a"]}, "collections.Counter"),
    ],
)
def test_a_vocabulary_that_cannot_be(arguments, message):
    with pytest.raises(ConflictError, match=message):
        text.vocab.Vocabulary(**arguments)


@pytest.fixture
def vectors(tmp_path):
    """Two vectors, of `a` and `b`."""
    path = tmp_path / "vectors.txt"
    path.write_text("a 0.5 1.5 2.5\nb 10 11 12\n")
    return str(path)


def test_vectors_are_read(vectors):
    embedding = text.embedding.CustomEmbedding(vectors, init_unknown_vec=mx.nd.ones)
    assert embedding.vec_len == 3 and embedding.idx_to_token == ["<unk>", "a", "b"]
    np.testing.assert_array_equal(embedding.idx_to_vec.asnumpy(), [[1, 1, 1], [0.5, 1.5, 2.5], [10, 11, 12]])
    assert embedding.get_vecs_by_tokens("b").asnumpy().tolist() == [10, 11, 12]
    assert embedding.get_vecs_by_tokens(["B", "a"]).asnumpy().tolist() == [[1, 1, 1], [0.5, 1.5, 2.5]]
    assert embedding.get_vecs_by_tokens(["B"], lower_case_backup=True).asnumpy().tolist() == [[10, 11, 12]]
    embedding.update_token_vectors("a", mx.nd.array([7, 8, 9]))
    embedding.update_token_vectors(["b", "<unk>"], mx.nd.array([[1, 2, 3], [4, 5, 6]]))
    np.testing.assert_array_equal(embedding.idx_to_vec.asnumpy(), [[4, 5, 6], [7, 8, 9], [1, 2, 3]])
    with pytest.raises(ArgumentError, match="Token never is unknown"):
        embedding.update_token_vectors("never", mx.nd.ones(3))
    for tokens, wrong in ((["a", "b"], mx.nd.ones(3)), ("a", mx.nd.ones(2)), ("a", [1, 2, 3])):
        with pytest.raises(ConflictError, match="new_vectors"):
            embedding.update_token_vectors(tokens, wrong)


def test_vectors_of_a_vocabulary_and_of_several_files(vectors, tmp_path):
    vocabulary = text.vocab.Vocabulary(Counter(["b", "b", "c"]), reserved_tokens=["<pad>"])
    one = text.embedding.CustomEmbedding(vectors, vocabulary=vocabulary)
    assert one.idx_to_token == ["<unk>", "<pad>", "b", "c"] and one.reserved_tokens == ["<pad>"]
    np.testing.assert_array_equal(one.idx_to_vec.asnumpy(), [[0] * 3, [0] * 3, [10, 11, 12], [0] * 3])
    (tmp_path / "more.txt").write_text("<unk>,5,6\nc,1,2\n")
    more = text.embedding.CustomEmbedding(str(tmp_path / "more.txt"), ",")
    both = text.embedding.CompositeEmbedding(vocabulary, [text.embedding.CustomEmbedding(vectors), more])
    expected = [[0, 0, 0, 5, 6], [0, 0, 0, 5, 6], [10, 11, 12, 5, 6], [0, 0, 0, 1, 2]]
    np.testing.assert_array_equal(both.idx_to_vec.asnumpy(), expected)
    assert both.vec_len == 5
    with pytest.raises(ConflictError, match="`vocabulary` must be"):
        text.embedding.CompositeEmbedding({}, more)
    with pytest.raises(ConflictError, match="`token_embeddings` must be"):
        text.embedding.CompositeEmbedding(vocabulary, [vocabulary])


def test_odd_lines_are_told(tmp_path):
    path = tmp_path / "v.txt"
    path.write_text("2 2\na 1 2\na 3 4\n")
    with pytest.warns(UserWarning, match="At line") as seen:
        embedding = text.embedding.CustomEmbedding(str(path))
    assert ["line 1 " in str(w.message) and "likely a header" in str(w.message) for w in seen] == [True, False]
    assert ["line 3 " in str(w.message) and "duplicate" in str(w.message) for w in seen] == [False, True]
    np.testing.assert_array_equal(embedding.idx_to_vec.asnumpy(), [[0, 0], [1, 2]])
    for content, message in (
        (b"a 1 2\nb 1 2 3\n", "token b is 3"),
        (b"<unk> 1 2 3\na 1 2\n", "token <unk> is 3, of all others 2"),
        (b"a\n", "line 1 "),
        (b"a 1 2\nb 1 x\n", "line 2 .*'x'"),
        (b"a 1 2\n\xff 1 2\n", "line 2 .*'utf-8' codec"),
        (b"", "no vector"),
    ):
        path.write_bytes(content)
        with pytest.raises(ConflictError, match=message):
            text.embedding.CustomEmbedding(str(path))
    with pytest.raises(ArgumentError, match="must be a valid path"):
        text.embedding.CustomEmbedding(str(tmp_path / "nowhere"))


def test_known_vectors_are_read_where_they_lie(vectors, tmp_path, monkeypatch):
    monkeypatch.setenv("MXNET_HOME", str(tmp_path))
    with pytest.raises(ArgumentError, match="symc downloads no vectors"):
        text.embedding.create("glove", pretrained_file_name="glove.6B.50d.txt")
    folder = tmp_path / "embeddings" / "glove"
    folder.mkdir(parents=True)
    shutil.copy(vectors, folder / "glove.6B.50d.txt")
    assert text.embedding.create("glove", pretrained_file_name="glove.6B.50d.txt").vec_len == 3


def test_names_of_known_vectors():
    """As many as MXNet knows."""
    known = text.embedding.get_pretrained_file_names()
    assert (len(known["glove"]), len(known["fasttext"])) == (10, 327)
    assert {"glove.6B.50d.txt", "glove.840B.300d.txt"} <= {*text.embedding.get_pretrained_file_names("glove")}
    assert {"wiki.simple.vec", "wiki.multi.de.vec", "crawl-300d-2M.vec"} <= {*known["fasttext"]}
    with pytest.raises(KeyError, match="Cannot find `embedding_name` word2vec"):
        text.embedding.get_pretrained_file_names("word2vec")
