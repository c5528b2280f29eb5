"""Single flight: get_or_compute(), and who computes what for whom; part of concurrent_map.pyx.

A *call* is one get_or_compute() that did not find its key. A *flight* is the computation for one key: it is in a table
of its map's from the first call that wants it until it is over. One of its calls has the *turn*, and runs its factory;
the others wait in the flight's queue. A call that succeeds publishes its value and lands: all who wait get the value,
and the flight leaves the table. One that does not passes the turn on, as a release passes a lock on.

What changes hands does so under one latch, that of the flights of all maps: who waits for whom is a question about all
of them, and whoever asks it is about to sleep, which costs more and takes a latch of the whole process anyway.

F1  A flight that is not over has one call with the turn; one that is over has none and nobody in its queue.
F2  A call waits for its own flight only, and for none in which it has the turn.
F3  `_stopped_by`, of a call with a turn, is a linked waiter whose end must come before that call goes on: it is of the
    same owner, inside the factory; or of the thread whose event loop that owner is a task of. From a flight to its
    turn, from there to the waiter and on to the flight that this waits for, the way ends: it is followed before a
    waiter is linked, and would it lead back to the waiter's owner, that is WouldDeadlock.

Of two threads or tasks that close a cycle at once the second sees it, because both link and look in one section.
"""
from cpython.ref cimport Py_INCREF

from ferrule._core.awaitable cimport dispose, is_awaitable, is_coroutine
from ferrule._core.coroutine cimport new_coroutine
from ferrule._core.owned cimport swap
from ferrule._core.parking cimport (
    Continue,
    Node,
    claims_of,
    copy_claims,
    generation,
    loop_of_task,
    must_act,
    owner_context,
)
from ferrule._core.sealed cimport PyTypeObject, replace_new

cdef enum:
    STUCK = 32          # outcomes of _wait_locked(): the wait could only end by an act of the waiter
    GONE                # the flight is over: look for the value again
    GROUPS = 64         # of calls with a turn, by their owner
    WATCH = 60          # seconds after which a loop's timer sees whether there is anything left to watch

cdef enum Stage:
    ALOFT               # the call that has the turn runs its factory
    LANDING             # it publishes the value: who begins to wait now looks for that in the map afterwards
    OVER                # for ever

cdef Latch _flight_latch
cdef PyObject* _turns[GROUPS]       # under it: lists of the calls that have a turn
cdef uint64_t _survivor = 0         # the thread that called the last fork(); written in the child, which has one thread


@cython.final
@cython.no_gc_clear     # a cycle through it passes the coroutine that waits, or the map
cdef class _Flight:
    cdef object _key                # constant, as the next: as the first call gave it
    cdef uint64_t _hash
    cdef WaitQueue _queue           # under the latch, as the next
    cdef Stage _stage
    cdef PyObject* _turn            # the call that has it, a reference; NULL once it is over
    cdef uint64_t _generation       # of the process in which that call got it
    cdef PyObject* _value           # a reference, once it has landed; set once

    def __dealloc__(self):
        drop(self._turn)            # of one that never was in the table
        drop(self._value)


@cython.final
@cython.no_gc_clear     # it may be in a queue; a cycle through it passes the coroutine that waits, or the map
cdef class _Call:
    cdef _Sharded _map              # constant, as the next two
    cdef object _key
    cdef object _factory
    cdef uint64_t _hash             # of the key; from the first step on, as the next two
    cdef Shard* _shard
    cdef uint64_t _thread           # the owner's; from before it begins or finds a flight, as the next two
    cdef PyObject* _context         # of a task; NULL for a thread
    cdef object _keeps              # the same, kept alive
    cdef object _value              # by who runs the call: what it gives, or MISSING
    cdef _Flight _flight            # the same, in a critical section; stays while the call waits or has a turn
    cdef bint _late                 # under the latch, as the next: it began to wait while the flight was LANDING
    cdef PyObject* _next            # in its list of _turns
    cdef PyObject* _prev
    cdef Waiter* _stopped_by        # see F3


