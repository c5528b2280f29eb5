"""The ends as users have them, sync and async, and what they give; part of channel.pyx."""


@cython.no_gc_clear     # a destructor in a garbage cycle may call what is in it; every cycle passes the channel's items
cdef class _Face:
    """What all ends have."""
    cdef _Channel _channel      # constant
    cdef _End _end              # constant
    cdef object __weakref__

    def clone(self):
        """Another end of the same side. The side is gone only when all of its ends are. O(1)."""
        return _like(self, _new_end(self._channel, self._end._sends, self._end))

    def close(self):
        """Closes this end; again does nothing. Who waits at it gets Disconnected. O(waiters), and O(items) for the last
        receiver, which takes what is queued with it.
        """
        _close_end(self._end)

    def close_channel(self):
        """Ends the channel for all: nothing more is sent; what is queued can still be received. O(waiters)."""
        cdef WakeList woken
        woken.head = woken.tail = NULL
        self._channel._close_locked(&woken)
        wake(&woken)

    @property
    def is_closed(self):
        """Whether this end is closed."""
        return not _look(self).is_open

    @property
    def is_disconnected(self):
        """Whether the other side is gone, or the channel is closed."""
        return _is_cut_off(self, _look(self))

    @property
    def is_empty(self):
        """Whether no item is queued."""
        return _look(self).count == 0

    @property
    def is_full(self):
        """Whether there is no free slot; always so with no capacity."""
        cdef Glance seen = _look(self)
        return <Py_ssize_t>seen.count + seen.reserved >= _capacity_of(self)

    @property
    def capacity(self):
        """How many items may be queued; None: any number; 0: a send waits for a receiver."""
        return None if self._channel._capacity == PY_SSIZE_T_MAX else _capacity_of(self)

    @property
    def sender_count(self):
        """How many senders are open."""
        return _look(self).senders

    @property
    def receiver_count(self):
        """How many receivers are open."""
        return _look(self).receivers

    def same_channel(self, other, /):
        """Whether `other`, an end of either kind, belongs to the same channel."""
        if not isinstance(other, _Face):
            raise TypeError(f"same_channel() takes an end of a channel, not {type(other).__name__}")
        return (<_Face>other)._channel is self._channel

    def stats(self):
        """A dict: sent, received, high_water (most items queued at once), waits (how often a call had to queue)."""
        cdef Glance seen = _look(self)
        return {"sent": seen.sent, "received": seen.received, "high_water": seen.high_water, "waits": seen.waits}

    def _state(self):
        """For tests: who waits, and what is promised. O(waiters)."""
        cdef Py_ssize_t senders, receivers
        self._channel._waiting_locked(&senders, &receivers)
        return {"senders": senders, "receivers": receivers, "reserved": _look(self).reserved}

    def __len__(self):
        return _look(self).count

    def __bool__(self):
        return True

    def __eq__(self, other, /):
        return (<_Face>other)._end is self._end if type(other) is type(self) else NotImplemented

    def __hash__(self):
        return hash(<uintptr_t><PyObject*>self._end)

    @classmethod
    def __class_getitem__(cls, item, /):
        """Sender[T], Receiver[T]: the ends of a channel of Ts."""
        return types.GenericAlias(cls, item)

    def __repr__(self):
        cdef Glance seen = _look(self)
        if not seen.is_open:
            state = "closed"
        elif _is_cut_off(self, seen):
            state = "disconnected"
        else:
            state = "open"
        of = "" if self.capacity is None else f" of {self.capacity}"
        return f"<{_name_of(self)} {state}, {seen.count}{of} items at {<uintptr_t><PyObject*>self:#x}>"

    def __reduce__(self):
        raise TypeError(f"cannot pickle or copy a {_name_of(self)}")


cdef str _name_of(_Face face):
    name = type(face).__name__
    return f"ferrule.aio.{name[5:]}" if name.startswith("Async") else f"ferrule.{name}"


cdef Glance _look(_Face face) noexcept:
    cdef Glance seen
    face._channel._look_locked(face._end, &seen)
    return seen


