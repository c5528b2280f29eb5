"""Keys, values, entries and iterators that use the map at the worst moment, or take it with them into the garbage."""

import gc
import weakref

import pytest

from ferrule import ConcurrentMap, ConcurrentSet, Entry, FrozenMap, WouldDeadlock
from tests.support import maps
from tests.support.hostile import calling, hostile, raising, resurrecting, unraisable, yielding
from tests.support.leaks import assert_no_leak, in_subprocess
from tests.support.maps import Key, assert_at_rest, entered, waiting
from tests.support.race import HANG, eventually, outcome, run_together, spawn

ENDS = maps.ENDS | {"entry": lambda m: replace_in_entry(m, "k")}


def replace_in_entry(m, key):
    with m.entry(key) as e:
        e.value = "new"


class TestValues:
    """A value that is replaced or removed dies with no latch held, and with the change in effect."""

    @pytest.mark.parametrize("end", ENDS)
    def test_a_destructor_that_uses_the_map(self, end):
        m, seen = ConcurrentMap(), []

        def use():
            seen.append(m.get("k", "gone"))
            m["other"] = len(m)
            m._check()
            m.update((n, n) for n in range(100))
            for n in range(100):
                del m[n]
            del m["other"]

        m["k"] = hostile(__del__=calling(use))
        ENDS[end](m)
        gc.collect()
        [left] = seen
        assert left in ("new", "gone")
        assert_at_rest(m, {} if left == "gone" else {"k": "new"})

    @pytest.mark.parametrize("end", ENDS)
    def test_a_destructor_that_sets_the_same_key(self, end):
        """It wins if the key is free by then; from inside the entry it would wait for itself."""
        m, seen = ConcurrentMap(), []
        m["k"] = hostile(__del__=calling(lambda: seen.append(outcome(m.__setitem__, WouldDeadlock)("k", "its"))))
        ENDS[end](m)
        gc.collect()
        assert seen in ([None], [WouldDeadlock])
        assert m.get("k", "gone") in ("its", "new", "gone")
        assert_at_rest(m)

    @pytest.mark.parametrize("end", ENDS)
    def test_a_destructor_that_raises_is_reported_and_changes_nothing(self, end):
        m = ConcurrentMap({"k": hostile(__del__=raising(LookupError("mine")))})
        with unraisable() as reported:
            ENDS[end](m)
            gc.collect()
        assert [type(error) for error in reported] == [LookupError]
        assert m.get("k", "gone") in ("new", "gone")
        assert_at_rest(m)

    def test_a_destructor_that_clears_the_map_it_is_cleared_from(self):
        m = ConcurrentMap()
        for n in range(50):
            m[n] = hostile(__del__=calling(m.clear))
        m.clear()
        gc.collect()
        assert_at_rest(m, {})

    def test_a_destructor_that_fills_the_map_it_is_cleared_from(self):
        m = ConcurrentMap(shards=1)  # clear() goes on with the next shard, if there is one
        for n in range(50):
            m[n] = hostile(__del__=calling(lambda n=n: m.__setitem__(f"new {n}", n)))
        m.clear()
        gc.collect()
        assert_at_rest(m, {f"new {n}": n for n in range(50)})

    def test_a_destructor_that_waits_for_a_thread_that_uses_the_same_key(self):
        m = ConcurrentMap()
        m["k"] = hostile(__del__=calling(lambda: spawn(m.increment, "k").result()))
        m["k"] = 5
        gc.collect()
        assert_at_rest(m, {"k": 6})

    def test_a_destructor_that_releases_the_entry_it_is_replaced_through(self):
        m = ConcurrentMap()
        e = m.entry("k")
        e.value = hostile(__del__=calling(e.release))
        e.value = "new"
        with pytest.raises(RuntimeError):
            e.release()
        assert_at_rest(m, {"k": "new"})

    def test_a_value_that_comes_back_to_life(self):
        m, grave = ConcurrentMap(), []
        m["k"] = hostile(__del__=resurrecting(grave))
        del m["k"]
        m["k"] = grave.pop()
        assert_at_rest(m)
        assert m.pop("k") is not None

    def test_a_value_that_brings_its_map_back_to_life(self):
        grave = []

        class Value:
            def __del__(self):
                grave.append(self.map)

        m = ConcurrentMap()
        m["k"] = Value()
        m["k"].map = m
        m["j"] = 1
        del m
        gc.collect()
        [m] = grave
        assert m["j"] == 1
        assert type(m["k"]) is Value
        m["k"] = 2
        assert_at_rest(m, {"k": 2, "j": 1})

    def test_values_that_yield_to_other_threads_while_they_die(self):
        m = ConcurrentMap()

        def replace():
            for n in range(200):
                m[n % 5] = hostile(__del__=yielding())
                m.pop((n + 2) % 5, None)

        run_together(replace, replace, replace)
        m.clear()
        gc.collect()
        assert_at_rest(m, {})

    def test_every_value_dies_once(self):
        died = []
        m = ConcurrentMap((n, hostile(__del__=calling(lambda n=n: died.append(n)))) for n in range(1000))
        for n in range(0, 1000, 3):
            m[n] = None
        for n in range(1, 1000, 3):
            del m[n]
        del m
        gc.collect()
        assert sorted(died) == list(range(1000))


