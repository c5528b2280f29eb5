"""The room of reads without a latch, by itself: what is kept, for whom, and until when; the threads' records."""

import gc
import threading
import weakref

import pytest

from tests.support.leaks import in_subprocess
from tests.support.maps import in_thread
from tests.support.race import GIL, HANG, run_together, spawn

probe = pytest.importorskip("ferrule._core.probe", reason="built without FERRULE_PROBE=1")

without_gil = pytest.mark.skipif(GIL, reason="with the GIL nobody writes while another thread reads")


class Value:
    pass


class Reader:
    """A thread in the middle of a read of the cell, until leave()."""

    def __init__(self, cell):
        entered, self._left = threading.Event(), threading.Event()

        def inside():
            entered.set()
            assert self._left.wait(HANG)

        self._running = spawn(cell.inside, inside)
        assert entered.wait(HANG)

    def leave(self):
        self._left.set()
        self._running.result()


def filled():
    """A cell, and a weak reference to its value."""
    value = Value()
    return probe.Cell(value), weakref.ref(value)


def replaced(cell):
    """Puts a new value into the cell; gives a weak reference to it."""
    value = Value()
    cell.set(value)
    return weakref.ref(value)


def test_with_nobody_inside_a_value_dies_when_it_is_replaced():
    cell, value = filled()
    assert in_thread(cell.get) is value()
    cell.set(None)
    assert value() is None
    assert (cell.get(), cell.kept()) == (None, 0)


@without_gil
def test_a_value_that_a_reader_may_see_is_kept_until_the_next_write_after_it_left():
    cell, value = filled()
    reader = Reader(cell)
    cell.set(1)
    assert value() is not None
    cell.set(2)
    assert value() is not None
    assert cell.kept() == 2
    reader.leave()
    assert value() is not None
    cell.set(3)
    assert value() is None
    assert cell.kept() == 0


@without_gil
def test_collect_releases_it_without_a_write():
    cell, value = filled()
    reader = Reader(cell)
    cell.set(1)
    reader.leave()
    cell.collect()
    assert (value(), cell.kept()) == (None, 0)


@without_gil
def test_collect_waits_for_who_is_inside():
    cell, value = filled()
    reader = Reader(cell)
    cell.set(1)
    collecting = spawn(cell.collect)
    collecting.thread.join(0.05)
    assert collecting.alive
    reader.leave()
    collecting.result()
    assert (value(), cell.kept()) == (None, 0)


@without_gil
def test_nobody_waits_for_who_came_later():
    cell, value = filled()
    first = Reader(cell)
    second_value = replaced(cell)
    second = Reader(cell)
    first.leave()
    cell.set(1)
    assert value() is None  # the second has not seen it
    assert second_value() is not None
    third = Reader(cell)
    second.leave()
    cell.set(2)
    assert second_value() is None
    assert cell.kept() == 1
    third.leave()
    cell.collect()
    assert cell.kept() == 0


@without_gil
def test_who_came_first_keeps_what_who_came_last_does_not():
    cell, value = filled()
    first = Reader(cell)
    cell.set(1)
    second = Reader(cell)
    cell.set(2)
    assert value() is not None
    first.leave()
    second.leave()
    cell.collect()
    assert value() is None


@without_gil
def test_a_reader_with_a_record_of_a_later_block_keeps_what_it_may_see():
    other = probe.Cell(0)
    others = [Reader(other) for _ in range(40)]
    cell, value = filled()
    reader = Reader(cell)
    cell.set(1)
    assert value() is not None
    for each in [reader, *others]:
        each.leave()
    cell.collect()
    assert value() is None


@without_gil
def test_who_reads_another_cell_keeps_nothing():
    cell, value = filled()
    reader = Reader(probe.Cell(0))
    cell.set(1)
    assert (value(), cell.kept()) == (None, 0)
    reader.leave()