cdef bint _is_cut_off(_Face face, Glance seen) noexcept:
    """Whether the other side is gone; a timer has none that could go."""
    if face._end._sends:
        return seen.closed or seen.receivers == 0
    return seen.closed or (seen.senders == 0 and not face._channel._is_timer)


cdef Py_ssize_t _capacity_of(_Face face) noexcept:
    return 1 if face._channel._is_timer else face._channel._capacity


# --- senders ---------------------------------------------------------------------------------------------------------

@cython.no_gc_clear
cdef class _SendFace(_Face):
    """What both kinds of sender have."""

    def try_send(self, item, /):
        """Sends if there is room now, and with no capacity if a receiver waits now; else Full. Never waits. O(1)."""
        cdef int answer = _send_now(self, item)
        if answer == BUSY:
            raise Full("the channel is full" if self._channel._capacity else "no receiver waits", item=item)
        if answer != DONE:
            raise _refusal(answer, self._end, item, 0)

    def force_send(self, item, default=None, /):
        """Sends at once: where there is no room, in the place of the oldest item, which is returned; else `default`.

        It overtakes senders that wait. With no capacity as try_send(), and Full also where all room is promised to
        permits. O(1).
        """
        cdef WakeList woken
        cdef PyObject* displaced
        cdef int answer
        woken.head = woken.tail = NULL
        answer = self._channel._force_send_locked(self._end, <PyObject*>item, &displaced, &woken)
        wake(&woken)
        if answer == BUSY:
            raise Full("no item can be displaced" if self._channel._capacity else "no receiver waits", item=item)
        if answer != DONE:
            raise _refusal(answer, self._end, item, 0)
        return move(displaced) if displaced != NULL else default

    def sending(self, item, /):
        """An arm for select() that sends the item. Nothing is sent before it is selected."""
        return _new_arm(self, SENDS, item)

    def reserving(self):
        """An arm for select() that gives a Permit to a free slot, as reserve(). ValueError with no capacity."""
        _refuse_rendezvous(self)
        return _new_arm(self, RESERVES, MISSING)

    def downgrade(self):
        """A WeakSender: it does not keep the channel open."""
        cdef WeakSender weak = WeakSender.__new__(WeakSender)
        weak._channel = self._channel
        return weak

    def new_receiver(self):
        """A new receiver of this channel; Disconnected if all are closed: that cannot be undone. O(1)."""
        return _like(self, _new_end(self._channel, False, None))

    def new_sender(self):
        """As clone(), but this end may be closed; Disconnected if all senders are, or the channel is. O(1)."""
        return _like(self, _new_end(self._channel, True, None))


cdef inline int _send_now(_Face face, object item) except -1:
    cdef WakeList woken
    cdef int answer
    woken.head = woken.tail = NULL
    answer = face._channel._send_locked(face._end, <PyObject*>item, NULL, TRY, &woken)
    wake(&woken)
    return answer


cdef int _send(_Face face, object item, int64_t timeout) except -1:
    """Sends where it could not be done at once."""
    wait_in_thread(&SEND, face._end, <PyObject*>item, <uintptr_t><PyObject*>face._end, timeout)
    return 0


