"""The native runner: source of the two functions that execute a program. Compiled by numba, never run as Python.

One step is open at a time. Its chunks are claimed by compare-and-swap on CURSOR; whoever finishes the last of them
opens the next step, after running single-chunk steps on the way without any synchronisation. CURSOR carries a
serial number, so a thread that slept through steps or whole runs cannot claim by mistake and nobody ever has to wait
for it: before a claim succeeds it has read nothing but CURSOR, and afterwards the step cannot end without it.
"""

from __future__ import annotations

from typing import Any

from symc.codegen.cpu.atomics import (
    call_kernel, call_member, compare_exchange, exchange, fetch_add, libc, load, now_ns, pause, store, words)
from symc.codegen.cpu.runner_abi import (
    BUFS, BUSY, CALL_BUFS, CALL_END, CALL_POOL, CALL_STEPS, CALL_THREADS, CALL_TIMES, CALLER, CHUNK_BITS, CONDITION,
    CURSOR, DESC, END, FINISHED, FIRST, KERNEL, LIMIT, MAX_CHUNKS, MEMBER_INDEX, MEMBER_POOL, MUTEX, N_CHUNKS, NEXT,
    PARTICIPATE, PENDING, SLEEPERS, STEP, STEP_BYTES, TIMES, WORD)

_lock = libc("pthread_mutex_lock", 1)
_unlock = libc("pthread_mutex_unlock", 1)
_wait = libc("pthread_cond_wait", 2)
_wake_all = libc("pthread_cond_broadcast", 1)
_yield = libc("sched_yield", 0)

# How long to look for work: about 20 us by pausing (no loss on an idle machine), about 1 ms by yielding (other
# processes get the core: 39 ms against 47 to 60 for a spinning barrier beside one busy process), then sleep.
SPINS = 600
YIELDS = 2000


def run(call: Any) -> None:
    """Executes a call record: with the pool's threads when it is free, else alone (the results are the same)."""
    step = call[CALL_STEPS]
    end = call[CALL_END]
    bufs = call[CALL_BUFS]
    n_threads = call[CALL_THREADS]
    times = call[CALL_TIMES]
    pool = call[CALL_POOL]
    if n_threads > 1 and compare_exchange(pool + BUSY * WORD, 0, 1):
        shared = words(pool)
        if shared[LIMIT] != n_threads:
            _lock(pool + MUTEX * WORD)
            store(pool + LIMIT * WORD, n_threads)
            _wake_all(pool + CONDITION * WORD)
            _unlock(pool + MUTEX * WORD)
        shared[FIRST] = step
        shared[NEXT] = step
        shared[END] = end
        shared[BUFS] = bufs
        shared[TIMES] = times
        shared[FINISHED] = 0
        call_member(shared[PARTICIPATE], pool + CALLER * WORD)
        store(pool + BUSY * WORD, 0)
        return
    while step != end:
        row = words(step)
        n_chunks = row[N_CHUNKS]
        if times != 0:
            words(times)[0] = now_ns()
        for chunk in range(n_chunks):
            call_kernel(row[KERNEL], chunk, n_chunks, row[DESC], bufs)
        if times != 0:
            words(times)[1] = now_ns()
            times += 2 * WORD
        step += STEP_BYTES


def participate(member: Any) -> None:
    """One thread's part: the caller (member 0) opens the first step and returns when the run is complete; a worker
    serves one run after another until the process ends."""
    pool = member[MEMBER_POOL]
    index = member[MEMBER_INDEX]
    shared = words(pool)
    is_opener = index == 0
    n_idle = 0
    while True:
        if is_opener:  # all steps before NEXT are complete and no other thread looks beyond CURSOR
            is_opener = False
            step = shared[NEXT]
            end = shared[END]
            n_chunks = 0
            while step != end:
                row = words(step)
                n_chunks = row[N_CHUNKS]
                times = shared[TIMES]
                if times != 0:
                    times += (step - shared[FIRST]) * (2 * WORD) // STEP_BYTES
                    words(times)[0] = now_ns()
                if n_chunks > 1:
                    break
                if n_chunks == 1:
                    call_kernel(row[KERNEL], 0, 1, row[DESC], shared[BUFS])
                if times != 0:
                    words(times)[1] = now_ns()
                step += STEP_BYTES
            if step == end:
                store(pool + FINISHED * WORD, 1)
            else:
                shared[STEP] = step
                shared[NEXT] = step + STEP_BYTES
                store(pool + PENDING * WORD, n_chunks)
                serial = (load(pool + CURSOR * WORD) >> CHUNK_BITS) + 1
                exchange(pool + CURSOR * WORD, (serial << CHUNK_BITS) | n_chunks)
                # Either this sees the sleeper or the sleeper, which counts itself first, sees the new cursor.
                if load(pool + SLEEPERS * WORD) != 0:
                    _lock(pool + MUTEX * WORD)
                    _wake_all(pool + CONDITION * WORD)
                    _unlock(pool + MUTEX * WORD)
        if index == 0 and load(pool + FINISHED * WORD) != 0:
            return
        cursor = load(pool + CURSOR * WORD)
        n_unclaimed = cursor & MAX_CHUNKS
        # LIMIT was written before the cursor: if it is newer than the cursor we saw, the claim fails.
        if n_unclaimed != 0 and index < load(pool + LIMIT * WORD):
            if compare_exchange(pool + CURSOR * WORD, cursor, cursor - 1):
                row = words(shared[STEP])
                n_chunks = row[N_CHUNKS]
                call_kernel(row[KERNEL], n_chunks - n_unclaimed, n_chunks, row[DESC], shared[BUFS])
                is_opener = fetch_add(pool + PENDING * WORD, -1) == 1
                if is_opener and shared[TIMES] != 0:
                    words(shared[TIMES] + (shared[STEP] - shared[FIRST]) * (2 * WORD) // STEP_BYTES)[1] = now_ns()
            n_idle = 0
        elif n_idle < SPINS:
            n_idle += 1
            pause()
        elif n_idle < SPINS + YIELDS or index == 0:
            n_idle += 1
            _yield()
        else:
            _lock(pool + MUTEX * WORD)
            is_counted = index < load(pool + LIMIT * WORD)  # the others are woken only when LIMIT changes
            if is_counted:
                fetch_add(pool + SLEEPERS * WORD, 1)
            if not is_counted or load(pool + CURSOR * WORD) & MAX_CHUNKS == 0:
                _wait(pool + CONDITION * WORD, pool + MUTEX * WORD)
            if is_counted:
                fetch_add(pool + SLEEPERS * WORD, -1)
            _unlock(pool + MUTEX * WORD)
            n_idle = 0