# --- under the latch -------------------------------------------------------------------------------------------------

cdef inline PyObject** _group_of(uint64_t thread, PyObject* context) noexcept nogil:
    return &_turns[(thread ^ <uintptr_t>context >> 4) * <uint64_t>0x9E3779B97F4A7C15 >> 58]


cdef void _begin_turn(PyObject* call) noexcept nogil:
    """The call is among those that have a turn."""
    cdef PyObject** first = _group_of((<_Call>call)._thread, (<_Call>call)._context)
    (<_Call>call)._prev = NULL
    (<_Call>call)._next = first[0]
    if first[0] != NULL:
        (<_Call>first[0])._prev = call
    first[0] = call


cdef PyObject* _end_turn(_Flight flight) noexcept nogil:
    """Takes the turn from the call that has it; the flight's reference to that call."""
    cdef PyObject* call = flight._turn
    cdef PyObject* before = (<_Call>call)._prev
    cdef PyObject* following = (<_Call>call)._next
    if before != NULL:
        (<_Call>before)._next = following
    else:
        _group_of((<_Call>call)._thread, (<_Call>call)._context)[0] = following
    if following != NULL:
        (<_Call>following)._prev = before
    (<_Call>call)._stopped_by = NULL
    flight._turn = NULL
    return call


cdef void _give_turn(_Flight flight, PyObject* call) noexcept nogil:
    flight._stage = ALOFT
    flight._turn = take(call)
    flight._generation = generation
    _begin_turn(call)


cdef bint _mark_stopped(Waiter* waiter, Waiter* before, Waiter* after) noexcept nogil:
    """Sets `_stopped_by`, where it is `before`, of the calls that cannot go on while the waiter waits; if there are.

    A task stops calls of its own; a thread, which may run a loop, those of all tasks in it as well.
    """
    cdef bint found = False
    cdef Py_ssize_t index
    cdef Py_ssize_t end = GROUPS
    cdef PyObject** groups = _turns
    cdef PyObject* call
    if waiter.context != NULL:
        groups = _group_of(waiter.thread, waiter.context)
        end = 1
    for index in range(end):
        call = groups[index]
        while call != NULL:
            if (<_Call>call)._stopped_by == before and must_act(waiter, (<_Call>call)._thread, (<_Call>call)._context):
                (<_Call>call)._stopped_by = after
                found = True
            call = (<_Call>call)._next
    return found


cdef inline void _end_wait(Waiter* waiter) noexcept nogil:
    """The waiter leaves its queue, now."""
    if waiter.token != 0:
        waiter.token = 0
        _mark_stopped(waiter, waiter, NULL)


cdef bint _leads_back(Waiter* waiter, _Flight flight) noexcept nogil:
    """Whether the flight can only land after an act of the waiter."""
    cdef PyObject* call = flight._turn
    while not must_act(waiter, (<_Call>call)._thread, (<_Call>call)._context):
        if (<_Call>call)._stopped_by == NULL:
            return False
        call = (<_Flight><PyObject*>(<_Call>(<_Call>call)._stopped_by.item)._flight)._turn
    return True


cdef int _wait_locked(_Flight flight, Waiter* waiter, Place place, PyObject** dropped) noexcept nogil:
    """Links the waiter, unless place is TRY. DONE: it has the turn, and the caller drops the one who had it."""
    cdef int outcome = BUSY
    _flight_latch.lock()
    if flight._stage == OVER:
        outcome = GONE
    elif flight._generation != generation and (<_Call>flight._turn)._thread != _survivor:
        # The child of a fork(): the thread that had the turn is not in it.
        dropped[0] = _end_turn(flight)
        refresh(&flight._queue)
        _give_turn(flight, waiter.item)
        outcome = DONE
    else:
        refresh(&flight._queue)
        if place == TRY:
            if waiter.timeout != 0 and must_act(
                waiter, (<_Call>flight._turn)._thread, (<_Call>flight._turn)._context
            ):
                outcome = STUCK
        elif _leads_back(waiter, flight):
            outcome = STUCK
        else:
            (<_Call>waiter.item)._late = flight._stage == LANDING
            waiter.token = _mark_stopped(waiter, NULL, waiter)
            link(&flight._queue, &waiter.node, place)
            outcome = LINKED
    _flight_latch.unlock()
    return outcome


