"""select(): one wait on many channels, of which exactly one has its effect; part of channel.pyx.

A select is one waiter with a node for each arm. It first tries the arms in random order (biased: in the order given),
and takes the first that is ready. Then it links a node for each arm, channel after channel. If it comes to one where an
arm may be ready after all, it withdraws, leaves the queues that it is in, and tries again. Whoever claims it by one of
its nodes does what it would do with any waiter. The select then leaves all queues and tries that arm before the others,
so the leave that it got there is used, or there was nothing left for it.

Rules
S1  It tries arms only while none of its nodes is linked, so nobody can claim it meanwhile. A waiter that claims another
    one, as both sides of a rendezvous have to be, has so won its own word before; and no select meets itself.
S2  While its nodes are linked it claims nobody. It may be claimed at any time, by one node; to withdraw it has to win
    its own word, which it then has for good.
S3  It looks at a channel and links all its arms there in one section, so what waits there on the other side is not its
    own. It comes to the channels in the order of their addresses. Of two selects that could meet, the one that comes
    second to the first of their common channels withdraws before it is linked to any other of them; so at least one of
    those that wait for each other stays, and they do not withdraw from each other for ever.
S4  At most one latch is held.

The two rounds, trying and then registering while looking again, follow crossbeam-channel (Rust).
"""

cdef extern from *:
    """
    #include <algorithm>
    namespace {
    // Steele, Lea and Flood's SplitMix64; for numbers below 2^32.
    inline uint64_t draw(uint64_t below) noexcept {
        thread_local uint64_t state = ferrule::now() ^ reinterpret_cast<uintptr_t>(&state);
        uint64_t mixed = state += 0x9E3779B97F4A7C15;
        mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9;
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB;
        return ((mixed ^ mixed >> 31) >> 32) * below >> 32;
    }

    template <class Arm> inline void sort_by_channel(Arm** arms, Py_ssize_t count) noexcept {
        std::sort(arms, arms + count, [](const Arm* a, const Arm* b) { return a->channel < b->channel; });
    }
    }
    """
    uint64_t draw(uint64_t below) noexcept nogil
    void sort_by_channel(Arm** arms, Py_ssize_t count) noexcept nogil

cdef extern from "Python.h":
    void set_tuple_item "PyTuple_SET_ITEM"(object, Py_ssize_t, PyObject*) noexcept
    object new_tuple "PyType_GenericAlloc"(PyTypeObject* cls, Py_ssize_t size)
    PyObject* Py_True
    PyObject* Py_False


class Selected(collections.namedtuple("Selected", ("index", "value", "closed"), module="ferrule.channel")):
    """Which arm a select() took, and what came of it.

    Complexity  A tuple of three.
    Threads     Immutable.
    Blocks      never.
    Calls you   never.
    Errors      none.

    >>> tx, rx = unbounded()
    >>> tx.send("a")
    >>> select(rx, never())
    Selected(index=0, value='a', closed=False)
    """
    __slots__ = ()


cdef object _selected = Selected

Selected.index.__doc__ = "The place of the arm among those given."
Selected.value.__doc__ = (
    "What was received, or the Permit; None where something was sent. Of a closed arm what it was to send, or None."
)
Selected.closed.__doc__ = "Whether nothing can be received or sent there any more."


@cython.final
@cython.no_gc_clear     # as the ends
@cython.trashcan(True)  # what is sent may be an arm that sends one, and so on
cdef class SendArm:
    """What sending() and reserving() give: an arm for select(), which may be given to any number of them.

    Complexity  O(1).
    Threads     Immutable.
    Blocks      never.
    Calls you   never.
    Errors      none.
    """
    cdef _End _end
    cdef ArmKind _kind
    cdef object _item

    @classmethod
    def __class_getitem__(cls, item, /):
        """SendArm[T]: of a channel of Ts."""
        return types.GenericAlias(cls, item)

    def __repr__(self):
        call = f"sending({self._item!r})" if self._kind == SENDS else "reserving()"
        return f"<{_face_of(self._end, False)!r}.{call}>"

    def __reduce__(self):
        raise TypeError("cannot pickle or copy an arm of a select")


