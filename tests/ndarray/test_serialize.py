""".params files: those MXNet wrote, those made by hand for each version, and those that lie."""

import random
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import symc.ndarray as nd
from symc.base import MXNetError
from symc.context import cpu
from symc.core.dtypes import ALIGNMENT
from symc.core.errors import FormatError
from symc.ndarray import serialize
from symc.ndarray.serialize import CSR, ROW_SPARSE, V1, V2, V3, dumps

LEGACY = Path(__file__).parents[1] / "data" / "conformance" / "legacy"
FILES = sorted(path.name for path in LEGACY.glob("*.params"))
WRITTEN_BY_MXNET = ["dtypes.params", "list_no_names.params", "scalar1.params", "hand_v2.params"]
GRID = np.arange(6, dtype="float32").reshape(2, 3)
GRID_BYTES = GRID.tobytes()


def file_of(*records, names=("a",)):
    encoded = b"".join(struct.pack("<Q", len(name)) + name for name in (n.encode() for n in names))
    return struct.pack("<3Q", 0x112, 0, len(records)) + b"".join(records) + struct.pack("<Q", len(names)) + encoded


def shape_of(*sizes):
    return struct.pack(f"<i{len(sizes)}q", len(sizes), *sizes)


def record(magic=V2, shape=(2, 3), device=(1, 0), code=0, data=GRID_BYTES, stype=0):
    return struct.pack("<Ii", magic, stype) + shape_of(*shape) + struct.pack("<3i", *device, code) + data


def sparse_record(stype, stored, shape, values, *indices):
    heads = b"".join(struct.pack("<i", 6) + shape_of(len(index)) for index in indices)
    raw = b"".join(np.array(index, "int64").tobytes() for index in indices)
    head = struct.pack("<Ii", V2, stype) + shape_of(*stored) + shape_of(*shape) + struct.pack("<3i", 1, 0, 0)
    return head + heads + np.array(values, "float32").tobytes() + raw


def load_one(rec):
    (array,) = nd.load_frombuffer(file_of(rec)).values()
    return array


# Files that are well.


@pytest.mark.parametrize("name", ["hand_v0", "hand_v1", "hand_v2", "hand_v2_gpu_ctx", "hand_v3_npshape"])
def test_every_version(name):
    arrays = nd.load(LEGACY / f"{name}.params")
    assert list(arrays) == ["arg:w"]
    np.testing.assert_array_equal(arrays["arg:w"].asnumpy(), GRID)
    assert arrays["arg:w"].dtype is np.float32 and arrays["arg:w"].context == cpu()


@pytest.mark.parametrize("name", ["dtypes", "sparse"])
def test_values_mxnet_wrote(name):
    arrays = nd.load(str(LEGACY / f"{name}.params"))
    expected = np.load(LEGACY / f"{name}_expected.npz")
    assert set(arrays) == set(expected.files)
    for key, array in arrays.items():
        assert array.asnumpy().dtype == expected[key].dtype
        np.testing.assert_array_equal(array.asnumpy(), expected[key])
        assert array._address % ALIGNMENT == 0 and array._host.flags.writeable


def test_files_without_names_are_lists():
    first, second = nd.load(LEGACY / "list_no_names.params")
    np.testing.assert_array_equal(first.asnumpy(), GRID)
    np.testing.assert_array_equal(second.asnumpy(), [1])
    np.testing.assert_array_equal(nd.load(LEGACY / "scalar1.params")["a"].asnumpy(), [7])


@pytest.mark.parametrize("name", WRITTEN_BY_MXNET)
def test_round_trip_is_byte_identical(name, tmp_path):
    raw = (LEGACY / name).read_bytes()
    nd.save(tmp_path / "copy.params", nd.load_frombuffer(raw))
    assert (tmp_path / "copy.params").read_bytes() == raw


@pytest.mark.parametrize("shape", [(), (1,), (0,), (0, 3), (7, 33), (2, 1, 3, 1)], ids=str)
@pytest.mark.parametrize("dtype", ["float16", "float32", "bool", "int8", "uint16", "uint32", "uint64", "int64"])
def test_round_trip_of_values(shape, dtype, tmp_path):
    data = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    nd.save(str(tmp_path / "x.params"), {"b": nd.array(data, dtype=dtype), "": nd.ones(1), "ä": nd.ones(2)})
    arrays = nd.load(str(tmp_path / "x.params"))
    assert list(arrays) == ["b", "", "ä"]
    assert arrays["b"].asnumpy().dtype == dtype
    np.testing.assert_array_equal(arrays["b"].asnumpy(), data)
    assert arrays["b"].shape == shape