@cython.final
@cython.no_gc_clear
cdef class Sender(_SendFace):
    """The sending end of a channel, for threads; what bounded() and unbounded() give first.

    Complexity  Every method: O(1), but for send_many: O(items), and close and close_channel: O(waiters).
    Threads     Every method is safe; an end may be used by any number of threads and, through `aio`, tasks.
    Blocks      send, send_many and reserve while there is no room; Ctrl-C interrupts them. In a thread whose event loop
                runs they raise BlockingInEventLoop instead.
    Calls you   only the iterable given to send_many, and never while an internal lock is held.
    Errors      Disconnected when all receivers, the channel, or this end are closed; Full; Timeout. Each has the item.

    >>> tx, rx = bounded(2)
    >>> tx.send("a")
    >>> with tx:
    ...     tx.send("b")
    >>> list(rx)
    ['a', 'b']
    """

    def send(self, item, /, *, timeout=None):
        """Sends the item. Waits while there is no room, with no capacity until a receiver takes it.

        At most `timeout` seconds (None: for ever, 0: not at all), then Timeout. Disconnected if nobody can receive it.
        Both carry the item. O(1).
        """
        cdef int64_t limit = NEVER if timeout is None else parse_timeout(timeout)
        cdef int answer = _send_now(self, item)
        if answer != DONE:
            if answer != BUSY:
                raise _refusal(answer, self._end, item, 0)
            _send(self, item, limit)

    def send_many(self, iterable, /, *, timeout=None):
        """Sends all items, one after the other, and returns how many there were. O(items).

        It stops at the first that cannot be sent: Timeout (`timeout` is for all of them) or Disconnected carries that
        one as `item` and how many were sent before as `sent`; what follows is still in the iterable.
        """
        cdef int64_t limit = NEVER if timeout is None else parse_timeout(timeout)
        cdef int64_t deadline = deadline_after(limit) if limit else 0
        cdef Py_ssize_t sent = 0
        cdef int answer
        for item in iterable:
            answer = _send_now(self, item)
            if answer != DONE:
                if answer != BUSY:
                    raise _refusal(answer, self._end, item, sent)
                if deadline != NEVER and limit:
                    limit = max(0, deadline - now())
                try:
                    _send(self, item, limit)
                except (Disconnected, Timeout) as error:
                    error.sent = sent
                    raise
            sent += 1
            if sent % AT_A_TIME == 0 and let_others_in() < 0:
                reraise()
        return sent

    def reserve(self, *, timeout=None):
        """Waits for a free slot and returns a Permit to it: its send() does not wait. Timeout as send(). O(1).

        ValueError with no capacity: there are no slots.
        """
        cdef int64_t limit = NEVER if timeout is None else parse_timeout(timeout)
        cdef Permit permit = _new_permit(self)
        wait_in_thread(&RESERVE, self._end, NULL, <uintptr_t><PyObject*>self._end, limit)
        permit._end = self._end
        return permit

    @property
    def aio(self):
        """The async face of this end."""
        return _face_of(self._end, True)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback, /):
        _close_end(self._end)


@cython.final
@cython.no_gc_clear
cdef class AsyncSender(_SendFace):
    """The async face of a ferrule.Sender; what aio.bounded() and aio.unbounded() give first.

    Complexity  Every method: O(1), but for send_many: O(items), and close and close_channel: O(waiters).
    Threads     Every method is safe; tasks of several loops and threads may use one end.
    Blocks      never the loop: send, send_many and reserve suspend the task while there is no room.
    Calls you   only the iterable given to send_many, and never while an internal lock is held.
    Errors      Disconnected when all receivers, the channel, or this end are closed; Full; Timeout. Each has the item.

    >>> import asyncio
    >>> async def through():
    ...     tx, rx = async_bounded(1)
    ...     await tx.send("item")
    ...     return await rx.recv()
    >>> asyncio.run(through())
    'item'
    """

    def send(self, item, /, *, timeout=None):
        """Awaitable; sends the item. As ferrule.Sender.send(), but the task waits. With room it never suspends."""
        cdef int64_t limit = NEVER if timeout is None else parse_timeout(timeout)
        return new_coroutine(&SEND, self._end, take(<PyObject*>item), limit)

    def send_many(self, iterable, /, *, timeout=None):
        """Awaitable; sends all items, and gives how many there were. As ferrule.Sender.send_many()."""
        cdef int64_t limit = NEVER if timeout is None else parse_timeout(timeout)
        cdef _Batch batch = _Batch.__new__(_Batch)
        batch._end = self._end
        batch._iterator = iter(iterable)
        return new_coroutine(&SEND_MANY, batch, NULL, limit)

    def reserve(self, *, timeout=None):
        """Awaitable; gives a Permit to a free slot. As ferrule.Sender.reserve()."""
        cdef int64_t limit = NEVER if timeout is None else parse_timeout(timeout)
        cdef Permit permit = _new_permit(self)
        return new_coroutine(&RESERVE, self._end, take(<PyObject*>permit), limit)

    @property
    def sync(self):
        """The sync face of this end, for threads."""
        return _face_of(self._end, False)

    def __aenter__(self):
        return new_coroutine(&ENTER, self._end, take(<PyObject*>self), NEVER)

    def __aexit__(self, kind, error, traceback, /):
        return new_coroutine(&LEAVE, self._end, NULL, NEVER)