cdef SendArm _new_arm(_Face face, ArmKind kind, object item):
    cdef SendArm arm = SendArm.__new__(SendArm)
    arm._end = face._end
    arm._kind = kind
    arm._item = item
    return arm


# --- one select ------------------------------------------------------------------------------------------------------

@cython.final
@cython.no_gc_clear     # who waits leaves the queues of the arms; every cycle passes a coroutine or a channel's items
cdef class _Select:
    """One call of select(). All fields are those of whoever has won the claim of its waiter last."""
    cdef tuple _given           # the arms as given; they keep alive what the arms below refer to
    cdef object _result         # a Selected, made before it is needed: no effect is lost for want of memory
    cdef Arm* _arms
    cdef Arm** _order           # all arms, as they are tried or linked
    cdef Py_ssize_t _count
    cdef bint _biased
    cdef Waiter* _waiter
    cdef Py_ssize_t _linked     # so many arms, the first of _order, have been linked and have not left
    cdef Arm* _claimed          # by which it has leave that it has not used, or NULL
    cdef int64_t _due           # the earliest instant of its timers, or NEVER
    cdef Shared[int] _linking   # its nodes are being linked

    def __repr__(self):
        return f"<ferrule.select of {', '.join(map(repr, self._given)) or 'nothing'}>"

    def __reduce__(self):
        raise TypeError("cannot pickle or copy a select")

    def __dealloc__(self):
        cdef Py_ssize_t place
        for place in range(self._count):
            drop(self._arms[place].index)
            if self._arms[place].kind == RESERVES:
                drop(self._arms[place].item)
        PyMem_Free(self._arms)


cdef _Select _new_select(tuple given, int64_t timeout, bint biased):
    cdef _Select self = _Select.__new__(_Select)
    cdef Py_ssize_t count = len(given)
    cdef Py_ssize_t place
    cdef object index
    if count == 0 and timeout == NEVER:
        raise ValueError("select() with no arms and no timeout would wait for ever")
    self._given = given
    self._biased = biased
    self._result = new_tuple(<PyTypeObject*><PyObject*>_selected, 3)
    for place in range(3):
        set_tuple_item(self._result, place, take(Py_None))
    self._arms = <Arm*>PyMem_Calloc(count, sizeof(Arm) + sizeof(Arm*))
    if self._arms == NULL:
        raise MemoryError
    self._order = <Arm**>(self._arms + count)
    for place in range(count):
        self._order[place] = &self._arms[place]
        _set_arm(&self._arms[place], given[place])
        self._count += 1
        index = place
        self._arms[place].index = take(<PyObject*>index)
    return self


cdef int _set_arm(Arm* arm, object given) except -1:
    cdef _End end
    cdef Permit permit
    if isinstance(given, _RecvFace):
        end = (<_RecvFace>given)._end
        arm.kind = RECEIVES
    elif isinstance(given, SendArm):
        end = (<SendArm>given)._end
        arm.kind = (<SendArm>given)._kind
        if arm.kind == SENDS:
            arm.item = <PyObject*>(<SendArm>given)._item
        else:
            permit = Permit.__new__(Permit)
            arm.item = take(<PyObject*>permit)
    else:
        raise TypeError(
            f"select() takes receivers and what sending() and reserving() give, not {type(given).__name__}"
        )
    arm.end = <PyObject*>end
    arm.channel = <PyObject*>end._channel
    return 0


cdef object _take_result(_Select self):
    result = self._result
    self._result = None
    return result


cdef void _settle(_Select self, Arm* arm, PyObject* value, bint closed) noexcept:
    """The arm has had its effect; `value` is a reference, or NULL for None."""
    cdef PyObject* index = arm.index
    arm.index = NULL
    drop(Py_None)
    set_tuple_item(self._result, 0, index)
    if value != NULL:
        drop(Py_None)
        set_tuple_item(self._result, 1, value)
    drop(Py_None)
    set_tuple_item(self._result, 2, take(Py_True if closed else Py_False))


