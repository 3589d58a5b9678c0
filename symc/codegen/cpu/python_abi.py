"""Where CPython keeps the items of a list, and NumPy what an array is: the int64 words that `operands.call` reads.

NumPy's are those of its C interface (`PyArrayObject_fields`), which no release moves; CPython's those of builds with a
GIL. `runtime/cpu/operands.py` looks whether this process has them so.
"""

from __future__ import annotations

WORD = 8
HEADER_BYTES = 2 * WORD  # of any object: its count of references, its type
COUNT, TYPE = range(2)
LIST_ITEMS = 3  # of a list: the address of its items
DATA, NDIM, SHAPE, DTYPE, FLAGS = 2, 3, 4, 7, 8  # of an array; NDIM and FLAGS are the low halves of their words
ELEMENT = 3  # of a dtype: its kind, character, byte order and number
LOW_HALF = 0xFFFFFFFF
DENSE = 0x101  # flags: C-contiguous and aligned

# The table that `call` works on: the contents of an array, the first item of the list that `call` is a method of. BUFS
# is the address of the words to write. Where RECORD is not 0, it is the address of a call record (`runner_abi`), and
# RUN, SAVE and RESTORE those of the functions that run it, leave the GIL and take it again. MISFIT, DONE and UNFINISHED
# are objects: what `call` returns. Then comes a row for each object that is given. In a row EXPECTED is the address of
# an array's type, or where RANK is ANY_OBJECT that of the one object that fits; ROW_ELEMENT is the word ELEMENT of a
# dtype, EXTENTS the address of the shape. An array whose SLOT is negative is only looked at.
BUFS, N_OBJECTS, RECORD, RUN, SAVE, RESTORE, MISFIT, DONE, UNFINISHED = range(9)
TABLE_WORDS = 9
SLOT, EXPECTED, ROW_ELEMENT, RANK, EXTENTS = range(5)
ROW_WORDS = 5
ANY_OBJECT = -1