@cython.final
@cython.no_gc_clear
cdef class WeakSender:
    """A sender that does not keep its channel open: what downgrade() gives.

    Complexity  upgrade: O(1).
    Threads     Safe.
    Blocks      never.
    Calls you   never.
    Errors      none.
    """
    cdef _Channel _channel
    cdef object __weakref__

    def upgrade(self):
        """A new Sender, or None if all senders are closed, or the channel is. O(1)."""
        try:
            return _face_of(_new_end(self._channel, True, None), False)
        except Disconnected:
            return None

    @classmethod
    def __class_getitem__(cls, item, /):
        """WeakSender[T]: of a channel of Ts."""
        return types.GenericAlias(cls, item)

    def __reduce__(self):
        raise TypeError("cannot pickle or copy a ferrule.WeakSender")


# --- receivers -------------------------------------------------------------------------------------------------------

@cython.no_gc_clear
cdef class _RecvFace(_Face):
    """What both kinds of receiver have."""

    def try_recv(self, default=_NO_DEFAULT, /):
        """The oldest item if there is one now; else `default`, or without one Empty or Disconnected. O(1)."""
        cdef PyObject* item
        cdef int answer = _recv_now(self, &item)
        if answer == DONE:
            return move(item)
        if default is not _NO_DEFAULT:
            return default
        if answer == BUSY:
            raise Empty("the channel is empty")
        raise _refusal(answer, self._end, MISSING, 0)

    def drain(self):
        """A list of all items that there are now. Never waits. O(items)."""
        cdef WakeList woken
        cdef size_t room, count
        cdef list found
        cdef int answer = BUSY
        woken.head = woken.tail = NULL
        while answer == BUSY:       # more items have come than there were places for
            room = self._channel._available_locked()
            room += room // 8
            found = _places(room)
            answer = self._channel._drain_locked(self._end, items_of(found), room, &count, &woken)
            _cut_off(found, room, count)
        wake(&woken)
        if answer == END_CLOSED:
            raise _refusal(answer, self._end, MISSING, 0)
        return found

    def try_iter(self):
        """An iterator that ends where no item is there at once."""
        cdef _TryIterator iterator = _TryIterator.__new__(_TryIterator)
        iterator._face = self
        return iterator

    def new_receiver(self):
        """As clone(), but this end may be closed; Disconnected if all receivers are: that cannot be undone. O(1)."""
        return _like(self, _new_end(self._channel, False, None))

    def new_sender(self):
        """A new sender of this channel; Disconnected if all are closed, or the channel is. O(1)."""
        return _like(self, _new_end(self._channel, True, None))


cdef inline int _recv_now(_Face face, PyObject** item) except -1:
    cdef WakeList woken
    cdef size_t count
    cdef int answer
    woken.head = woken.tail = NULL
    answer = face._channel._recv_locked(face._end, item, 1, &count, NULL, TRY, &woken)
    wake(&woken)
    return answer


cdef object _recv(_Face face, int64_t timeout):
    """Receives where it could not be done at once."""
    cdef PyObject* item = NULL
    wait_in_thread(&RECV, face._end, <PyObject*>&item, <uintptr_t><PyObject*>face._end, timeout)
    return move(item)