# --- trying ----------------------------------------------------------------------------------------------------------

cdef int _try_arm(_Select self, Arm* arm) noexcept:
    """DONE, BUSY or FAILED."""
    cdef WakeList woken
    cdef PyObject* value = NULL
    cdef size_t count
    cdef _End end = <_End>arm.end
    cdef _Channel channel = end._channel
    cdef int answer
    woken.head = woken.tail = NULL
    if arm.kind == RECEIVES:
        answer = channel._recv_locked(end, &value, 1, &count, NULL, TRY, &woken)
    elif arm.kind == SENDS:
        answer = channel._send_locked(end, arm.item, NULL, TRY, &woken)
    else:
        answer = channel._reserve_locked(end, NULL, TRY, &woken)
    wake(&woken)
    if answer == BUSY:
        if channel._is_timer:
            self._due = min(self._due, channel._due_locked())
        return BUSY
    if answer == NO_MEMORY:
        set_raised(_refusal(answer, end, MISSING, 0))
        return FAILED
    if answer != DONE:
        value = take(arm.item) if arm.kind == SENDS else NULL
    elif arm.kind == RESERVES:
        value = arm.item
        arm.item = NULL
        (<Permit>value)._end = end
    _settle(self, arm, value, answer != DONE)
    return DONE


cdef int _try_all(_Select self) noexcept:
    """Each arm once, until one is ready: DONE, BUSY or FAILED. O(arms)."""
    cdef Py_ssize_t place, drawn
    cdef Arm* arm
    cdef int outcome
    self._due = NEVER
    for place in range(self._count):
        if self._biased:
            self._order[place] = &self._arms[place]
        else:
            drawn = place + <Py_ssize_t>draw(self._count - place)
            arm = self._order[drawn]
            self._order[drawn] = self._order[place]
            self._order[place] = arm
        outcome = _try_arm(self, self._order[place])
        if outcome != BUSY:
            return outcome
    return BUSY


# --- waiting ---------------------------------------------------------------------------------------------------------

cdef inline PyObject* _end_at(Node* node) noexcept nogil:
    """The end that is waited at by this node."""
    return <PyObject*>node.waiter.token if node == &node.waiter.node else (<Arm*>node).end


cdef inline PyObject* _item_at(Node* node) noexcept nogil:
    """What is sent by this node."""
    return node.waiter.item if node == &node.waiter.node else (<Arm*>node).item


cdef inline Py_ssize_t _end_of_channel(_Select self, Py_ssize_t place, Py_ssize_t end) noexcept nogil:
    """How far the arms go that have the same channel as the one at that place; they are in order."""
    cdef PyObject* channel = self._order[place].channel
    while place < end and self._order[place].channel == channel:
        place += 1
    return place


cdef bint _link(_Select self, Place place) noexcept:
    """Links all arms, but for those of the channels behind one where an arm is ready: then False. O(arms log arms)."""
    cdef Py_ssize_t end
    sort_by_channel(self._order, self._count)
    self._due = NEVER
    self._linking.store(True, relaxed)
    while self._linked < self._count:
        end = _end_of_channel(self, self._linked, self._count)
        if not _link_locked(self, <_Channel>self._order[self._linked].channel, self._linked, end, place):
            break
        self._linked = end
    # Release pairs with the acquire in _pass_on_select().
    self._linking.store(False, release)
    return self._linked == self._count


cdef bint _link_locked(
    _Select self, _Channel channel, Py_ssize_t first, Py_ssize_t end, Place place
) noexcept nogil:
    """Links these arms of the channel, unless one is ready: then False."""
    cdef bint is_ready = False
    cdef Py_ssize_t index
    channel._latch.lock()
    channel._refresh()
    for index in range(first, end):
        is_ready = is_ready or _is_ready(channel, self._order[index])
    if not is_ready:
        for index in range(first, end):
            _link_arm(self, channel, self._order[index], place)
        if channel._is_timer:
            self._due = min(self._due, channel._due)
    channel._latch.unlock()
    return not is_ready


