"""Records that MXNet has written into tests/data/image/records.rec; read by MXNet's Python 3.8 too."""

MAGIC = b"\x0a\x23\xd7\xce"
# The magic number at, beside and far from multiples of 4.
RECORDS = (
    b"",
    b"a",
    b"four",
    MAGIC,
    b"x" + MAGIC,
    b"1234" + MAGIC + MAGIC + b"56",
    MAGIC * 3 + b"abc",
    bytes(range(20)),
)