@cython.final
@cython.no_gc_clear
cdef class Receiver(_RecvFace):
    """The receiving end of a channel, for threads; what bounded() and unbounded() give second.

    Complexity  Every method: O(1), but for recv_many and drain: O(items), and close and close_channel: O(waiters), and
                for the last receiver's close O(items).
    Threads     Every method is safe; an end may be used by any number of threads and, through `aio`, tasks. Each item
                is received once.
    Blocks      recv, recv_many and iteration while there is no item; Ctrl-C interrupts them. In a thread whose event
                loop runs they raise BlockingInEventLoop instead.
    Calls you   never, but for the destructors of items that close() drops, with no internal lock held.
    Errors      Disconnected when nothing is left and all senders or the channel are closed, or this end is; Empty;
                Timeout.

    >>> tx, rx = unbounded()
    >>> tx.send_many("abc")
    3
    >>> rx.recv(), rx.recv_many(10)
    ('a', ['b', 'c'])
    """

    def recv(self, *, timeout=None):
        """The oldest item. Waits while there is none.

        At most `timeout` seconds (None: for ever, 0: not at all), then Timeout. Disconnected if none is left and none
        will come. O(1).
        """
        cdef int64_t limit = NEVER if timeout is None else parse_timeout(timeout)
        cdef PyObject* item
        cdef int answer = _recv_now(self, &item)
        if answer == DONE:
            return move(item)
        if answer != BUSY:
            raise _refusal(answer, self._end, MISSING, 0)
        return _recv(self, limit)

    def recv_many(self, limit, /, *, timeout=None):
        """A list of the oldest items, at least one and at most `limit`. Waits as recv() does. O(items)."""
        cdef int64_t nanoseconds = NEVER if timeout is None else parse_timeout(timeout)
        cdef _Batch batch = _new_batch(self, limit)
        wait_in_thread(&RECV_MANY, batch, NULL, <uintptr_t><PyObject*>self._end, nanoseconds)
        return batch._found

    @property
    def aio(self):
        """The async face of this end."""
        return _face_of(self._end, True)

    def __iter__(self):
        return self

    def __next__(self):
        cdef PyObject* item
        cdef int answer = _recv_now(self, &item)
        if answer == DONE:
            return move(item)
        if answer == NO_MEMORY:
            raise MemoryError
        if answer == BUSY:
            try:
                return _recv(self, NEVER)
            except Disconnected:
                pass
        raise StopIteration

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback, /):
        _close_end(self._end)


@cython.final
@cython.no_gc_clear
cdef class AsyncReceiver(_RecvFace):
    """The async face of a ferrule.Receiver; what aio.bounded() and aio.unbounded() give second.

    Complexity  Every method: O(1), but for recv_many and drain: O(items), and close and close_channel: O(waiters), and
                for the last receiver's close O(items).
    Threads     Every method is safe; tasks of several loops and threads may use one end. Each item is received once.
    Blocks      never the loop: recv, recv_many and `async for` suspend the task while there is no item, and the latter
                two once after every 128 items that were there.
    Calls you   never, but for the destructors of items that close() drops, with no internal lock held.
    Errors      Disconnected when nothing is left and all senders or the channel are closed, or this end is; Empty;
                Timeout.
    """

    def recv(self, *, timeout=None):
        """Awaitable; gives the oldest item. As ferrule.Receiver.recv(). Where there is one it never suspends."""
        cdef int64_t limit = NEVER if timeout is None else parse_timeout(timeout)
        return new_coroutine(&ASYNC_RECV, self._end, NULL, limit)

    def recv_many(self, limit, /, *, timeout=None):
        """Awaitable; gives a list of the oldest items. As ferrule.Receiver.recv_many().

        After 128 items that were there at once it lets the loop run before the next.
        """
        cdef int64_t nanoseconds = NEVER if timeout is None else parse_timeout(timeout)
        return new_coroutine(&RECV_MANY, _new_batch(self, limit), NULL, nanoseconds)

    @property
    def sync(self):
        """The sync face of this end, for threads."""
        return _face_of(self._end, False)

    def __aiter__(self):
        return self

    def __anext__(self):
        return new_coroutine(&NEXT, self._end, NULL, NEVER)

    def __aenter__(self):
        return new_coroutine(&ENTER, self._end, take(<PyObject*>self), NEVER)

    def __aexit__(self, kind, error, traceback, /):
        return new_coroutine(&LEAVE, self._end, NULL, NEVER)


cdef _Batch _new_batch(_Face face, object limit):
    cdef _Batch batch = _Batch.__new__(_Batch)
    limit = PyNumber_Index(limit)
    if limit < 1:
        raise ValueError(f"recv_many() receives at least one item, not {limit}")
    batch._end = face._end
    batch._limit = min(limit, PY_SSIZE_T_MAX)
    return batch


