"""What seeded faults of the map showed to be untested: tables half moved, comparisons that change them, one instant.

Some of it needs keys at chosen places of a table: `placed()` makes them, and the tests check that they got there.
"""

import gc
import weakref

from ferrule import ConcurrentMap, FrozenMap
from tests.support.hostile import calling, hostile
from tests.support.leaks import in_subprocess
from tests.support.maps import CLASH, Key, assert_at_rest, entered, in_thread, waiting
from tests.support.race import spawn

SLOTS = 512
MOST = SLOTS * 2 // 3
"""The keys that a table of so many slots takes before it grows."""

GOLDEN = 0x9E3779B97F4A7C15


def placed(place, name=None):
    """A key that belongs at that place of a table, of `SLOTS` slots or any other number: 0 <= place < SLOTS."""
    bits = int(place * 2**64) // SLOTS * pow(GOLDEN, -1, 2**64) % 2**64
    code = bits ^ bits >> 32
    return Key(place if name is None else name, code - 2**64 if code >> 63 else code)


def filled(places):
    """A map whose table has `SLOTS` slots, a key at each of the places, and room for no other one."""
    m = ConcurrentMap({placed(place): place for place in places}, shards=1, capacity=MOST)
    assert m.capacity == len(m) == MOST
    assert m.stats()[0]["longest_probe"] == 1
    return m


class TestHalfMoved:
    """While a table is being replaced."""

    def test_what_is_inserted_far_from_all_that_was_moved_is_not_lost(self):
        places = [*range(SLOTS - MOST, SLOTS)]  # the first third is empty, and moved with the first insertions
        m = filled(places)
        more = [*range(9), 150, *range(9, 30)]
        for place in more:
            m[placed(place)] = place
            m._check()
        assert m.capacity > MOST
        assert_at_rest(m, {placed(place): place for place in places + more})

    def test_an_iterator_goes_on_where_the_old_table_does(self):
        places = [*range(31), *range(32, MOST + 1)]
        m = filled(places)
        m[placed(31.5)] = 31.5  # 32 slots are moved, and hold as many keys as an iterator takes at once
        assert sorted(m.values()) == sorted([*places, 31.5])
        assert sorted(key.name for key in m) == sorted([*places, 31.5])
        assert_at_rest(m)

    def test_a_snapshot_and_a_copy_have_both_tables(self):
        m, d = ConcurrentMap(shards=1), {}
        for n in range(400):
            m[n] = d[n] = -n
            assert m.snapshot() == m.copy().snapshot() == m.freeze() == d
        for n in range(390):
            del m[n], d[n]
            assert m.snapshot() == m.copy().snapshot() == m.freeze() == d
        assert_at_rest(m, d)

    def test_popitem_takes_from_both_tables(self):
        m = ConcurrentMap({placed(place): place for place in range(MOST)}, shards=1)
        for place in reversed(range(60, MOST)):
            del m[placed(place)]  # so few are left that the table is replaced, and all of them are moved first
        assert sorted(m.popitem()[1] for _ in range(60)) == [*range(60)]
        assert_at_rest(m, {})


class TestRoom:
    def test_a_table_full_of_removed_keys_is_replaced_by_one_for_those_that_are_there(self):
        m = ConcurrentMap(((n, n) for n in range(100)), shards=1)
        m.shrink()
        capacity = m.capacity
        assert 100 < capacity <= 200
        for n in range(100, 5000):
            m[n] = n
            del m[n - 100]
            assert m.capacity == capacity
        assert_at_rest(m, {n: n for n in range(4900, 5000)})

    def test_what_was_reserved_is_kept_until_shrink(self):
        m = ConcurrentMap(shards=1)
        m.reserve(1000)
        capacity = m.capacity
        m.update((n, n) for n in range(1000))
        for n in range(1000):
            del m[n]
            assert m.capacity == capacity
        m.shrink()
        assert m.capacity < 10
        assert_at_rest(m, {})