cdef bint _abandon_flight_locked(Waiter* waiter) noexcept nogil:
    cdef bint gave_up
    _flight_latch.lock()
    if waiter.node.queue != NULL:
        refresh(waiter.node.queue)
    gave_up = give_up(waiter)
    if gave_up:
        _end_wait(waiter)
    _flight_latch.unlock()
    return gave_up


cdef void _begin_turn_locked(PyObject* call) noexcept nogil:
    _flight_latch.lock()
    _begin_turn(call)
    _flight_latch.unlock()


cdef void _begin_landing_locked(_Flight flight, PyObject* call) noexcept nogil:
    _flight_latch.lock()
    if flight._turn == call:
        flight._stage = LANDING
    _flight_latch.unlock()


cdef PyObject* _land_locked(_Flight flight, PyObject* call, PyObject* value, WakeList* woken) noexcept nogil:
    """Gives the value to all who wait; the reference to a call that the caller drops, or NULL: it had no turn."""
    cdef PyObject* dropped = NULL
    cdef Node* node
    _flight_latch.lock()
    if flight._turn == call:
        dropped = _end_turn(flight)
        flight._stage = OVER
        flight._value = take(value)
        refresh(&flight._queue)
        while flight._queue.head != NULL:
            node = flight._queue.head
            _end_wait(node.waiter)
            claim(node, CLAIMED if (<_Call>node.waiter.item)._late else HANDED, woken)
    _flight_latch.unlock()
    return dropped


cdef PyObject* _pass_turn_locked(_Flight flight, PyObject* call, bint* over, WakeList* woken) noexcept nogil:
    """Gives the turn to the first who waits; the reference to a call that the caller drops, or NULL: it had no turn."""
    cdef PyObject* dropped = NULL
    cdef Node* node
    _flight_latch.lock()
    if flight._turn == call:
        dropped = _end_turn(flight)
        refresh(&flight._queue)
        node = flight._queue.head
        if node != NULL:
            _end_wait(node.waiter)
            _give_turn(flight, node.waiter.item)
            claim(node, HANDED, woken)      # one queue only, so nobody else can have claimed it
        else:
            flight._stage = OVER
            over[0] = True
    _flight_latch.unlock()
    return dropped


cdef PyObject* _value_locked(_Flight flight, PyObject* call) noexcept nogil:
    """A new reference to what the flight has landed with; NULL: the call has the turn."""
    cdef PyObject* value = NULL
    _flight_latch.lock()
    if flight._turn != call and flight._value != NULL:
        value = take(flight._value)
    _flight_latch.unlock()
    return value


cdef uint64_t _turn_locked(_Flight flight, PyObject** context) noexcept nogil:
    """The thread whose turn it is, and a new reference to its context if that is a task's; 0: it is over."""
    cdef uint64_t thread = 0
    _flight_latch.lock()
    if flight._turn != NULL:
        thread = (<_Call>flight._turn)._thread
        if (<_Call>flight._turn)._context != NULL:
            context[0] = take((<_Call>flight._turn)._context)
    _flight_latch.unlock()
    return thread


# --- the table of flights --------------------------------------------------------------------------------------------

cdef ConcurrentMap _flights_of(_Sharded map):
    """The map's flights by key, in as many shards as the map has, so that a hash has the same place in both."""
    cdef object flights
    cdef object made
    with cython.critical_section(map):
        flights = map._flights
    if flights is None:
        made = ConcurrentMap.__new__(ConcurrentMap, shards=1 << map._bits)
        with cython.critical_section(map):
            if map._flights is None:
                map._flights = made
            flights = map._flights
    return flights


cdef inline Shard* _beside(_Call call, ConcurrentMap flights) noexcept:
    return <Shard*>(flights._shards + (<char*>call._shard - call._map._shards))


