"""The kernel cache returns what was stored or nothing, whatever happens to its files."""

import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context

import pytest

from symc.codegen import cache as cache_module
from symc.codegen.cache import KernelCache, kernel_cache
from symc.core.private import PrivateFolder

DATA = bytes(range(256)) * 3
HEADER = {"symbol": "symc_nest_0"}


@pytest.fixture
def cache(tmp_path):
    return KernelCache(tmp_path / "kernels")


def entry_file(cache):
    (path,) = cache.info().directory.glob("*.kernel")
    return path


def test_returns_what_was_stored(cache):
    assert cache.get("a") is None
    cache.put("a", DATA, HEADER)
    cache.put("b", b"", HEADER)
    assert cache.get("a") == DATA
    assert cache.get("b") == b""
    assert cache.info().n_entries == 2


def test_overwrites(cache):
    cache.put("a", b"old", HEADER)
    cache.put("a", b"new", HEADER)
    assert cache.get("a") == b"new"
    assert cache.info().n_entries == 1


def test_clear(cache):
    cache.put("a", DATA, HEADER)
    cache.clear()
    assert cache.get("a") is None
    assert cache.info().n_entries == 0


def test_every_truncation_is_a_miss(cache):
    cache.put("a", DATA, HEADER)
    path = entry_file(cache)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert cache.get("a") is None
        assert not path.exists()
    path.write_bytes(whole)
    assert cache.get("a") == DATA


def test_every_bit_flip_is_a_miss(cache):
    cache.put("a", b"object code", HEADER)
    path = entry_file(cache)
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        assert cache.get("a") is None


def test_additions_are_a_miss(cache):
    cache.put("a", DATA, HEADER)
    path = entry_file(cache)
    path.write_bytes(path.read_bytes() + b"\0")
    assert cache.get("a") is None


def test_an_entry_serves_only_its_own_key(cache):
    cache.put("a", DATA, HEADER)
    path = entry_file(cache)
    other = path.with_name(cache_module._file_name("b", "kernel"))
    other.write_bytes(path.read_bytes())
    assert cache.get("b") is None
    assert cache.get("a") == DATA


def test_a_directory_in_place_of_an_entry(cache):
    cache.put("a", DATA, HEADER)
    path = entry_file(cache)
    path.unlink()
    path.mkdir()
    assert cache.get("a") is None
    with pytest.warns(RuntimeWarning, match="cannot write"):
        cache.put("a", DATA, HEADER)
    assert entry_file(cache) == path and path.is_dir()


def test_creates_a_private_directory(cache):
    cache.put("a", DATA, HEADER)
    assert cache.info().directory.stat().st_mode & 0o777 == 0o700
    assert entry_file(cache).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_refuses_a_directory_others_can_write(tmp_path, mode):
    KernelCache(tmp_path).put("a", DATA, HEADER)
    tmp_path.chmod(mode)
    cache = KernelCache(tmp_path)
    with pytest.warns(RuntimeWarning, match="plant code"):
        assert cache.get("a") is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # one warning is enough
        cache.put("a", DATA, HEADER)
        assert cache.info() == cache_module.CacheInfo(None, 0, 0, cache.info().limit_bytes)


def test_refuses_a_directory_of_another_owner(tmp_path, monkeypatch):
    KernelCache(tmp_path).put("a", DATA, HEADER)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.warns(RuntimeWarning, match="plant code"):
        assert KernelCache(tmp_path).get("a") is None


def test_works_without_a_usable_directory(tmp_path):
    (tmp_path / "file").write_text("in the way")
    cache = KernelCache(tmp_path / "file" / "kernels")
    with pytest.warns(RuntimeWarning, match="cannot use"):
        cache.put("a", DATA, HEADER)
    assert cache.get("a") is None


def test_works_on_a_full_disk(cache, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    cache.put("a", DATA, HEADER)
    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(RuntimeWarning, match="No space left"):
        cache.put("b", DATA, HEADER)
    assert cache.get("a") == DATA
    assert not list(cache.info().directory.glob("*.tmp"))


def test_drops_the_least_recently_used(cache):
    small = KernelCache(cache.info().directory, limit_bytes=3500)
    for age_s, key in enumerate("cba"):
        small.put(key, bytes(1000), HEADER)
        os.utime(small.info().directory / cache_module._file_name(key, "kernel"), (1e9 - age_s, 1e9 - age_s))
    assert small.get("a") is not None  # the oldest, but now the last one used
    small.put("d", bytes(1000), HEADER)
    assert small.get("b") is None
    assert all(small.get(key) is not None for key in "acd")
    assert small.info().size_bytes <= 3500


def test_removes_what_dead_processes_left(cache):
    directory = cache.info().directory
    abandoned, in_progress = directory / "x-1.tmp", directory / "y-2.tmp"
    for path, age_s in ((abandoned, 7200), (in_progress, 5)):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age_s,) * 2)
    cache.put("a", DATA, HEADER)
    assert not abandoned.exists()
    assert in_progress.exists()


def test_leaves_other_files_alone(cache):
    other = cache.info().directory / "README"
    other.write_text("mine")
    cache.put("a", DATA, HEADER)
    cache.clear()
    assert other.read_text() == "mine"