@cython.final
@cython.no_gc_clear
cdef class _TryIterator:
    """Gives the items that are there at once: what try_iter() gives."""
    cdef _Face _face

    def __iter__(self):
        return self

    def __next__(self):
        cdef PyObject* item
        if _recv_now(self._face, &item) != DONE:
            raise StopIteration
        return move(item)

    def __reduce__(self):
        raise TypeError("cannot pickle or copy an iterator of a channel")


# --- permits ---------------------------------------------------------------------------------------------------------

@cython.final
@cython.no_gc_clear
cdef class Permit:
    """A slot of a channel that is promised to whoever has this: what reserve() gives.

    Complexity  Every method: O(1).
    Threads     Every method is safe; whoever has the permit may use it, from any thread or task.
    Blocks      never.
    Calls you   never while an internal lock is held.
    Errors      RuntimeError once it has been used or released; Disconnected, with the item, if no receiver is left.

    It is good also after its sender or the channel were closed, and receivers wait for it. `with` releases it at the
    end if it has not been used. A permit that is collected unused is released, with a ResourceWarning.
    """
    cdef _End _end              # constant; None: no slot was ever promised
    cdef Shared[int] _spent     # whoever sets it may use the slot
    cdef object __weakref__

    def send(self, item, /):
        """Sends the item into the slot, and spends the permit. Never waits."""
        cdef WakeList woken
        cdef int answer
        woken.head = woken.tail = NULL
        _spend_permit(self)
        answer = self._end._channel._redeem_locked(<PyObject*>item, &woken)
        wake(&woken)
        if answer == NO_MEMORY:
            self._spent.store(False, release)
        if answer != DONE:
            raise _refusal(answer, self._end, item, 0)

    def release(self):
        """Gives the slot up, and spends the permit."""
        _spend_permit(self)
        _give_up_slot(self)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback, /):
        if not self._spent.exchange(True, acq_rel):
            _give_up_slot(self)

    @classmethod
    def __class_getitem__(cls, item, /):
        """Permit[T]: to send a T."""
        return types.GenericAlias(cls, item)

    def __reduce__(self):
        raise TypeError("cannot pickle or copy a ferrule.Permit")

    def __dealloc__(self):
        cdef KeepRaised keep
        cdef Apart apart
        if self._end is None or self._spent.load(relaxed):
            return
        keep.set_aside()
        apart.begin(apart_depth())
        _give_up_slot(self)
        try:
            PyErr_WarnEx(ResourceWarning, b"a permit was collected unused; its slot is free again", 1)
        except BaseException as error:      # warnings may be errors, and a destructor cannot raise
            set_raised(error)
            PyErr_WriteUnraisable(None)


cdef Permit _new_permit(_Face face):
    _refuse_rendezvous(face)
    return Permit.__new__(Permit)


cdef int _refuse_rendezvous(_Face face) except -1:
    if face._channel._capacity == 0:
        raise ValueError("a channel with no capacity has no slots to be reserved")
    return 0


cdef int _spend_permit(Permit permit) except -1:
    if permit._spent.exchange(True, acq_rel):
        raise RuntimeError("the permit has been used or released")
    return 0


cdef void _give_up_slot(Permit permit) noexcept:
    cdef WakeList woken
    woken.head = woken.tail = NULL
    permit._end._channel._redeem_locked(NULL, &woken)
    wake(&woken)


# --- making channels -------------------------------------------------------------------------------------------------

cdef _Face _face_of(_End end, bint is_async):
    """A face of the end."""
    cdef _Face face
    if is_async:
        face = AsyncSender.__new__(AsyncSender) if end._sends else AsyncReceiver.__new__(AsyncReceiver)
    else:
        face = Sender.__new__(Sender) if end._sends else Receiver.__new__(Receiver)
    face._channel = end._channel
    face._end = end
    return face


cdef _Face _like(_Face face, _End end):
    """A face of the end, async if the other face is."""
    return _face_of(end, isinstance(face, (AsyncSender, AsyncReceiver)))