class TestKeys:
    @pytest.mark.parametrize("end", [lambda m, key: m.pop(key), lambda m, key: m.popitem(), lambda m, key: m.clear()])
    def test_a_stored_key_dies_when_it_is_removed(self, end):
        key = Key("k")
        reference = weakref.ref(key)
        m = ConcurrentMap({key: 1})
        del key
        assert reference() is not None
        end(m, Key("k"))
        gc.collect()
        assert reference() is None

    def test_a_key_whose_destructor_uses_the_map(self):
        m = ConcurrentMap()
        for n in range(20):
            m[hostile(__hash__=lambda self: 1, __del__=calling(lambda n=n: m.__setitem__(n, n)))] = n
        m.retain(lambda key, value: type(key) is int)
        gc.collect()
        assert_at_rest(m, {n: n for n in range(20)})

    def test_an_equal_key_that_was_only_asked_for_is_not_kept(self):
        m = ConcurrentMap({Key("k"): 1})
        asked = Key("k")
        reference = weakref.ref(asked)
        m[asked] = 2
        m.insert(asked, 3)
        m.setdefault(asked, 4)
        m.increment(asked)
        m.set_many({asked: 5})
        with m.entry(asked) as e:
            e.value = 6
        del asked, e
        gc.collect()
        assert reference() is None
        assert_at_rest(m, {Key("k"): 6})


CYCLES = {
    "a map in itself": "m[1] = m",
    "a key": "k = Key(1); k.map = m; m[k] = 1",
    "an entry in force": "e = m.entry(1); e.value = [e]; del e",
    "an entry that was released": "e = m.entry(1); e.value = e; e.release()",
    "an entry and the stored key": "k = Key(1); m[k] = 1; e = m.entry(Key(1)); e.remove(); k.entry = e; e.release()",
    "entries": "es = m.entries(1, 2); es[0].value = es; es.release()",
    "an iterator": "it = iter(m); m[1] = it; m[2] = it; next(it)",
    "an iterator's last pair": "it = iter(m.items()); m[1] = it; next(it); m.clear()",
    "a key that an iterator has taken": """
        it = iter(m)
        m.update(((it, n), n) for n in range(3))
        next(it)
        m.clear()
    """,
    "views": "m[1] = m.keys(); m[2] = m.values(); m[3] = m.items()",
    "a frozen map": "m[1] = [FrozenMap({1: m})]",
    "a set": "k = Key(1); s = ConcurrentSet([k]); k.set = s; it = iter(s); k.iterator = it",
    "two tables": "m.update((n, m) for n in range(50)); [m.pop(n) for n in range(45)]",
}