cdef inline void _aim_at(Probe* probe, object key, uint64_t hash) noexcept:
    """Prepares a look for a key whose hash is known."""
    probe.key = <PyObject*>key
    probe.kind = kind_of(probe.key)
    probe.hash = hash
    probe.thread = owner_thread()
    probe.asked = probe.candidate = NULL
    probe.restarts = 0


cdef bint _board(_Call call) except -1:
    """Finds the flight of the call's key, or begins one; True: it has begun one, so the turn is its."""
    cdef ConcurrentMap flights = _flights_of(call._map)
    cdef _Flight flight = _Flight.__new__(_Flight)
    cdef Probe probe
    cdef Change change
    cdef bint begun
    flight._key = call._key
    flight._hash = call._hash
    flight._queue.generation = flight._generation = generation
    flight._turn = take(<PyObject*>call)
    _aim_at(&probe, call._key, call._hash)
    change.entry = change.old = NULL
    change.value = <PyObject*>flight
    begun = _change(flights, _beside(call, flights), &probe, &change, ADD) == ABSENT
    if begun:
        _begin_turn_locked(<PyObject*>call)
    else:
        flight = move(change.old)
    _set_flight(call, flight)
    return begun


cdef void _set_flight(_Call call, _Flight flight) noexcept:
    with cython.critical_section(call):
        call._flight = flight


cdef bint _take_out_locked(Shard* shard, _Flight flight) noexcept nogil:
    """Takes the flight out of its table, where it still is: found without comparing keys."""
    cdef Slot* slot
    cdef Table* table
    shard.latch.lock()
    slot = find_same(&shard.tables, flight._hash, <PyObject*>flight._key)
    if slot != NULL and slot.value != <PyObject*>flight:
        slot = NULL
    if slot != NULL:
        table = table_of(&shard.tables, flight._hash)
        remove_slot(&shard.tables, table, slot - table.slots, 0)
    shard.latch.unlock()
    return slot != NULL


cdef void _take_out(_Call call) noexcept:
    cdef _Flight flight = call._flight
    cdef object flights = call._map._flights
    if flights is not None and _take_out_locked(_beside(call, flights), flight):     # None: the collector was there
        drop(<PyObject*>flight._key)
        drop(<PyObject*>flight)


# --- a call ----------------------------------------------------------------------------------------------------------

cdef inline _Call _new_call(_Sharded map, object key, object factory):
    cdef _Call call = _Call.__new__(_Call)
    call._map = map
    call._key = key
    call._factory = factory
    call._value = _MISSING
    return call


cdef bint _find(_Call call) except -1:
    """Whether the map has the key; then the call has its value."""
    cdef Probe probe
    cdef PyObject* value
    if call._shard == NULL:
        call._shard = _aim(call._map, &probe, call._key)
        call._hash = probe.hash
    else:
        _aim_at(&probe, call._key, call._hash)
    value = _get(call._shard, &probe)
    if value == NULL:
        return False
    call._value = move(value)
    return True


cdef bint _take_off(_Call call) except -1:
    """True: the call has the turn, or its value. False: it has to wait for its flight."""
    cdef bint looked = False
    if not _board(call):
        return False
    try:
        found = _find(call)     # it may have been published since the last look, by a flight that is over
        looked = True
    finally:
        if not looked:
            _pass_turn(call)
    if found:
        _land(call)
    return True


cdef bint _has_turn(_Call call) noexcept:
    """Whether a call that waits no more is to run its factory; if not it has its value."""
    cdef PyObject* value
    if call._value is not _MISSING:
        return False
    value = _value_locked(call._flight, <PyObject*>call)
    if value == NULL:
        return True
    call._value = move(value)
    return False


cdef void _land(_Call call) noexcept:
    """The end of a turn: the value that the call has is in the map, and goes to all who wait for it."""
    cdef WakeList woken
    cdef PyObject* dropped
    woken.head = woken.tail = NULL
    dropped = _land_locked(call._flight, <PyObject*>call, <PyObject*>call._value, &woken)
    wake(&woken)
    if dropped != NULL:
        _take_out(call)
        drop(dropped)