def hammer(directory, seed):
    """Writes, reads and removes the same few keys as other processes do; every hit must be whole."""
    warnings.simplefilter("error")
    cache = KernelCache(directory)
    for turn in range(200):
        key = str((turn * 7 + seed) % 5)
        data = key.encode() * 5000
        assert cache.get(key) in (data, None)
        cache.put(key, data, HEADER)
        if turn % 17 == seed:
            cache.clear()


def test_processes_share_it(tmp_path):
    context = get_context("spawn")
    processes = [context.Process(target=hammer, args=(tmp_path / "kernels", seed)) for seed in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]


@pytest.mark.filterwarnings("error")
def test_threads_share_it(tmp_path):
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda seed: hammer(tmp_path / "kernels", seed), range(4)))


@pytest.fixture
def environment(monkeypatch):
    for name in ("SYMC_CACHE", "SYMC_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    kernel_cache.cache_clear()
    yield monkeypatch
    kernel_cache.cache_clear()


@pytest.mark.slow
def test_a_process_killed_while_it_compiles_leaves_a_good_cache(environment, tmp_path):
    """Again and again, each time with more files; who comes next takes what is there, and says nothing of it."""
    command = [sys.executable, "-W", "error", "-m", "symc", "run", "lenet", "--seed", "0"]
    environment.setenv("SYMC_CACHE_DIR", str(tmp_path / "whole"))
    expected = subprocess.run(command, capture_output=True, text=True, check=True)
    names = {path.name for path in (tmp_path / "whole").iterdir()}
    folder = tmp_path / "killed"
    folder.mkdir(mode=0o700)
    environment.setenv("SYMC_CACHE_DIR", str(folder))
    for n_files in (0, 3, 6):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            while process.poll() is None and len([*folder.iterdir()]) <= n_files:
                time.sleep(0.001)
            process.kill()
            assert (process.communicate()[1], process.returncode) == ("", -signal.SIGKILL)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (expected.stdout, "")
    assert names <= {path.name for path in folder.iterdir()}


def test_place_by_environment(environment, tmp_path):
    environment.setenv("HOME", str(tmp_path))
    environment.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    assert kernel_cache().info().directory == tmp_path / ".cache" / "symc"
    kernel_cache.cache_clear()
    environment.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert kernel_cache().info().directory == tmp_path / "xdg" / "symc"
    kernel_cache.cache_clear()
    environment.setenv("SYMC_CACHE_DIR", str(tmp_path / "chosen"))
    assert kernel_cache().info().directory == tmp_path / "chosen"


def test_a_home_that_nobody_has(environment):
    environment.setenv("SYMC_CACHE_DIR", "~nosuchuser/x")
    with pytest.warns(RuntimeWarning, match="cannot use ~nosuchuser/x: .* home directory. Continuing without it"):
        kernel_cache().put("a", DATA, HEADER)
    assert kernel_cache().info().directory is None


def test_switched_off(environment, tmp_path):
    environment.setenv("SYMC_CACHE", "0")
    environment.setenv("SYMC_CACHE_DIR", str(tmp_path / "chosen"))
    kernel_cache().put("a", DATA, HEADER)
    assert kernel_cache().get("a") is None
    assert not (tmp_path / "chosen").exists()


# -- size -------------------------------------------------------------------------------------------------------------


def plant(directory, n_entries):
    """Entries as other processes wrote them, the oldest first; gives their keys."""
    keys = [f"planted {k}" for k in range(n_entries)]
    for k, key in enumerate(keys):
        path = directory / cache_module._file_name(key, "kernel")
        path.write_bytes(cache_module._pack(key, b"x" * 100, HEADER))
        os.utime(path, (1e9 + k, 1e9 + k))
    return keys


@pytest.fixture
def scans(monkeypatch):
    """How often a folder's files were listed."""
    found, files = [], PrivateFolder.files
    monkeypatch.setattr(PrivateFolder, "files", lambda folder: found.append(1) or files(folder))
    return found


def test_writing_does_not_look_at_what_is_there(cache, scans):
    plant(cache.info().directory, 300)
    cache.put("first", DATA, HEADER)  # nobody has said yet how full the folder is
    scans.clear()
    for k in range(50):
        cache.put(str(k), DATA, HEADER)
    KernelCache(cache.info().directory).put("other process", DATA, HEADER)
    scans.pop()  # that of info()
    assert not scans
    assert cache.info().n_entries == 352


def test_a_full_folder_is_looked_at_rarely(cache, scans):
    small = KernelCache(cache.info().directory, limit_bytes=1 << 20)
    for k in range(2000):
        small.put(str(k), bytes(3000), HEADER)
    assert len(scans) < 2000 / 20
    info = small.info()
    assert (1 << 20) * 0.85 < info.size_bytes <= 1 << 20
    assert [small.get(str(k)) is not None for k in (0, 1000, 1900, 1999)] == [False, False, True, True]


def test_the_oldest_go_first(cache):
    keys = plant(cache.info().directory, 30)
    size_bytes = cache.info().size_bytes
    small = KernelCache(cache.info().directory, limit_bytes=size_bytes)
    assert small.get(keys[0]) is not None
    small.put("new", b"x" * 200, HEADER)
    assert [k for k in keys if small.get(k) is None] == keys[1:3]


def test_an_entry_above_the_limit_is_not_kept_and_drops_nothing(cache):
    small = KernelCache(cache.info().directory, limit_bytes=10_000)
    small.put("a", DATA, HEADER)
    with pytest.warns(RuntimeWarning, match="an entry of .* bytes is not kept"):
        small.put("b", bytes(20_000), HEADER)
    assert small.get("a") == DATA and small.get("b") is None


def test_an_entry_that_fills_the_folder_stays(cache):
    small = KernelCache(cache.info().directory, limit_bytes=1 << 20)
    small.put("a", DATA, HEADER)
    small.put("b", bytes(1_047_000), HEADER)
    small.put("c", DATA, HEADER)
    assert small.get("c") == DATA and small.info().size_bytes <= 1 << 20
    small.put("b", bytes(1_047_000), HEADER)
    assert small.get("b") is not None


@pytest.mark.parametrize("what", ["absent", "link", "pipe", "huge"])
def test_a_wrong_estimate_costs_a_look(cache, what, scans):
    cache.put("a", DATA, HEADER)
    filling = cache.info().directory / cache_module._FILLING
    filling.unlink()
    if what == "link":
        filling.symlink_to("/dev/zero")
    elif what == "pipe":
        os.mkfifo(filling)
    elif what == "huge":
        filling.touch()
        os.truncate(filling, 1 << 40)
    cache.put("b", DATA, HEADER)
    scans.clear()
    cache.put("c", DATA, HEADER)
    assert not scans and not filling.is_symlink() and filling.is_file() and filling.stat().st_size < 10
    assert all(cache.get(key) == DATA for key in "abc")


# -- what is no file of ours ------------------------------------------------------------------------------------------


def make_pipe(path):
    os.mkfifo(path)


def make_endless(path):
    path.symlink_to("/dev/zero")


def make_link(path):
    whole = path.with_name("elsewhere")
    whole.write_bytes(cache_module._pack("a", b"planted", HEADER))
    path.symlink_to(whole)


def make_writable(path):
    path.write_bytes(cache_module._pack("a", b"planted", HEADER))
    path.chmod(0o666)


def make_sparse(path):
    path.touch()
    os.truncate(path, 1 << 40)


@pytest.mark.parametrize("plant_one", [make_pipe, make_endless, make_link, make_writable, make_sparse])
def test_only_regular_files_of_ours_are_read(cache, plant_one):
    cache.put("a", DATA, HEADER)
    path = entry_file(cache)
    path.unlink()
    plant_one(path)
    assert cache.get("a") is None
    cache.put("a", DATA, HEADER)
    assert cache.get("a") == DATA and not path.is_symlink()


def test_reading_takes_no_more_memory_than_the_entry(cache):
    cache.put("a", DATA, HEADER)
    tracemalloc.start()
    try:
        assert cache.get("a") == DATA
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_an_entry_of_another_owner_is_not_read(cache, monkeypatch):
    cache.put("a", DATA, HEADER)
    fstat, inode = os.fstat, entry_file(cache).stat().st_ino

    def foreign(handle):
        status = fstat(handle)
        return os.stat_result((*status[:4], status.st_uid + 1, *status[5:])) if status.st_ino == inode else status

    monkeypatch.setattr(os, "fstat", foreign)
    assert cache.get("a") is None


def test_a_folder_is_not_left_for_what_took_its_name(cache, tmp_path):
    """The folder that was found private stays the one that is used, wherever its name leads later."""
    cache.put("a", DATA, HEADER)
    directory, moved = cache.info().directory, tmp_path / "moved"
    directory.rename(moved)
    directory.mkdir(mode=0o777)
    directory.chmod(0o777)
    cache.put("b", DATA, HEADER)
    assert cache.get("a") == cache.get("b") == DATA and not list(directory.iterdir())


def test_a_folder_opened_to_others_later_is_left(cache):
    cache.put("a", DATA, HEADER)
    cache.info().directory.chmod(0o777)
    with pytest.warns(RuntimeWarning, match="plant code"):
        assert cache.get("a") is None


def test_a_removed_folder_is_made_anew(cache):
    cache.put("a", DATA, HEADER)
    shutil.rmtree(cache.info().directory)
    assert cache.get("a") is None
    cache.put("a", DATA, HEADER)
    assert cache.get("a") == DATA


def test_a_descriptor_that_is_another_file_by_now_is_not_used(cache, tmp_path):
    """As a daemon does that closes all descriptors and opens others."""
    cache.put("a", DATA, HEADER)
    handle, _ = cache._folder._held
    other = os.open(tmp_path, os.O_RDONLY)
    os.dup2(other, handle)
    cache.put("b", DATA, HEADER)
    assert cache.get("a") == cache.get("b") == DATA
    assert [p.name for p in tmp_path.iterdir()] == ["kernels"]
    os.close(other)
    os.close(handle)
