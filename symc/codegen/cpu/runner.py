"""The native runner: source of the functions that execute a program. Functions over words, never run as Python.

One step is open at a time. Its chunks are dealt out in equal runs, a member's share, always the same ones to the same
member: what a thread wrote in one step lies in its own cache when the next step reads it. A member claims its share
from the front by compare-and-swap and then takes from the back of the others'; whoever finishes the last chunk opens
the next step, after running single-chunk steps on the way without any synchronisation. Shares carry the serial number
of their step, so a thread that slept through steps or whole runs cannot claim by mistake and nobody ever has to wait
for it: before a claim succeeds it has read nothing else of the step, and afterwards the step cannot end without it.

Loops are rows between the steps. Whoever opens the next step takes the turns on the way, when all steps before are
complete; what moves from round to round are words of `bufs`, so that steps and their descriptors never change. At a
call-back the run comes back to Python, which calls and then has it go on.

A loop may fall into bands (`runtime/bands.py`). Members, if there are at most as many, keep to some of them for many
rounds, which are one step of a chunk for each: nobody waits at the end of a round. Profiled runs do not.
"""

# mypy: ignore-errors
# (what follows is typed by `lowering`: the functions' arguments point to int64, addresses in words are int64)
from __future__ import annotations

from typing import Any

from . import runner_abi as abi
from .atomics import (
    address_of,
    call_function,
    call_kernel,
    compare_exchange,
    exchange,
    fetch_add,
    libc,
    load,
    now_ns,
    pause,
    recently_ns,
    store,
    words,
)
from .lowering import Inner

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
    """Executes a call record: with the pool's threads when it is free, else alone (the results are the same).

    Comes back after SLICE_NS at the latest, or when the chunk that runs then is done. While STATE is not 0 the run is
    unfinished: calling again goes on with it, or with STOP set gives it up, when nobody works on it any more.
    """
    pool = call[abi.CALL_POOL]
    if call[abi.CALL_STATE] == 0:
        start(call, pool)
    until = recently_ns() + abi.SLICE_NS
    if call[abi.CALL_STATE] == abi.ALONE:
        run_alone(call, until)
        return
    member = words(pool + abi.MEMBERS * abi.WORD)
    member[abi.MEMBER_UNTIL] = until
    if call[abi.CALL_STOP] != 0:
        member[abi.MEMBER_UNTIL] = 0
        store(pool, abi.STOP, 1)
    if words(pool)[abi.IS_OPENING] != 0:
        words(pool)[abi.IS_OPENING] = 0
        call_function(words(pool)[abi.OPEN_NEXT], address_of(member))
    call_function(words(pool)[abi.PARTICIPATE], address_of(member))
    if load(pool, abi.CALLED_NOW) != 0:
        call[abi.CALL_CALLED] = load(pool, abi.CALLED_NOW)
        store(pool, abi.CALLED_NOW, 0)
    if load(pool, abi.FINISHED) != 0:
        store(pool, abi.STOP, 0)
        store(pool, abi.BUSY, 0)
        call[abi.CALL_STATE] = 0


@Inner
def start(call: Any, pool: Any) -> None:
    """Puts a run at its first step: in the pool if that is free and wanted."""
    n_threads = call[abi.CALL_THREADS]
    if n_threads > 1 and compare_exchange(pool, abi.BUSY, 0, 1):
        call[abi.CALL_STATE] = abi.POOLED
        shared = words(pool)
        if shared[abi.LIMIT] != n_threads:
            _lock(pool + abi.MUTEX * abi.WORD)
            store(pool, abi.LIMIT, n_threads)
            _wake_all(pool + abi.CONDITION * abi.WORD)
            _unlock(pool + abi.MUTEX * abi.WORD)
        shared[abi.NEXT] = shared[abi.FIRST] = call[abi.CALL_STEPS]
        shared[abi.END] = call[abi.CALL_END]
        shared[abi.BUFS] = call[abi.CALL_BUFS]
        shared[abi.TIMES] = call[abi.CALL_TIMES]
        shared[abi.COPIES] = call[abi.CALL_COPIES]
        shared[abi.N_BUFS] = call[abi.CALL_N_BUFS]
        shared[abi.CALLED_NOW] = 0
        shared[abi.FINISHED] = 0
        shared[abi.IS_OPENING] = 1
        return
    call[abi.CALL_STATE] = abi.ALONE
    call[abi.CALL_NEXT] = call[abi.CALL_STEPS]
    call[abi.CALL_CHUNK] = 0
    call[abi.CALL_BACKWARDS] = 0