@without_gil
def test_a_thread_that_goes_from_cell_to_cell_is_inside_the_last_one_only():
    cell, value = filled()
    other = probe.Cell(0)
    moved, left = threading.Event(), threading.Event()

    def read_both():
        cell.inside(lambda: None)
        other.inside(lambda: (moved.set(), left.wait(HANG)))

    reading = spawn(read_both)
    assert moved.wait(HANG)
    cell.set(1)
    assert value() is None
    left.set()
    reading.result()


@without_gil
def test_what_is_kept_ends_with_its_cell():
    cell, value = filled()
    reader = Reader(cell)
    cell.set(1)
    reader.leave()
    del reader  # and its references to the cell
    del cell
    gc.collect()
    assert value() is None


@without_gil
def test_the_collector_sees_what_is_kept():
    cell, value = filled()
    value().cell = cell
    reader = Reader(cell)
    cell.set(1)
    reader.leave()
    gc.collect()
    assert value() is not None
    del cell, reader
    gc.collect()
    assert value() is None


@without_gil
def test_a_destructor_may_use_the_cell_that_releases_it():
    cell = probe.Cell(0)
    seen = []

    class Dying:
        def __del__(self):
            seen.append(cell.get())
            cell.set("its")

    cell.set(Dying())
    reader = Reader(cell)
    cell.set("new")
    reader.leave()
    cell.collect()
    assert seen == ["new"]
    assert (cell.get(), cell.kept()) == ("its", 0)


def test_a_racing_reader_gets_a_value_that_is_alive(seconds):
    """A value that is released while a reader is on its way to it would be memory of something else by then."""
    cell = probe.Cell([0])
    stop = []

    def read():
        last = count = 0
        while not stop:
            [number] = cell.get()
            assert number >= last
            last, count = number, count + 1
        return count

    def write():
        for number in range(int(20_000 * min(1, seconds))):
            cell.set([number])
        stop.append(True)

    counts = run_together(read, read, write)
    assert all(count is None or count >= 0 for count in counts)
    cell.collect()
    assert cell.kept() == 0


@without_gil
def test_a_thread_that_ends_gives_its_record_back():
    in_subprocess("""
from ferrule._core import probe
from tests.support.maps import in_thread
from tests.support.race import eventually

cell = probe.Cell(0)
assert probe.records() == (0, 0)
for _ in range(100):
    in_thread(cell.get)
    # The thread's own end comes a little after Python's.
    eventually(lambda: probe.records()[0] == 0)
assert probe.records() == (0, 1)
cell.get()
assert probe.records() == (1, 1)
""")


@without_gil
def test_there_is_a_record_for_each_of_many_threads():
    in_subprocess("""
import threading
from ferrule._core import probe
from tests.support.race import HANG, eventually, run_together

cell = probe.Cell(0)
all_here = threading.Barrier(50)

def read():
    cell.get()
    all_here.wait(HANG)
    return probe.records()

assert {records[1] for records in run_together(*[read] * 50)} == {50}
eventually(lambda: probe.records()[0] == 0)
cell.get()
assert probe.records() == (1, 50)
""")


@without_gil
def test_the_child_of_a_fork_has_the_record_of_its_one_thread():
    in_subprocess("""
import threading, warnings
from ferrule._core import probe
from tests.support.processes import in_child
from tests.support.race import HANG, run_together, spawn

warnings.simplefilter("ignore", DeprecationWarning)
cell = probe.Cell(0)
here, go = threading.Barrier(21), threading.Event()

def read():
    cell.get()
    here.wait(HANG)
    assert go.wait(HANG)

others = [spawn(read) for _ in range(20)]
here.wait(HANG)

def work():
    assert probe.records()[0] <= 1
    run_together(*[cell.get] * 20)
    assert probe.records()[1] <= 21
    cell.set(1)
    cell.collect()
    assert (cell.get(), cell.kept()) == (1, 0)

in_child(work)
cell.get()
in_child(work)
go.set()
for other in others:
    other.result()
in_child(work)
""")