class TestCollector:
    @pytest.mark.parametrize("cycle", CYCLES)
    def test_collects_cycles_through(self, cycle):
        assert_no_leak(
            f"""
            m = ConcurrentMap(shards=1)
            {cycle_code(CYCLES[cycle])}
            del m
            """,
            setup="""
            import gc, warnings
            from ferrule import ConcurrentMap, ConcurrentSet, FrozenMap
            from tests.support.maps import Key
            warnings.simplefilter("ignore")
            """,
            repeats=300,
        )

    def test_a_map_visited_while_its_tables_are_replaced(self):
        """A collection at each step of growth, with every value in a cycle through the map."""
        m = ConcurrentMap()
        reference = weakref.ref(m)
        for n in range(300):
            m[n] = [m]
            if n % 7 == 0:
                gc.collect()
        for n in range(280):
            del m[n]
            if n % 7 == 0:
                gc.collect()
        assert_at_rest(m)
        assert all(value == [m] for value in m.values())
        del m
        gc.collect()
        assert reference() is None

    def test_an_entry_collected_where_another_thread_waits_for_its_key(self):
        m = ConcurrentMap()

        def abandon():
            cycle = [m.entry("k")]
            cycle.append(cycle)

        gc.disable()
        try:
            abandon()
            waiter = waiting(lambda: m.insert("k", 1))
            with pytest.warns(ResourceWarning, match="entry"):
                gc.collect()
        finally:
            gc.enable()
        waiter.result()
        assert_at_rest(m, {"k": 1})

    def test_everything_with_a_collection_at_every_allocation(self):
        in_subprocess("""
            import gc, warnings
            from ferrule import ConcurrentMap
            from tests.support.maps import Key, assert_at_rest
            from tests.support.race import run_together
            warnings.simplefilter("ignore", ResourceWarning)
            m = ConcurrentMap()

            def work(number):
                for n in range(60):
                    m.increment("count")
                    key = Key((number, n), n % 3)
                    m[key] = [m, key]
                    with m.entry("held") as e:
                        e.value = (e.get() or ()) + (n,)
                    assert m.pop(key)[1] is key
                    m[number, n] = iter(m.items())
                    next(m[number, n])
                    m.compute("computed", lambda old: (old or 0) + 1)
                    m.retain(lambda key, value: key != (number, n))

            gc.set_threshold(1, 1, 1)
            run_together(*(lambda n=n: work(n) for n in range(3)))
            held = m.pop("held")
            assert sorted(held) == sorted([*range(60)] * 3)
            assert_at_rest(m, {"count": 180, "computed": 180})
        """)


def cycle_code(code):
    """The lines of a cycle, indented as the test around them is."""
    lines = [line.strip() for line in code.strip().splitlines()]
    return ("\n" + " " * 12).join(lines)


class TestWeakReferences:
    def test_a_callback_runs_after_the_last_user_is_gone(self):
        seen = []
        m = ConcurrentMap({"k": 1})
        users = [m.keys(), m.values(), iter(m.items()), m.entry("k")]
        users[-1].release()
        reference = weakref.ref(m, lambda dead: seen.append(dead()))
        del m
        while users:
            assert seen == [], f"{users[-1]!r} keeps it"
            users.pop()
        gc.collect()
        assert seen == [None]
        assert reference() is None

    def test_a_callback_that_uses_another_map_inside_its_own_entry(self):
        other, seen = ConcurrentMap({"k": 1}), []

        def callback(_):
            seen.append((other["k"], outcome(other.increment, WouldDeadlock)("k")))

        m = ConcurrentMap()
        reference = weakref.ref(m, callback)
        with other.entry("k"):
            del m
            gc.collect()
        assert seen == [(1, WouldDeadlock)]
        assert reference() is None
        assert_at_rest(other, {"k": 1})

    def test_dies_while_others_look(self):
        for _ in range(100):
            holder = [ConcurrentMap({"k": 1})]
            reference = weakref.ref(holder[0])

            def look(reference=reference):
                if (m := reference()) is not None:
                    return m.increment("k")
                return None

            looked, _, _ = run_together(look, look, holder.clear)
            assert looked in (2, 3, None)
            assert reference() is None


NESTS = {
    "a map": "lambda inner: ConcurrentMap({1: inner})",
    "a map by its keys": "lambda inner: ConcurrentMap({Identity(inner): 1})",
    "a list in a map": "lambda inner: ConcurrentMap({1: [inner]})",
    "a map of shards": "lambda inner: ConcurrentMap({1: inner}, shards=2)",
    "a set": "lambda inner: ConcurrentSet([Identity(inner)])",
    "a frozen map": "lambda inner: FrozenMap({1: inner})",
    "a view": "lambda inner: ConcurrentMap({1: inner}).values()",
    "an iterator": "lambda inner: iter(ConcurrentMap({1: inner}).items())",
    "an iterator's pair": "lambda inner: advanced(iter(ConcurrentMap({1: inner}).items()))",
    "an entry": "lambda inner: ConcurrentMap({1: inner}).entry(1)",
    "an entry's key": "lambda inner: ConcurrentMap().entry(Identity(inner))",
    "entries": "lambda inner: ConcurrentMap({1: inner}).entries(1, 2)",
}


