"""Where CPython keeps the items of a list, and NumPy what an array is: the int64 words that `operands.point` reads.

NumPy's are those of its C interface (`PyArrayObject_fields`), which no release moves; CPython's those of builds with a
GIL. `runtime/cpu/operands.py` looks whether this process has them so.
"""

from __future__ import annotations

WORD = 8
HEADER_BYTES = 2 * WORD  # of any object: its count of references, its type
TYPE = 1
LIST_ITEMS = 3  # of a list: the address of its items
DATA, NDIM, SHAPE, DTYPE, FLAGS = 2, 3, 4, 7, 8  # of an array; NDIM and FLAGS are the low halves of their words
ELEMENT = 3  # of a dtype: its kind, character, byte order and number
LOW_HALF = 0xFFFFFFFF
DENSE = 0x101  # flags: C-contiguous and aligned

# The table that `point` works on: BUFS is the address of the words to write, MISFITS what it counts; then a row for
# each object. In a row EXPECTED is the address of an array's type, or where RANK is ANY_OBJECT that of the one object
# that fits; ROW_ELEMENT is the word ELEMENT of a dtype, EXTENTS the address of the shape. An array whose SLOT is
# negative is only looked at.
BUFS, N_OBJECTS, MISFITS = range(3)
TABLE_WORDS = 3
SLOT, EXPECTED, ROW_ELEMENT, RANK, EXTENTS = range(5)
ROW_WORDS = 5
ANY_OBJECT = -1
