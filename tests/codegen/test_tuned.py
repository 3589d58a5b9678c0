"""Tuned plans: what is kept comes back, whoever writes beside it and whatever happens to its file."""

from __future__ import annotations

import json
from multiprocessing import get_context

import pytest

from symc.codegen import tuned as tuned_module
from symc.codegen.cache import KernelCache
from symc.codegen.tuned import choosing, digest, keep, preload, tuned
from symc.core.errors import SymcError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A store of the test's own, and no plan from a file."""
    found = KernelCache(tmp_path / "cache")
    monkeypatch.setattr(tuned_module, "kernel_cache", lambda: found)
    monkeypatch.setattr(tuned_module, "_preloaded", {})
    return found


def test_newer_plans_take_the_place_of_older_ones():
    assert tuned("zen4") == {}
    path = keep("zen4", {"a": "one", "b": "two"})
    assert path.is_file() and keep("zen4", {"b": "three", "c": "four"}) == path
    assert tuned("zen4") == {"a": "one", "b": "three", "c": "four"}
    assert tuned("zen3") == {}


def test_a_file_and_a_trial_come_before_what_is_stored():
    keep("zen4", {"a": "one", "b": "two"})
    preload("zen4", {"a": "of a file"})
    assert tuned("zen4") == {"a": "of a file", "b": "two"}
    assert tuned("zen3") == {}
    with choosing({"b": "on trial"}):
        assert tuned("zen4") == {"b": "on trial"}
        with choosing({}):
            assert tuned("zen4") == {}
        assert tuned("zen4") == {"b": "on trial"}
    assert tuned("zen4") == {"a": "of a file", "b": "two"}


def test_choices_of_equal_digest_are_equal():
    assert digest({}) == ""
    assert digest({"a": "1", "b": "2"}) == digest({"b": "2", "a": "1"}) != digest({"a": "2", "b": "1"})


def test_a_damaged_file_is_told_and_forgotten():
    path = keep("zen4", {"a": "one"})
    whole = bytearray(path.read_bytes())
    for position in range(0, len(whole), 7):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.warns(RuntimeWarning, match=r"\.plans was damaged and is removed; `symc tune` measures again"):
            assert tuned("zen4") == {}
        assert not path.exists() and tuned("zen4") == {}
    assert keep("zen4", {"b": "two"}) == path and tuned("zen4") == {"b": "two"}


def _keep_many(directory, writer):
    tuned_module.kernel_cache = lambda: KernelCache(directory)
    for k in range(20):
        keep("zen4", {f"{writer} {k}": "plan"})


def test_processes_that_write_at_the_same_time_lose_nothing(cache):
    context = get_context("fork")
    writers = [context.Process(target=_keep_many, args=(cache._folder.path, n)) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert tuned("zen4") == {f"{n} {k}": "plan" for n in range(3) for k in range(20)}


def test_clearing_the_cache_leaves_the_plans(cache):
    keep("zen4", {"a": "one"})
    cache.put("k", b"kernel", {})
    cache.clear()
    assert cache.info().n_entries == 0 and tuned("zen4") == {"a": "one"}


def test_without_a_folder_nothing_can_be_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(tuned_module, "kernel_cache", lambda: KernelCache(None))
    with pytest.raises(SymcError, match=r"cannot be kept: there is no kernel cache \(SYMC_CACHE=0"):
        keep("zen4", {"a": "one"})
    assert tuned("zen4") == {}
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    monkeypatch.setattr(tuned_module, "kernel_cache", lambda: KernelCache(tmp_path / "open"))
    with pytest.raises(SymcError, match=r"cannot be kept: .*set SYMC_CACHE_DIR to a folder of your own"):
        keep("zen4", {"a": "one"})


def test_the_file_can_be_read_by_people():
    text = keep("zen4", {"a": "one"}).read_bytes()
    assert json.loads(text[text.index(b'{\n "a"') :]) == {"a": "one"}