class TestNesting:
    @pytest.mark.parametrize("wrap", NESTS)
    def test_a_deep_nest_is_destroyed(self, wrap):
        depth = 1_000_000 if wrap in {"a map", "a set", "an entry"} else 200_000  # deeper than any stack of C calls
        in_subprocess(
            f"""
            import warnings
            from ferrule import ConcurrentMap, ConcurrentSet, FrozenMap
            from tests.support.hostile import assert_destroyed
            warnings.simplefilter("ignore")

            class Identity:     # hashed by identity, whatever is inside
                __slots__ = ("inner",)
                def __init__(self, inner):
                    self.inner = inner

            def advanced(iterator):
                next(iterator)
                return iterator

            assert_destroyed({depth}, {NESTS[wrap]})
            """,
            timeout=120,
        )

    def test_a_million_deep_cycle_is_collected(self):
        in_subprocess("""
            import gc
            from ferrule import ConcurrentMap
            from tests.support.hostile import nested
            innermost = ConcurrentMap()
            outermost = nested(1_000_000, lambda inner: ConcurrentMap({1: inner}), innermost)
            innermost[1] = outermost
            del outermost, innermost
            assert gc.collect() >= 1_000_000
        """)


class TestExit:
    """An interpreter that ends: no crash, no hang, whatever is held or waited for."""

    @pytest.mark.parametrize("options", [(), ("-X", "dev"), ("-W", "error")], ids=["plain", "dev", "error"])
    def test_with_entries_held_and_iterators_half_way(self, options):
        in_subprocess(
            """
            import sys
            from ferrule import ConcurrentMap, ConcurrentSet, FrozenMap
            m = ConcurrentMap((n, n) for n in range(100))
            e, es = m.entry(1), m.entries(2, 3)
            iterators = iter(m), iter(m.items()), iter(ConcurrentSet(range(50)))
            for iterator in iterators:
                next(iterator)
            views, frozen = (m.keys(), m.values(), m.items()), m.freeze()
            m["module"] = sys.modules[__name__]
            """,
            options=options,
        )

    def test_with_daemon_threads_that_wait_and_that_hammer(self):
        in_subprocess("""
            import threading, time
            from ferrule import ConcurrentMap, Timeout
            m = ConcurrentMap()
            held = m.entry("k")

            def hammer():
                n = 0
                while True:
                    n += 1
                    m.increment("count")
                    m[n % 100] = n
                    m.pop((n + 50) % 100, None)
                    try:
                        m.entry("k", timeout=0.0001).release()
                    except Timeout:
                        pass

            for work in (*[hammer] * 4, *[lambda: m.entry("k")] * 4, *[lambda: m.increment("k")] * 4):
                threading.Thread(target=work, daemon=True).start()
            time.sleep(0.1)
        """)

    def test_with_values_that_use_their_map_while_the_interpreter_ends(self):
        in_subprocess("""
            from ferrule import ConcurrentMap

            class Value:
                def __init__(self, map):
                    self.map = map
                def __del__(self):
                    self.map["from the destructor"] = len(self.map)
                    if (e := self.map.try_entry("other")) is not None:
                        e.release()

            m = ConcurrentMap()
            m["k"] = Value(m)
            m["j"] = Value(m)
            held = m.entry("k")
        """)


def test_an_entry_dropped_by_the_comparison_that_it_runs():
    holder = [ConcurrentMap()]
    holder[0][Key("other")] = 1

    class Dropping(Key):
        def __eq__(self, other):
            holder.clear()
            return False

        __hash__ = Key.__hash__

    holder.append(holder[0].entry(Dropping("mine")))
    seen = []

    def look():
        seen.append(holder[1].present)
        gc.collect()

    with pytest.warns(ResourceWarning, match="entry"):
        look()
    assert (holder, seen) == ([], [False])


def test_a_thread_that_ends_with_an_entry_leaves_it_held():
    m = ConcurrentMap()
    e = spawn(m.entry, "k").result()
    assert type(e) is Entry
    assert entered(m) == 1
    waiter = waiting(lambda: m.entry("k", timeout=HANG).release())
    e.release()
    waiter.result()
    eventually(lambda: entered(m) == 0)
    assert_at_rest(m, {})


def test_methods_refuse_foreign_objects():
    m = ConcurrentMap({"k": 1})
    with m.entry("k") as e:
        for method in (ConcurrentMap.get, ConcurrentMap.entry, ConcurrentMap.clear, ConcurrentSet.add):
            for foreign in (None, {}, e, FrozenMap(), ConcurrentMap):
                with pytest.raises(TypeError):
                    method(foreign, "k")
        for method in (Entry.get, Entry.release, Entry.__enter__, Entry.value.__get__):
            for foreign in (m, object(), Entry):
                with pytest.raises(TypeError):
                    method(foreign)
    assert_at_rest(m, {"k": 1})