cdef inline bint _is_ready(_Channel channel, Arm* arm) noexcept nogil:
    """Whether an attempt might not find it BUSY: who waits on the other side may have been claimed elsewhere."""
    if arm.kind == RECEIVES:
        if not (<_End>arm.end)._open or channel._is_over() != DONE or channel._items.count:
            return True
        return channel._capacity == 0 and (channel._senders.head != NULL or _is_ripe(channel))
    if channel._refuses(<_End>arm.end) != DONE:
        return True
    return channel._has_room() if channel._capacity else channel._receivers.head != NULL


cdef inline void _link_arm(_Select self, _Channel channel, Arm* arm, Place place) noexcept nogil:
    arm.node.waiter = self._waiter
    arm.node.lost = False
    arm.node.holder = NULL
    if self._waiter.task != NULL:
        arm.node.holder = take(<PyObject*>self)
    channel._wait_in(&channel._receivers if arm.kind == RECEIVES else &channel._senders, &arm.node, place)


cdef void _leave(_Select self) noexcept nogil:
    """Leaves all queues, and sees by which arm it was claimed, if it was. O(arms)."""
    cdef Py_ssize_t place = 0, end
    while place < self._linked:
        end = _end_of_channel(self, place, self._linked)
        _leave_locked(self, <_Channel>self._order[place].channel, place, end)
        place = end
    if self._linked and self._waiter.task != NULL:
        for place in range(self._linked):
            release_shared(<PyObject*>self)     # its owner has another
    self._linked = 0


cdef void _leave_locked(_Select self, _Channel channel, Py_ssize_t first, Py_ssize_t end) noexcept nogil:
    cdef Py_ssize_t index
    cdef Node* node
    channel._latch.lock()
    channel._refresh()
    for index in range(first, end):
        node = &self._order[index].node
        if linked(node):
            unlink(node)
        elif node.queue == NULL and not node.lost:
            self._claimed = self._order[index]
        node.queue = NULL
    channel._latch.unlock()


cdef int _attempt_select(Waiter* waiter, Place place) noexcept:
    cdef _Select self = <_Select>waiter.target
    cdef Arm* claimed = self._claimed
    cdef int as_it_waits = waiter.claim.load(relaxed)
    cdef int outcome = BUSY
    self._claimed = NULL
    self._waiter = waiter
    if claimed != NULL:
        outcome = _try_arm(self, claimed)
    if outcome == BUSY and place == TRY:
        outcome = _try_all(self)
    if outcome == BUSY and place != TRY:
        outcome = LINKED
        while not _link(self, place):
            if not withdraw(waiter):
                break           # claimed, which it will see when it has come to wait
            _leave(self)
            outcome = _try_all(self)
            if outcome != BUSY:
                return outcome
            waiter.claim.store(as_it_waits, relaxed)
            outcome = LINKED
    _look_again_at(waiter, self._due)
    return outcome


cdef bint _abandon_select(Waiter* waiter) noexcept nogil:
    if not withdraw(waiter):
        return False
    _leave(<_Select>waiter.target)
    return True


cdef void _leave_queues(Waiter* waiter) noexcept:
    _leave(<_Select>waiter.target)


cdef bint _handed_select(Waiter* waiter) noexcept:
    """A receiver has taken what one of the arms sends."""
    cdef _Select self = <_Select>waiter.target
    cdef Arm* arm = self._claimed
    self._claimed = NULL
    _settle(self, arm, NULL, False)
    return True


cdef void _pass_on_select(Waiter* waiter, int how, WakeList* woken) noexcept:
    cdef _Select self = <_Select>waiter.target
    cdef Arm* arm
    # Where the mailbox of a closed loop passes on, the task may be linking yet. Acquire pairs with the release there.
    while self._linking.load(acquire):
        spin_pause()
    _leave(self)
    arm = self._claimed
    self._claimed = NULL
    if how == CLAIMED and arm != NULL:      # HANDED: what it was to send has been sent
        (<_Channel>arm.channel)._pass_on_locked(woken)