cdef void _pass_turn(_Call call) noexcept:
    """The end of a turn without a value. Nothing happens if it has ended. Keeps the exception that is set."""
    cdef WakeList woken
    cdef KeepRaised keep
    keep.set_aside()
    woken.head = woken.tail = NULL
    _pass_turn_to(call, &woken)
    wake(&woken)


cdef void _pass_turn_to(_Call call, WakeList* woken) noexcept:
    cdef bint over = False
    cdef PyObject* dropped = _pass_turn_locked(call._flight, <PyObject*>call, &over, woken)
    if over:
        _take_out(call)
    drop(dropped)


cdef bint _publish_at_once(_Call call, object value) except -1:
    """Puts the value in if the key is absent, and gives the call the value that is there; False: an entry holds it."""
    cdef Probe probe
    cdef Change change
    _aim_at(&probe, call._key, call._hash)
    change.value = <PyObject*>value
    if _change_at_once(call._shard, &probe, &change, ADD) == ENTERED:
        return False
    call._value = move(change.old) if change.old != NULL else value
    return True


cdef int _change_at_once(Shard* shard, Probe* probe, Change* change, How how) except -1:
    """_change(), with ENTERED where that would wait."""
    cdef int outcome = ASK
    change.entry = change.old = change.old_key = NULL
    probe.thread = owner_thread()
    try:
        while outcome == ASK:
            if probe.candidate != NULL:
                _compare(probe)
            outcome = _change_locked(shard, probe, change, how)
    finally:
        _forget(probe)
    if outcome == NO_MEMORY:
        raise MemoryError
    return outcome


cdef int _check_computed(object value) except -1:
    """For the sync face, which cannot await."""
    if is_awaitable(value) and is_coroutine(value):
        dispose(value)
        raise TypeError("the factory gave a coroutine: get_or_compute() of the async face awaits one")
    return _check_value(value)


cdef object _compute_once(_Sharded map, object key, Shard* shard, uint64_t hash, object factory, int64_t timeout):
    """get_or_compute() where the key was absent."""
    cdef _Call call = _new_call(map, key, factory)
    cdef Probe probe
    cdef Change change
    call._shard = shard
    call._hash = hash
    call._thread = owner_thread()
    if not _take_off(call):
        wait_in_thread(&GET_OR_COMPUTE, map, <PyObject*>call, 0, timeout)
    if not _has_turn(call):
        return call._value
    try:
        value = factory()
        _check_computed(value)
        _begin_landing_locked(call._flight, <PyObject*>call)
        _aim_at(&probe, key, hash)
        change.entry = change.old = NULL
        change.value = <PyObject*>value
        _change(map, shard, &probe, &change, ADD)       # waits while an entry holds the key
        call._value = move(change.old) if change.old != NULL else value
    finally:        # not `except`, which is passed over where there is no memory to make its exception
        if call._value is _MISSING:
            _pass_turn(call)
    _land(call)
    return call._value


cdef dict _flights_now(_Sharded map):
    """The keys in flight, and who waits for each: for tests."""
    if map._flights is None:
        return {}
    (<_Sharded>map._flights)._check()
    return {key: claims_of(flight, _copy_claims_locked) for key, flight in _to_dict(map._flights).items()}


cdef Py_ssize_t _copy_claims_locked(PyObject* flight, int* found, Py_ssize_t room) noexcept nogil:
    cdef Py_ssize_t count
    _flight_latch.lock()
    refresh(&(<_Flight>flight)._queue)
    count = copy_claims(&(<_Flight>flight)._queue, found, room)
    _flight_latch.unlock()
    return count


# --- closed loops ----------------------------------------------------------------------------------------------------
#
# A task that is suspended in its factory when its loop is closed never goes on. Nobody tells it; but a loop that is
# closed forgets its timers, and one that dies uncalled tells.

