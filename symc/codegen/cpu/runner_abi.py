"""The int64 words that Python and the native runner share: step rows, call records, the pool.

Free of numba, so that a process whose objects come from the cache never imports it.
"""

from __future__ import annotations

WORD = 8

# A step: one kernel cut into chunks. Rows lie one after another; the table is the program.
KERNEL, DESC, N_CHUNKS = 0, 1, 2  # address of the code, address of its descriptor, how many chunks
STEP_WORDS = 4  # the fourth word is reserved
STEP_BYTES = STEP_WORDS * WORD
TIMES_BYTES = 2 * WORD  # a profiled step's begin and end

# A call record: the one argument of `run`. Python fills in the first six words. STATE: 0, or how a run that came back
# early goes on when it is called again; STOP: 1 makes it give up instead. The rest is where a run without the pool is.
CALL_STEPS, CALL_END, CALL_BUFS, CALL_THREADS, CALL_TIMES, CALL_POOL = range(6)
CALL_STATE, CALL_STOP, CALL_NEXT, CALL_NEXT_TIMES, CALL_CHUNK = range(6, 11)
CALL_WORDS = 11
ALONE, POOLED = 1, 2  # states: by the caller alone, with the pool's threads
SLICE_NS = 100_000_000  # after which a run comes back, so that Python sees signals

# A member record, a cache line: the argument of `participate`, `open_next` and `sleep`. Member 0 is whoever called
# `run`, the others are workers. SHARE: the serial number of a step << SERIAL_SHIFT | the first << COUNT_BITS | the end
# of the chunks that nobody has claimed yet of those meant for this member. SEEN: the step that it looked at last.
# UNTIL: when the caller comes back, finished or not; 0: never.
MEMBER_POOL, MEMBER_INDEX, MEMBER_SHARE, MEMBER_SEEN, MEMBER_UNTIL = range(5)
MEMBER_WORDS = 8

# The pool, in cache lines of 64 bytes so that threads that poll do not slow down threads that write elsewhere.
LINE = 8
SERIAL = 0 * LINE  # number of the open step, counted over all runs
FINISHED = SERIAL + 1  # 1 when the run is complete
PENDING = 1 * LINE  # chunks of the open step that are not done
STEP = 2 * LINE  # address of the open step; this line changes only while no step is open
STEP_TIMES, NEXT, NEXT_TIMES, END, BUFS = range(STEP + 1, STEP + 6)  # times: addresses, 0 when not profiling
BUSY = 3 * LINE  # 1 while a caller owns the pool
SLEEPERS = BUSY + 1  # workers below LIMIT that are asleep
LIMIT = BUSY + 2  # members with a smaller index take part
OPEN_NEXT, SLEEP, PARTICIPATE = range(BUSY + 3, BUSY + 6)  # addresses of the native functions of these names
IS_OPENING = BUSY + 6  # 1 while no step is open because the caller came back before it opened the next
STOP = BUSY + 7  # 1: what is left of the run is passed over
MUTEX = 4 * LINE  # pthread_mutex_t, 64 bytes at most (glibc 40, musl 40, macOS 64)
CONDITION = 5 * LINE  # pthread_cond_t, 64 bytes at most (48 everywhere)
MEMBERS = 6 * LINE  # the member records
MAX_THREADS = 256
POOL_WORDS = MEMBERS + MAX_THREADS * MEMBER_WORDS

COUNT_BITS = 16
MAX_CHUNKS = (1 << COUNT_BITS) - 1
SERIAL_SHIFT = 2 * COUNT_BITS
MAX_SERIAL = (1 << 31) - 1  # a share is a signed word; after this comes 0