cdef bint _is_among_threads_only(Waiter* waiter) noexcept:
    """See _is_among_threads()."""
    cdef _Select self = <_Select>waiter.target
    cdef Py_ssize_t place
    for place in range(self._count):
        if (<_Channel>self._arms[place].channel)._has_met_tasks.load(relaxed):
            return False
    return True


cdef void _expire_select(Waiter* waiter) noexcept:
    """The error carries what was to be sent: the item, or with several arms that send, a tuple."""
    cdef _Select self = <_Select>waiter.target
    cdef object item
    try:
        items = tuple([(<SendArm>arm)._item for arm in self._given if _sends(arm)])
        item = MISSING if not items else items[0] if len(items) == 1 else items
    except BaseException as error:
        set_raised(error)
        return
    _expire(waiter, "no arm was ready", <PyObject*>item, 0)


cdef bint _sends(object given) noexcept:
    return isinstance(given, SendArm) and (<SendArm>given)._kind == SENDS


cdef PyObject* _give_selected(Waiter* waiter) noexcept:
    cdef object result = _take_result(<_Select>waiter.target)
    return take(<PyObject*>result)


cdef Operation SELECT = new_operation(
    b"select", _attempt_select, _abandon_select, _pass_on_select, _give_selected, _expire_select
)
SELECT.is_event = True
SELECT.hides_item = True
SELECT.leave_queues = _leave_queues
SELECT.handed = _handed_select
SELECT.spins = _is_among_threads_only


def select(*arms, timeout=None, bint biased=False):
    """Waits until one of the arms is ready, and does what it stands for; gives a Selected. O(arms log arms).

    An arm is a receiver, of either face, `tx.sending(item)`, or `tx.reserving()`. Of several that are ready one is
    taken at random, each with the same chance; with `biased` the first. One at which nothing can be received or sent
    any more is ready, and is `closed`. A select never meets itself, where it both sends and receives on one channel.

    At most `timeout` seconds (None: for ever, 0: not at all), then Timeout: it has the item that was to be sent, or a
    tuple of them where several arms send. With no arms it only waits; ValueError if that would be for ever.
    """
    cdef int64_t limit = NEVER if timeout is None else parse_timeout(timeout)
    cdef _Select self = _new_select(arms, limit, biased)
    cdef int outcome = _try_all(self)
    if outcome == FAILED:
        reraise()
    if outcome == BUSY:
        wait_in_thread(&SELECT, self, NULL, 0, limit)
    return _take_result(self)


def try_select(*arms, bint biased=False):
    """As select(), of what is ready now; None if nothing is. Never waits. O(arms)."""
    cdef _Select self = _new_select(arms, 0, biased)
    cdef int outcome = _try_all(self)
    if outcome == FAILED:
        reraise()
    return _take_result(self) if outcome == DONE else None


def async_select(*arms, timeout=None, bint biased=False):
    """Awaitable; as ferrule.select(), but the task waits. It takes arms of both faces."""
    cdef int64_t limit = NEVER if timeout is None else parse_timeout(timeout)
    return new_coroutine(&SELECT, _new_select(arms, limit, biased), NULL, limit)


cdef traverseproc _traverse_select_fields = traverse_slot(_Select)


cdef int _traverse_select(PyObject* slot, visitproc visit, void* arg) noexcept:
    """While it waits, what the queues refer to is this, and this refers to the coroutine (I3)."""
    cdef _Select self = <_Select>slot
    cdef int stopped = _traverse_select_fields(slot, visit, arg)
    cdef int state
    if stopped or self._linked == 0:
        return stopped
    state = self._waiter.claim.load(relaxed)
    return visit_raw(self._waiter.task, visit, arg) if state == SPIN or state == PARKED else 0


replace_gc_slots(_Select, _traverse_select, NULL)