@Inner
def turn(step: Any, bufs: Any) -> Any:
    """Begins a loop, or goes round once more, or leaves it; the row that comes next."""
    is_begin = words(step)[abi.KIND] == abi.IS_LOOP
    first = step if is_begin else step - words(step)[abi.BACK] * abi.STEP_BYTES
    loop, at = words(first), words(bufs)
    counter = loop[abi.COUNTER]
    at[counter] = 0 if is_begin else at[counter] + 1
    body = first + 2 * abi.STEP_BYTES
    for _ in range(loop[abi.N_MOVING]):
        moving = words(body)
        n_rounds = at[counter]
        if moving[abi.PERIOD] != 0:
            n_rounds %= moving[abi.PERIOD]
        at[moving[abi.MOVED]] = at[moving[abi.BASE]] + n_rounds * moving[abi.STRIDE]
        body += abi.STEP_BYTES
    if at[counter] < loop[abi.COUNT]:
        mask = loop[abi.MASK]
        if mask == 0 or words(at[loop[abi.FLAG]] + loop[abi.FLAG_OFFSET])[0] & mask != 0:
            return body
    return body + (loop[abi.N_ROWS] + 1) * abi.STEP_BYTES


@Inner
def loop_end(step: Any) -> Any:
    """The last row of a loop, given that or the first."""
    first = step if words(step)[abi.KIND] == abi.IS_LOOP else step - words(step)[abi.BACK] * abi.STEP_BYTES
    loop = words(first)
    return first + (2 + loop[abi.N_MOVING] + loop[abi.N_ROWS]) * abi.STEP_BYTES


@Inner
def as_one_step(pool: Any, end: Any) -> Any:
    """The row of a step that does what is left of a loop, or many rounds: each member those of its own bands.

    Leaves the loop in the last of them, from whose end the run goes on.
    """
    shared = words(pool)
    loop = words(end - words(end)[abi.BACK] * abi.STEP_BYTES)
    counters = words(shared[abi.BUFS])
    n_done = counters[loop[abi.COUNTER]]
    n_rounds = min(loop[abi.COUNT] - n_done, abi.MAX_ROUNDS)
    counters[loop[abi.COUNTER]] = n_done + n_rounds - 1
    shared[abi.LOOP_END] = end
    shared[abi.FIRST_ROUND] = n_done
    shared[abi.N_ROUNDS] = n_rounds
    row = words(pool + abi.ROUNDS * abi.WORD)
    row[abi.DESC] = pool
    row[abi.N_CHUNKS] = shared[abi.LIMIT]
    return address_of(row)