def test_save_takes_one_array_a_list_or_a_dict(tmp_path):
    path = str(tmp_path / "x.params")
    nd.save(path, nd.ones(2))
    assert repr(nd.load(path)) == "[\n[1. 1.]\n<NDArray 2 @cpu(0)>]"
    nd.save(path, nd.arange(6).reshape((2, 3))[1])
    np.testing.assert_array_equal(nd.load(path)[0].asnumpy(), [3, 4, 5])
    for empty in ([], {}):
        nd.save(path, empty)
        assert nd.load(path) == []
    for bad, error in (((nd.ones(1),), ValueError), (3, ValueError), ({1: nd.ones(1)}, TypeError), ([GRID], TypeError)):
        with pytest.raises(error):
            nd.save(path, bad)
        with pytest.raises(error):
            dumps(bad)


@pytest.mark.parametrize("data", [nd.ones(2), [nd.ones(2), nd.zeros((1, 3))], {"a": nd.ones((2, 1))}, []])
def test_dumps_gives_what_save_writes(tmp_path, data):
    nd.save(tmp_path / "x.params", data)
    assert dumps(data) == (tmp_path / "x.params").read_bytes()


def test_bfloat16_is_read_as_float32():
    values = np.array([1, -2.5, 0, np.inf, 3.140625, 1e-38], "float32")
    raw = (values.view("uint32") >> 16).astype("uint16")
    array = load_one(record(code=12, data=raw.tobytes()))
    np.testing.assert_array_equal(array.asnumpy().ravel(), (raw.astype("uint32") << 16).view("float32"))
    assert array.asnumpy()[0, 1] == -2.5


def test_scalars_and_arrays_without_contents():
    assert load_one(struct.pack("<Ii", V2, 0) + shape_of()).shape == (0,)
    assert load_one(struct.pack("<Iii", V3, 0, -1)).shape == (0,)
    assert load_one(record(V3, (), data=struct.pack("<f", 5))).asnumpy() == 5
    old = struct.pack("<I", V1) + shape_of() + struct.pack("<3if", 1, 0, 0, 5)
    assert load_one(old).asnumpy() == 5
    assert load_one(record(shape=(0, 3), data=b"")).shape == (0, 3)


def test_sparse_without_elements():
    for stype, rec in (
        (CSR, sparse_record(CSR, (0,), (2, 3), [], [0, 0, 0], [])),
        (CSR, sparse_record(CSR, (0,), (2, 3), [], [0], [])),
        (ROW_SPARSE, sparse_record(ROW_SPARSE, (0, 3), (2, 3), [], [])),
    ):
        np.testing.assert_array_equal(load_one(rec).asnumpy(), np.zeros((2, 3)), err_msg=str(stype))


def test_what_mxnet_tolerates():
    assert load_one(record(device=(6, -1))).context == cpu()
    assert list(nd.load_frombuffer(file_of(record()) + b"rest")) == ["a"]
    assert len(nd.load_frombuffer(file_of(record(), record(), names=("a", "a")))) == 1
    strange_bool = load_one(record(shape=(3,), code=7, data=b"\x00\x01\x07")).asnumpy()
    assert strange_bool.view("uint8").tolist() == [0, 1, 1]


# Files that are not.


def test_missing_files(tmp_path):
    missing = str(tmp_path / "none" / "x")
    for attempt in (lambda: nd.load(missing), lambda: nd.save(missing, nd.ones(1))):
        with pytest.raises(MXNetError, match=f'Open "{missing}": No such file or directory'):
            attempt()
    with pytest.raises(MXNetError, match="directory"):
        nd.load(str(tmp_path))
    for attempt in (lambda: nd.load(3), lambda: nd.load_frombuffer("text")):
        with pytest.raises(TypeError):
            attempt()