cdef tuple _new_channel(Py_ssize_t capacity, bint is_async):
    """Both ends of a new channel."""
    cdef _Channel channel = _Channel.__new__(_Channel)
    cdef _End sends = _End.__new__(_End)
    cdef _End receives = _End.__new__(_End)
    channel._capacity = capacity
    channel._sender_count = channel._receiver_count = 1
    sends._sends = True
    sends._open = receives._open = True
    sends._channel = receives._channel = channel
    return _face_of(sends, is_async), _face_of(receives, is_async)


cdef Py_ssize_t _parse_capacity(object capacity) except -1:
    capacity = PyNumber_Index(capacity)
    if capacity < 0:
        raise ValueError(f"capacity must not be negative: {capacity}")
    return min(capacity, PY_SSIZE_T_MAX - 1)


cdef PyObject* _make(PyObject* args, PyObject* kwargs, bint is_limited, bint is_async) noexcept:
    """What the four classes below give when they are called."""
    cdef Py_ssize_t capacity = PY_SSIZE_T_MAX
    name = "bounded" if is_limited else "unbounded"
    try:
        if kwargs != NULL and <dict>kwargs or len(<tuple>args) != is_limited:
            raise TypeError(f"{name}() takes {'a capacity and nothing else' if is_limited else 'no arguments'}")
        if is_limited:
            capacity = _parse_capacity((<tuple>args)[0])
        ends = _new_channel(capacity, is_async)
    except BaseException as error:
        set_raised(error)
        return NULL
    Py_INCREF(ends)
    return <PyObject*>ends


cdef PyObject* _make_bounded(PyTypeObject* cls, PyObject* args, PyObject* kwargs) noexcept:
    return _make(args, kwargs, True, False)


cdef PyObject* _make_unbounded(PyTypeObject* cls, PyObject* args, PyObject* kwargs) noexcept:
    return _make(args, kwargs, False, False)


cdef PyObject* _make_async_bounded(PyTypeObject* cls, PyObject* args, PyObject* kwargs) noexcept:
    return _make(args, kwargs, True, True)


cdef PyObject* _make_async_unbounded(PyTypeObject* cls, PyObject* args, PyObject* kwargs) noexcept:
    return _make(args, kwargs, False, True)


@cython.final
cdef class bounded:
    """bounded(capacity, /)
    --

    Makes a channel and gives its (Sender, Receiver). bounded[T](capacity) tells type checkers what its items are.

    At most `capacity` items are queued; a send waits while there is no room. 0 makes a rendezvous: nothing is queued,
    and a send waits for a receiver.

    Complexity  O(1).
    Threads     Safe: nothing is shared.
    Blocks      never.
    Calls you   never.
    Errors      ValueError for a negative capacity.
    """

    @classmethod
    def __class_getitem__(cls, item, /):
        return types.GenericAlias(cls, item)


@cython.final
cdef class unbounded:
    """unbounded()
    --

    Makes a channel and gives its (Sender, Receiver). unbounded[T]() tells type checkers what its items are.

    Any number of items may be queued; a send never waits. A burst leaves no memory behind.

    Complexity  O(1).
    Threads     Safe: nothing is shared.
    Blocks      never.
    Calls you   never.
    Errors      none.
    """

    @classmethod
    def __class_getitem__(cls, item, /):
        return types.GenericAlias(cls, item)


@cython.final
cdef class async_bounded:
    """bounded(capacity, /)
    --

    As ferrule.bounded(), but gives the async faces (aio.Sender, aio.Receiver).

    Complexity  O(1).
    Threads     Safe: nothing is shared.
    Blocks      never.
    Calls you   never.
    Errors      ValueError for a negative capacity.
    """

    @classmethod
    def __class_getitem__(cls, item, /):
        return types.GenericAlias(cls, item)


@cython.final
cdef class async_unbounded:
    """unbounded()
    --

    As ferrule.unbounded(), but gives the async faces (aio.Sender, aio.Receiver).

    Complexity  O(1).
    Threads     Safe: nothing is shared.
    Blocks      never.
    Calls you   never.
    Errors      none.
    """

    @classmethod
    def __class_getitem__(cls, item, /):
        return types.GenericAlias(cls, item)