@cython.final
cdef class _Ground:
    """The calls for which tasks of one event loop await a factory."""
    cdef object loop
    cdef set calls
    cdef bint watches           # the loop's thread's: there is a timer

    cdef int enter(self, _Call call) except -1:
        if not self.watches:
            self.watch()
        self.calls.add(call)
        return 0

    cdef int watch(self) except -1:
        cdef _Watch watch = _Watch.__new__(_Watch)
        watch.ground = self
        self.loop.call_later(WATCH, watch)
        self.watches = True
        return 0


@cython.final
@cython.no_gc_clear     # __dealloc__ needs the ground; every cycle through it passes the loop, which can be cleared
cdef class _Watch:
    """What the timer calls, again and again for as long as there is anything to watch."""
    cdef _Ground ground
    cdef bint called

    def __call__(self):
        self.called = True
        self.ground.watches = False
        if self.ground.calls:
            self.ground.watch()

    def __dealloc__(self):
        if not self.called and self.ground is not None:
            _desert(self.ground)


cdef void _desert(_Ground ground) noexcept:
    """The loop is closed: its calls pass their turns on."""
    cdef KeepRaised keep
    cdef Apart apart
    keep.set_aside()
    apart.begin(apart_depth())
    try:
        for call in list(ground.calls):
            _pass_turn(call)
    except BaseException as error:      # there is no memory for it
        set_raised(error)
        PyErr_WriteUnraisable(None)


cdef _Ground _ground_of(object loop):
    """Made at its first use and kept as an attribute of the loop."""
    cdef object ground = getattr(loop, "_ferrule_ground", None)
    cdef _Ground made
    if ground is None:
        made = _Ground.__new__(_Ground)
        made.loop = loop
        made.calls = set()
        loop._ferrule_ground = ground = made
    return ground


# --- a call as an operation ------------------------------------------------------------------------------------------

cdef int _attempt_call(Waiter* waiter, Place place) noexcept:
    cdef _Call call = <_Call>waiter.item
    cdef PyObject* dropped = NULL
    cdef int outcome = FAILED
    try:
        while True:
            if call._flight is None:
                if _find(call):
                    return DONE
                if call._thread == 0:       # a task's first step
                    _begin_in_task(call, waiter)
                if _take_off(call):
                    return DONE
            if place == TRY and waiter.timeout != 0 and _holds_entry_locked(call._shard, call._hash, waiter):
                raise WouldDeadlock(
                    f"{_who(waiter)} holds the entry of {call._key!r}, for which whoever computes its value would wait"
                )
            outcome = _wait_locked(call._flight, waiter, place, &dropped)
            drop(dropped)
            if outcome == STUCK:
                raise WouldDeadlock(
                    f"{_who(waiter)} would wait for itself: before it goes on nobody can compute the value of"
                    f" {call._key!r}"
                )
            if outcome != GONE:
                return outcome
            _take_out(call)
            _set_flight(call, None)
    except BaseException as error:
        set_raised(error)
    return FAILED


cdef str _who(Waiter* waiter):
    return "this thread (or a task of its event loop)" if waiter.context == NULL else "this task"


cdef int _begin_in_task(_Call call, Waiter* waiter) except -1:
    """The task that runs is the call's owner."""
    cdef PyObject* context = owner_context()
    if context == NULL:
        raise MemoryError
    call._keeps = <object>context
    call._context = waiter.context = context
    call._thread = waiter.thread = owner_thread()
    return 0


cdef bint _holds_entry_locked(Shard* shard, uint64_t hash, Waiter* waiter) noexcept nogil:
    """Whether the hash is held by an entry that only an act of the waiter can release."""
    cdef bint holds = False
    cdef Hold* hold
    shard.latch.lock()
    if live_of(&shard.holds) != 0:
        hold = _hold_of(shard, hash)
        holds = hold != NULL and hold.entries != NULL and must_act(waiter, hold.thread, hold.context)
    shard.latch.unlock()
    return holds


cdef bint _abandon_flight(Waiter* waiter) noexcept nogil:
    return _abandon_flight_locked(waiter)


cdef void _pass_on_turn(Waiter* waiter, int how, WakeList* woken) noexcept:
    _pass_turn_to(<_Call>waiter.item, woken)