HUGE = 2**62
LIES = {
    "empty": (b"", 0, "expected 24 bytes of the file header, 0 are left"),
    "magic": (b"abcdefgh" + bytes(16), 0, "magic number"),
    "array count": (struct.pack("<3Q", 0x112, 0, HUGE), 24, f"{HUGE} arrays"),
    "no names section": (file_of(record())[:-17], 88, "number of names"),
    "name count": (file_of(record(), names=("a", "b")), 88, "2 names for 1 arrays"),
    "name length": (file_of(record(), names=())[:-8] + struct.pack("<2Q", 1, HUGE), 104, "bytes of a name, "),
    "name encoding": (file_of(record())[:-1] + b"\xff", 104, "not UTF-8"),
    "record magic": (file_of(record(magic=0xDEADBEEF)), 24, "0xdeadbeef"),
    "storage type": (file_of(record(stype=3)), 28, "storage type 3"),
    "dimensions": (file_of(record(shape=(1,) * 33)), 32, "33 dimensions"),
    "negative dimensions": (file_of(struct.pack("<Iii", V2, 0, -1)), 32, "-1 dimensions"),
    "negative size": (file_of(record(shape=(-1, -6))), 36, "negative size"),
    "size": (file_of(record(shape=(2**40, 2**10))), 64, "values of a float32 array"),
    "size beyond reach": (file_of(record(shape=(HUGE, HUGE))), 36, "too large"),
    "size beside zero": (file_of(record(shape=(0, HUGE, HUGE))), 36, "too large"),
    "sparse size beside zero": (file_of(sparse_record(1, (0, 0), (HUGE, HUGE, 0), [], [])), 56, "too large"),
    "V0 size": (file_of(struct.pack("<I2I3i", 2, 2**20, 2**20, 1, 0, 0)), 48, "values"),
    "dtype": (file_of(record(code=13)), 60, "dtype code 13"),
    "row number": (file_of(sparse_record(1, (1, 3), (2, 3), [1, 2, 3], [2])), 72, "row number is out of range"),
    "row count": (file_of(sparse_record(1, (1, 3), (2, 3), [1, 2, 3], [0, 1])), 72, "2 row numbers"),
    "column": (file_of(sparse_record(2, (1,), (2, 3), [1], [0, 1, 1], [3])), 64, "column number is out of range"),
    "row starts": (file_of(sparse_record(2, (1,), (2, 3), [1], [0, 2, 1], [0])), 64, "row starts"),
    "sparse growth of all": (
        file_of(*[sparse_record(1, (0, 3), (2**15, 3), [], [])] * 8, names=()),
        224,
        "would take 393216 bytes when dense",
    ),
    "sparse growth": (file_of(sparse_record(1, (0, 3), (2**40, 3), [], [])), 72, "when dense"),
}


@pytest.mark.parametrize("name", LIES)
def test_lies_are_named_with_file_and_offset(name, tmp_path):
    raw, offset, problem = LIES[name]
    path = tmp_path / "bad.params"
    path.write_bytes(raw)
    with pytest.raises(FormatError) as caught:
        nd.load(str(path))
    message = str(caught.value)
    assert message.startswith(f"{path}: Invalid NDArray file format at byte {offset}: ") and problem in message
    with pytest.raises(FormatError, match="<buffer>"):
        nd.load_frombuffer(raw)


@pytest.mark.parametrize("name", FILES)
def test_every_truncation_is_a_format_error(name):
    raw = (LEGACY / name).read_bytes()
    for length in range(len(raw)):
        with pytest.raises(FormatError):
            nd.load_frombuffer(raw[:length])


@pytest.mark.parametrize("name", FILES)
def test_mutated_files_load_or_are_format_errors(name):
    """600 seeded mutations a file: random bytes, bit flips, extreme numbers, cuts and repetitions."""
    raw = (LEGACY / name).read_bytes()
    draw = random.Random(name)
    n_errors = 0
    tracemalloc.start()
    for _ in range(600):
        mutant = bytearray(raw)
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(mutant))
            kind = draw.randrange(5)
            if kind == 0:
                mutant[at] = draw.randrange(256)
            elif kind == 1:
                mutant[at] ^= 1 << draw.randrange(8)
            elif kind == 2:
                at = at // 4 * 4
                mutant[at : at + 8] = struct.pack("<q", draw.choice([-1, 0, 1, 2, 2**31, 2**62, -(2**63), V1, V2, V3]))
            elif kind == 3:
                mutant[at:] = mutant[at : at + draw.randrange(32)] or b"\0"
            else:
                mutant[at:at] = mutant[at : at + draw.randrange(64)]
        try:
            nd.load_frombuffer(bytes(mutant))
        except FormatError:
            n_errors += 1
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert n_errors > 100
    assert peak_bytes < 4 << 20


def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "best.params"
    nd.save(str(path), {"w": nd.ones(3)})
    before = path.read_bytes()

    def full(file, *_):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(serialize, "_write", full)
    with pytest.raises(MXNetError, match=f'Open "{path}": No space left on device'):
        nd.save(str(path), {"w": nd.zeros(3)})
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == [path.name]
