"""The int64 words that Python and the native runner share: step rows, call records, the pool.

Free of numba, so that a process whose objects come from the cache never imports it.
"""

from __future__ import annotations

from symc.core.config import MAX_THREADS as MAX_THREADS

WORD = 8

# A step: one kernel cut into chunks. Rows lie one after another; the table is the program.
KERNEL, DESC, N_CHUNKS, KIND = range(4)  # address of the code, address of its descriptor, how many chunks, what it is
STEP_WORDS = 4
IS_KERNEL, IS_LOOP, IS_END, IS_CALL = range(4)  # kinds

# A loop: a row of the kind, a row about its end, a row for each address that moves, its steps, a row of kind IS_END.
# Rounds are counted in a word of `bufs`. It goes on while fewer than COUNT are done and, where MASK is not 0, while the
# masked word at bufs[FLAG] + FLAG_OFFSET is not 0.
COUNT, COUNTER, N_MOVING = range(3)  # the first row
FLAG, FLAG_OFFSET, MASK, N_ROWS = range(STEP_WORDS, 2 * STEP_WORDS)  # the second; N_ROWS: of the loop's steps
MOVING = 2 * STEP_WORDS  # the first of the others:
MOVED, BASE, STRIDE, PERIOD = range(4)  # bufs[MOVED] = bufs[BASE], STRIDE more in each round, unless 0 again in PERIOD
BACK, BANDS = range(2)  # of an IS_END row: how many rows above it the loop begins; see `runtime.program.Loop`
# A call-back leaves the run; CALLED, the first word of its row, is the number that Python finds in the call record.
CALLED = 0
STEP_BYTES = STEP_WORDS * WORD
TIMES_BYTES = 2 * WORD  # a profiled step's begin and end

# A call record: the one argument of `run`. Python fills in the first six words. STATE: 0, or how a run that came back
# early goes on when it is called again; STOP: 1 makes it give up instead; CALLED: 0, or 1 more than the number of the
# call-back that is to be done before that. The rest is where a run without the pool is: at which step, how many of its
# chunks are done, and whether the last ones come first.
CALL_STEPS, CALL_END, CALL_BUFS, CALL_THREADS, CALL_TIMES, CALL_POOL = range(6)
CALL_STATE, CALL_STOP, CALL_CALLED, CALL_NEXT, CALL_CHUNK, CALL_BACKWARDS = range(6, 12)
CALL_COPIES, CALL_N_BUFS = range(12, 14)
CALL_WORDS = 14
ALONE, POOLED = 1, 2  # states: by the caller alone, with the pool's threads
MAX_ROUNDS = 16  # of a loop in one step: after them whoever is late gets a share, and the run may come back
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
NEXT, FIRST, END, BUFS, TIMES = range(STEP + 1, STEP + 6)  # TIMES: of the first row, 0 when not profiling
STEP_TIMES = STEP + 6  # the times of the open step
BUSY = 3 * LINE  # 1 while a caller owns the pool
SLEEPERS = BUSY + 1  # workers below LIMIT that are asleep
LIMIT = BUSY + 2  # members with a smaller index take part
OPEN_NEXT, SLEEP, PARTICIPATE = range(BUSY + 3, BUSY + 6)  # addresses of the native functions of these names
IS_OPENING = BUSY + 6  # 1 while no step is open because the caller came back before it opened the next
STOP = BUSY + 7  # 1: what is left of the run is passed over
CALLED_NOW = FINISHED + 1  # as CALL_CALLED: the caller is to leave
MUTEX = 4 * LINE  # pthread_mutex_t, 64 bytes at most (glibc 40, musl 40, macOS 64)
CONDITION = 5 * LINE  # pthread_cond_t, 64 bytes at most (48 everywhere)
# Rounds of a loop as one step, whose kernel is `rounds`: its row, then that of the loop's end, the number of the first
# round, how many there are, memory for a table of addresses for each member, and the words of `bufs`.
ROUNDS = 6 * LINE
LOOP_END, FIRST_ROUND, N_ROUNDS = range(ROUNDS + STEP_WORDS, ROUNDS + STEP_WORDS + 3)
COPIES, N_BUFS = range(7 * LINE, 7 * LINE + 2)
MEMBERS = 8 * LINE  # the member records
POOL_WORDS = MEMBERS + MAX_THREADS * MEMBER_WORDS

COUNT_BITS = 16
MAX_CHUNKS = (1 << COUNT_BITS) - 1
SERIAL_SHIFT = 2 * COUNT_BITS
MAX_SERIAL = (1 << 31) - 1  # a share is a signed word; after this comes 0