cdef void _expire_call(Waiter* waiter) noexcept:
    try:
        raise Timeout(
            f"the value of {(<_Call>waiter.item)._key!r} was not computed within {waiter.timeout / <double>SECOND:g} s"
        )
    except BaseException as error:      # what the key's repr() raises, or there is no memory for it
        set_raised(error)


cdef PyObject* _give_value(Waiter* waiter) noexcept:
    return take(<PyObject*>(<_Call>waiter.item)._value)


cdef int _continue_computing(Waiter* waiter, PyObject** rest) noexcept:
    """Of a task whose call waits no more: runs the factory if the turn is its."""
    try:
        if _has_turn(<_Call>waiter.item):
            return _compute(<_Call>waiter.item, rest)
    except BaseException as error:
        set_raised(error)
        return FAILED
    return DONE


cdef int _compute(_Call call, PyObject** rest) except FAILED:
    """DONE, or BUSY: the coroutine `rest` has the turn."""
    cdef bint waits
    try:
        given = call._factory()
        waits = is_awaitable(given)
        if not waits:
            _check_value(given)
            _begin_landing_locked(call._flight, <PyObject*>call)
        if waits or not _publish_at_once(call, given):
            coroutine = _fly(call, given, waits)
            rest[0] = take(<PyObject*>coroutine)
            return BUSY
    finally:
        if call._value is _MISSING and rest[0] == NULL:
            _pass_turn(call)
    _land(call)
    return DONE


async def _fly(_Call call, given, bint waits):
    """What is left for a task to do: awaits the value, and the entry that holds the key."""
    cdef Entry entry
    cdef _Ground ground
    try:
        if waits:
            try:
                ground = _ground_of(loop_of_task())
                ground.enter(call)
            except BaseException:
                dispose(given)
                raise
            try:
                given = await given
            finally:
                ground.calls.discard(call)
            _check_value(given)
            _begin_landing_locked(call._flight, <PyObject*>call)
        if not waits or not _publish_at_once(call, given):
            entry = await _entering(call._map, call._key, call._shard, call._hash, NEVER)
            try:
                call._value = entry.or_insert(given)
            finally:
                _leave(entry)
    finally:
        if call._value is _MISSING:
            _pass_turn(call)
    _land(call)
    return call


cdef Operation GET_OR_COMPUTE = new_operation(
    b"ConcurrentMap.get_or_compute", _attempt_call, _abandon_flight, _pass_on_turn, _give_value, _expire_call
)
GET_OR_COMPUTE.is_event = True
cdef Operation ASYNC_GET_OR_COMPUTE = GET_OR_COMPUTE
ASYNC_GET_OR_COMPUTE.continues = _continue_computing


cdef list _turn_of(_Call call):
    """See _Sharded._holders(): whose turn it is."""
    cdef _Flight flight
    cdef PyObject* context = NULL
    cdef uint64_t thread
    with cython.critical_section(call):
        flight = call._flight
    thread = _turn_locked(flight, &context) if flight is not None else 0
    return [] if thread == 0 else [(thread, move(context) if context != NULL else None, None, None)]


# --- slots, fork -----------------------------------------------------------------------------------------------------

cdef traverseproc _cython_traverse_flight = traverse_slot(_Flight)


cdef int _traverse_flight(PyObject* slot, visitproc visit, void* arg) noexcept:
    cdef _Flight flight = <_Flight>slot
    cdef int stopped = visit_raw(flight._turn, visit, arg)
    if not stopped:
        stopped = visit_raw(flight._value, visit, arg)
    if not stopped:
        stopped = visit_waiters(&flight._queue, visit, arg)
    return stopped if stopped else _cython_traverse_flight(slot, visit, arg)


def _in_child():
    global _survivor
    _survivor = owner_thread()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
replace_gc_slots(_Flight, _traverse_flight, NULL)
recycle(_Flight)
recycle(_Call)
seal(_Flight)
seal(_Call)
seal(_Ground)
seal(_Watch)