class TestKeys:
    def test_ints_of_equal_hash_and_opposite_sign_are_told_apart(self):
        keys = [CLASH, -CLASH, 0, 2 * CLASH, -2 * CLASH]
        m = ConcurrentMap((key, key) for key in keys)
        assert [m[key] for key in keys] == keys
        assert_at_rest(m, {key: key for key in keys})

    def test_one_inserted_during_a_comparison_is_behind_the_last_of_its_hash(self):
        """Not in the slot of a removed one before it, where the look that runs the comparison would not meet it."""
        first, second, third = 5, 5 + CLASH, 5 + 2 * CLASH

        class Inserting(Key):
            def __eq__(self, other):
                if second in m and third not in m:
                    spawn(m.__setitem__, third, "theirs").result()
                return other == third

            __hash__ = Key.__hash__

        m = ConcurrentMap([(first, 1), (second, 2)], shards=1)
        del m[first]
        assert m.setdefault(Inserting("third", 5), "ours") == "theirs"
        assert_at_rest(m, {second: 2, third: "theirs"})

    def test_one_that_took_the_place_of_the_compared_one_is_compared_itself(self):
        stored, other = Key("stored", 13), Key("other", 13)

        class Exchanging(Key):
            def __eq__(self, key):
                if key is stored:
                    m.pop(stored)
                    m[other] = 2
                return key is stored

            __hash__ = Key.__hash__

        for call in (
            lambda m, key: m.get(key, "absent"),
            lambda m, key: m.pop(key, "absent"),
            lambda m, key: m.insert(key, 3, "absent"),
            lambda m, key: m.setdefault(key, "absent"),
        ):
            m = ConcurrentMap({stored: 1}, shards=1)
            assert call(m, Exchanging("mine", 13)) == "absent"
            assert m[other] == 2
            assert_at_rest(m)

    def test_a_table_replaced_during_a_comparison_is_not_read_again(self):
        """The key that was compared has the same place in the new table, which alone says nothing."""
        stored = placed(0)

        class Reserving(Key):
            def __eq__(self, other):
                m.reserve(len(reserved) * 1000 + 1000)
                reserved.append(other)
                return True

            __hash__ = Key.__hash__

        for _ in range(20):
            reserved = []
            m = ConcurrentMap({stored: "value"}, shards=1)
            mine = Reserving("mine", hash(stored))
            assert m.get(mine) == "value"
            assert m.insert(mine, "new") == "value"
            assert m.pop(mine) == "new"
            assert len(reserved) >= 3
            assert_at_rest(m, {})

    def test_what_clear_removes_one_by_one_dies(self):
        keys = [Key(n, n) for n in range(10)]
        seen = [weakref.ref(key) for key in keys]
        m = ConcurrentMap(dict.fromkeys(keys))
        m["held"] = 1
        held = in_thread(m.entry, "held")
        clearing = waiting(m.clear)
        held.release()
        clearing.result()
        assert_at_rest(m, {})
        keys.clear()
        gc.collect()
        assert [key() for key in seen] == [None] * 10


def test_entries_wait_for_the_same_key_first_in_whatever_order_they_are_given():
    maps = [ConcurrentMap(), ConcurrentMap()]
    held = [in_thread(m.entry, key) for m, key in zip(maps, "ab", strict=True)]
    waiters = [waiting(lambda m=m, keys=keys: m.entries(*keys).release()) for m in maps for keys in ("ab", "ba")]
    # Behind the first key of the order nobody holds the other one; behind the second, one of the two holds the first.
    assert sorted(map(entered, maps)) == [1, 2]
    for entry in held:
        entry.release()
    for waiter in waiters:
        waiter.result()
    for m in maps:
        assert_at_rest(m, {})


class TestOneInstant:
    def test_get_many_sees_no_key_that_came_between_two_of_its_looks(self):
        stored = Key("stored", 5)

        class Inserting(Key):
            def __eq__(self, other):
                if "first" not in m:
                    m["first"] = 1
                    m[stored] = 1
                return self.name == other.name

            __hash__ = Key.__hash__

        m = ConcurrentMap({stored: 0})
        assert m.get_many(["first", Inserting("stored", 5)]) in ([None, 0], [1, 0], [1, 1])
        assert_at_rest(m)

    def test_a_destructor_sees_all_of_set_many(self):
        seen = []
        m = ConcurrentMap()
        for key in "abc":
            m[key] = hostile(__del__=calling(lambda: seen.append(m.get_many("abcd"))))
        m.set_many(dict.fromkeys("abcd", "new"))
        gc.collect()
        assert seen == [["new"] * 4] * 3
        assert_at_rest(m, dict.fromkeys("abcd", "new"))

    def test_a_hash_that_writes_is_no_part_of_the_snapshot_that_calls_it(self):
        class Writing(Key):
            armed = False

            def __hash__(self):
                if Writing.armed:
                    Writing.armed = False
                    m.set_many(dict.fromkeys(keys, 1))
                return super().__hash__()

            __eq__ = Key.__eq__

        keys = [Writing(n, n) for n in range(50)]
        for take in (ConcurrentMap.snapshot, ConcurrentMap.freeze, FrozenMap):
            m = ConcurrentMap(dict.fromkeys(keys, 0), shards=8)
            Writing.armed = True
            taken = take(m)
            assert not Writing.armed
            assert taken == dict.fromkeys(keys, 0)
            assert m == dict.fromkeys(keys, 1)


def test_who_is_disturbed_by_a_signal_keeps_the_place_in_the_queue():
    in_subprocess("""
        import signal, threading
        from ferrule import ConcurrentMap
        from tests.support.maps import assert_at_rest, in_thread, sleeps, this_thread, waiting
        from tests.support.race import HANG, eventually, spawn

        MAIN, SLEEPER = threading.main_thread().ident, this_thread()
        m = ConcurrentMap({"k": []})
        seen = []
        signal.signal(signal.SIGUSR1, lambda *_: seen.append(True))
        held = in_thread(m.entry, "k")

        def second():
            with m.entry("k", timeout=HANG) as e:
                e.value = e.value + ["second"]

        def direct():
            eventually(lambda: sleeps(SLEEPER))
            behind = waiting(second)
            for count in range(10):
                signal.pthread_kill(MAIN, signal.SIGUSR1)
                eventually(lambda: len(seen) == count + 1 and sleeps(SLEEPER))
            held.release()      # who has waited so long is handed the entry
            return behind

        directing = spawn(direct)
        with m.entry("k", timeout=HANG) as e:
            e.value = e.value + ["first"]
        directing.result().result()
        assert_at_rest(m, {"k": ["first", "second"]})
    """)