def rounds(chunk: Any, n_chunks: Any, desc: Any, bufs: Any) -> None:
    """A kernel whose descriptor is the pool: rounds of a loop for the bands that belong to `chunk`.

    Others may be in other rounds meanwhile, so it moves addresses in a table of its own. Every round changes the way
    through the chunks of its steps, as in `run_alone`.
    """
    end = desc[abi.LOOP_END]
    n_bands = words(end)[abi.BANDS]
    first = end - words(end)[abi.BACK] * abi.STEP_BYTES
    loop = words(first)
    n_words = desc[abi.N_BUFS]
    own = desc[abi.COPIES] + chunk * (n_words + 2 * abi.LINE) * abi.WORD
    for k in range(n_words):
        words(own)[k] = bufs[k]
    words(own)[loop[abi.COUNTER]] = desc[abi.FIRST_ROUND]
    for number in range(desc[abi.N_ROUNDS]):
        step = first + (2 + loop[abi.N_MOVING]) * abi.STEP_BYTES
        while step != end:
            row = words(step)
            n_groups = row[abi.N_CHUNKS] // n_bands
            for k in range(n_groups):
                group = n_groups - 1 - k if number % 2 else k
                for band in range(chunk * n_bands // n_chunks, (chunk + 1) * n_bands // n_chunks):
                    call_kernel(row[abi.KERNEL], group * n_bands + band, row[abi.N_CHUNKS], row[abi.DESC], own)
            step += abi.STEP_BYTES
        turn(end, own)


@Inner
def begin_time(times: Any, step: Any, first: Any) -> Any:
    """Where the times of a step are, 0 when not profiling; notes its begin. With its end noted, they lie as far apart
    as all its runs took."""
    if times == 0:
        return times
    place = times + (step - first) // abi.STEP_BYTES * abi.TIMES_BYTES
    now = now_ns()
    if words(place)[0] == 0:
        words(place)[0] = now
        words(place)[1] = now
    words(place)[1] -= now
    return place


@Inner
def end_time(place: Any) -> None:
    """Notes a step's end."""
    if place != 0:
        words(place)[1] += now_ns()


@Inner
def run_alone(call: Any, until: Any) -> None:
    """Goes on with a run that has no pool, at its next chunk.

    Every turn of a loop changes the way through the chunks, from the first or from the last: what the round before
    read last, of weights as large as the cache, is still there.
    """
    step = call[abi.CALL_NEXT]
    end = call[abi.CALL_END]
    chunk = call[abi.CALL_CHUNK]
    while step != end and call[abi.CALL_STOP] == 0:
        row = words(step)
        kind = row[abi.KIND]
        if recently_ns() > until or kind == abi.IS_CALL:
            call[abi.CALL_CALLED] = row[abi.CALLED] + 1 if kind == abi.IS_CALL else 0
            call[abi.CALL_NEXT] = step + abi.STEP_BYTES if kind == abi.IS_CALL else step
            call[abi.CALL_CHUNK] = chunk
            return
        if kind != abi.IS_KERNEL:
            step = turn(step, call[abi.CALL_BUFS])
            call[abi.CALL_BACKWARDS] ^= 1
            continue
        n_chunks = row[abi.N_CHUNKS]
        is_backwards = call[abi.CALL_BACKWARDS] != 0
        times = begin_time(call[abi.CALL_TIMES], step, call[abi.CALL_STEPS])
        while chunk < n_chunks:
            number = n_chunks - 1 - chunk if is_backwards else chunk
            call_kernel(row[abi.KERNEL], number, n_chunks, row[abi.DESC], call[abi.CALL_BUFS])
            chunk += 1
            if chunk < n_chunks and recently_ns() > until:
                end_time(times)
                call[abi.CALL_NEXT] = step
                call[abi.CALL_CHUNK] = chunk
                return
        end_time(times)
        step += abi.STEP_BYTES
        chunk = 0
    call[abi.CALL_STATE] = 0


def participate(member: Any) -> None:
    """One thread's part: the caller (member 0) returns when the run is complete or its time is up; a worker serves one
    run after another until the process ends."""
    pool = member[abi.MEMBER_POOL]
    index = member[abi.MEMBER_INDEX]
    until = member[abi.MEMBER_UNTIL] if index == 0 else 0
    n_idle = 0
    while index != 0 or (load(pool, abi.FINISHED) == 0 and load(pool, abi.CALLED_NOW) == 0):
        if until != 0 and recently_ns() > until:
            member[abi.MEMBER_SEEN] = -1  # the open step may have chunks for it yet
            return
        serial = load(pool, abi.SERIAL)
        n_done = 0
        if serial != member[abi.MEMBER_SEEN]:
            member[abi.MEMBER_SEEN] = serial
            n_done = work(pool, index, serial, until)
        if n_done != 0:
            n_idle = 0
            if fetch_add(pool, abi.PENDING, -n_done) == n_done:
                end_time(words(pool)[abi.STEP_TIMES])
                call_function(words(pool)[abi.OPEN_NEXT], address_of(member))
        elif n_idle < SPINS:
            n_idle += 1
            pause()
        elif n_idle < SPINS + YIELDS or index == 0:
            n_idle += 1
            _yield()
        else:
            n_idle = 0
            call_function(words(pool)[abi.SLEEP], address_of(member))


@Inner
def work(pool: Any, index: Any, serial: Any, until: Any) -> Any:
    """Claims and runs chunks of step `serial`, first the member's own, until nobody has any left or (unless it is 0)
    the time `until` has come; how many."""
    shared = words(pool)
    n_members = load(pool, abi.LIMIT)
    n_done = 0
    turn = 0  # whose share: the own one, then the next member's
    while turn < n_members:
        member = index + turn
        if member >= n_members:
            member -= n_members
        place = abi.MEMBERS + member * abi.MEMBER_WORDS + abi.MEMBER_SHARE
        share = load(pool, place)
        first = (share >> abi.COUNT_BITS) & abi.MAX_CHUNKS
        end = share & abi.MAX_CHUNKS
        # LIMIT was written before the shares: if it is newer than the share we saw, the claim fails.
        if share >> abi.SERIAL_SHIFT != serial or first >= end or index >= load(pool, abi.LIMIT):
            turn += 1
            continue
        chunk, rest = (first, share + (1 << abi.COUNT_BITS)) if turn == 0 else (end - 1, share - 1)
        if compare_exchange(pool, place, share, rest):
            row = words(shared[abi.STEP])
            if load(pool, abi.STOP) == 0:
                call_kernel(row[abi.KERNEL], chunk, row[abi.N_CHUNKS], row[abi.DESC], shared[abi.BUFS])
            n_done += 1
            if until != 0 and recently_ns() > until:
                break
    return n_done


def open_next(member: Any) -> None:
    """Opens the next step that several threads can share, running those before it; at the end, finishes the run.

    Called when all steps before NEXT are complete, by one thread; the others claim nothing before SERIAL changes. The
    caller may run out of time before a step is open, or have to leave for a call-back: then it is the one to open the
    next step when it is back.
    """
    address = member[abi.MEMBER_POOL]
    until = member[abi.MEMBER_UNTIL] if member[abi.MEMBER_INDEX] == 0 else 0
    pool = words(address)
    step = pool[abi.NEXT]
    while step != pool[abi.END] and load(address, abi.STOP) == 0:
        if until != 0 and recently_ns() > until:
            pool[abi.NEXT] = step
            pool[abi.IS_OPENING] = 1
            return
        row = words(step)
        if row[abi.KIND] == abi.IS_CALL:
            pool[abi.NEXT] = step + abi.STEP_BYTES
            pool[abi.IS_OPENING] = 1
            store(address, abi.CALLED_NOW, row[abi.CALLED] + 1)
            return
        after = step + abi.STEP_BYTES
        if row[abi.KIND] != abi.IS_KERNEL:
            after = loop_end(step)
            step = turn(step, pool[abi.BUFS])
            if step > after or pool[abi.TIMES] != 0 or not 1 < pool[abi.LIMIT] <= words(after)[abi.BANDS]:
                continue
            step = as_one_step(address, after)
            row = words(step)
        n_chunks = row[abi.N_CHUNKS]
        times = begin_time(pool[abi.TIMES], step, pool[abi.FIRST])
        pool[abi.STEP] = step
        pool[abi.STEP_TIMES] = times
        step = after
        if n_chunks > 1:
            pool[abi.NEXT] = step
            store(address, abi.PENDING, n_chunks)
            serial = (load(address, abi.SERIAL) + 1) & abi.MAX_SERIAL
            n_members = pool[abi.LIMIT]
            first = 0
            for place in range(n_members):
                end = n_chunks * (place + 1) // n_members
                share = (serial << abi.SERIAL_SHIFT) | (first << abi.COUNT_BITS) | end
                store(address, abi.MEMBERS + place * abi.MEMBER_WORDS + abi.MEMBER_SHARE, share)
                first = end
            exchange(address, abi.SERIAL, serial)
            # Either this sees the sleeper or the sleeper, which counts itself first, sees the new serial number.
            if load(address, abi.SLEEPERS) != 0:
                _lock(address + abi.MUTEX * abi.WORD)
                _wake_all(address + abi.CONDITION * abi.WORD)
                _unlock(address + abi.MUTEX * abi.WORD)
            return
        if n_chunks == 1:
            call_kernel(row[abi.KERNEL], 0, 1, row[abi.DESC], pool[abi.BUFS])
        end_time(times)
    store(address, abi.FINISHED, 1)


def sleep(member: Any) -> None:
    """Lets a worker sleep until a step is opened or LIMIT changes; returns at once if one was opened meanwhile."""
    pool = member[abi.MEMBER_POOL]
    _lock(pool + abi.MUTEX * abi.WORD)
    is_counted = member[abi.MEMBER_INDEX] < load(pool, abi.LIMIT)  # the others are woken only when LIMIT changes
    if is_counted:
        fetch_add(pool, abi.SLEEPERS, 1)
    if not is_counted or load(pool, abi.SERIAL) == member[abi.MEMBER_SEEN]:
        _wait(pool + abi.CONDITION * abi.WORD, pool + abi.MUTEX * abi.WORD)
    if is_counted:
        fetch_add(pool, abi.SLEEPERS, -1)
    _unlock(pool + abi.MUTEX * abi.WORD)
