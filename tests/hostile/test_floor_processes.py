"""Forks with waiters of every kind, interpreters that end under waiters, subinterpreters."""

import os
import sys

import pytest

from tests.support.leaks import in_subprocess

pytest.importorskip("ferrule._core.probe", reason="built without FERRULE_PROBE=1")

SETUP = """
import asyncio, gc, os, signal, sys, threading, warnings
from ferrule import Timeout
from ferrule._core.parking import sleepers
from ferrule._core.probe import Gate, Several
from tests.support.driver import LoopThread, new_loop, run, turns
from tests.support.processes import in_child, interrupt, signal_when
from tests.support.race import HANG, eventually, spawn

warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested

def workload(gate):
    # Threads and tasks of two loops, each many times over the gate, which has one permit.
    async def take_turns():
        for _ in range(20):
            await gate.wait_async(timeout=HANG)
            await asyncio.sleep(0)
            gate.release()
    def take_turns_in_thread():
        for _ in range(20):
            gate.wait(timeout=HANG)
            gate.release()
    async def main():
        await asyncio.gather(take_turns(), take_turns())
    running = [spawn(take_turns_in_thread) for _ in range(3)] + [spawn(lambda: run(main())) for _ in range(2)]
    for one in running:
        one.result()
    assert (gate.permits, gate.waiting) == (1, 0)
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")


def in_process(code, **named):
    return in_subprocess(SETUP + code, timeout=90, **named)


def test_a_fork_with_parked_threads_and_tasks_leaves_a_working_child():
    in_process("""
gate = Gate()
threads = [spawn(gate.wait) for _ in range(10)]
with LoopThread() as there, LoopThread() as elsewhere:
    tasks = [loop.spawn(gate.wait_async()) for loop in (there, elsewhere) for _ in range(10)]
    eventually(lambda: gate.waiting == 30)
    eventually(lambda: len(sleepers()) == 30)

    def work():
        assert (gate.permits, gate.waiting) == (0, 0), "nobody who waited is here"
        assert sleepers() == []
        try:
            gate.wait(timeout=0.01)
        except Timeout:
            pass
        assert not gate.hand()
        gate.release()
        assert gate.permits == 1
        workload(gate)
        workload(Gate(1))
        gc.collect()
        assert sleepers() == []

    in_child(work)
    spawn(in_child, work).result()
    in_child(lambda: in_child(work))
    assert gate.waiting == 30, "the parent goes on"
    assert len(sleepers()) == 30
    gate.release(30)
    assert [one.result() for one in threads] == [True] * 10
    assert [task.result(HANG) for task in tasks] == [True] * 20
assert (gate.permits, gate.waiting) == (0, 0)
""")


def test_a_fork_with_waiters_on_several_gates():
    in_process("""
gates = [Gate() for _ in range(3)]
waiting = [spawn(Several(*gates).wait) for _ in range(5)]
eventually(lambda: [gate.waiting for gate in gates] == [5, 5, 5])

def work():
    assert [gate.waiting for gate in gates] == [0, 0, 0]
    several = Several(*gates)
    again = spawn(several.wait)
    eventually(lambda: gates[2].waiting == 1)
    gates[2].release()
    assert again.result()
    assert [(gate.permits, gate.waiting) for gate in gates] == [(0, 0)] * 3

in_child(work)
gates[1].release(5)
assert [one.result() for one in waiting] == [True] * 5
assert [(gate.permits, gate.waiting) for gate in gates] == [(0, 0)] * 3
""")


@pytest.mark.parametrize("end", ["close", "throw", "drop", "keep"])
def test_a_coroutine_that_was_parked_before_the_fork_can_be_ended_in_the_child(end):
    in_process(f"""
gate = Gate()

async def main():
    coroutine = gate.wait_async()
    coroutine.send(None)

    def work():
        nonlocal coroutine
        assert gate.waiting == 0
        match {end!r}:
            case "close":
                coroutine.close()
            case "throw":
                try:
                    coroutine.throw(KeyError)
                except KeyError:
                    pass
            case "drop":
                coroutine = None
                gc.collect()
        gate.release()
        assert (gate.permits, gate.waiting) == (1, 0)
        workload(gate)

    spawn(in_child, work).result()
    assert gate.waiting == 1
    gate.release()
    try:
        coroutine.send(None)
    except StopIteration as stop:
        assert stop.value is True
    assert (gate.permits, gate.waiting) == (0, 0)

asyncio.run(main())
""")


def test_a_fork_between_a_claim_and_its_delivery():
    """What was on its way to a loop is not here: the permits are."""
    in_process("""
gate = Gate()
loop = new_loop("asyncio")

async def park():
    tasks = [asyncio.ensure_future(gate.wait_async()) for _ in range(3)]
    await asyncio.sleep(0)
    return tasks

tasks = loop.run_until_complete(park())
gate.release(3)

def work():
    assert (gate.permits, gate.waiting) == (3, 0)
    for _ in range(2):
        gate.wait(timeout=0)
    workload(gate)

in_child(work)
assert loop.run_until_complete(asyncio.gather(*tasks)) == [True] * 3
loop.close()
assert (gate.permits, gate.waiting) == (0, 0)
""")


def test_a_fork_while_everybody_comes_and_goes():
    in_process("""
gate = Gate(3)
stop = threading.Event()

def hammer():
    while not stop.is_set():
        try:
            gate.wait(timeout=0.0005, spinning=True)
        except Timeout:
            continue
        gate.release()

async def hammer_async():
    while not stop.is_set():
        try:
            await gate.wait_async(timeout=0.0005)
        except Timeout:
            continue
        gate.release()

async def many():
    await asyncio.gather(*(hammer_async() for _ in range(4)))

hammering = [spawn(hammer) for _ in range(8)] + [spawn(lambda: run(many())) for _ in range(2)]

def work():
    assert gate.waiting == 0
    fresh = Gate(1)
    workload(fresh)
    gate.release()
    gate.wait(timeout=0)
    sleepers()

for _ in range(5):
    in_child(work)
stop.set()
for one in hammering:
    one.result()
assert (gate.permits, gate.waiting) == (3, 0)
""")


def test_a_fork_in_a_signal_handler_of_a_waiting_thread():
    in_process("""
gate = Gate()
child = []

def handler(*_):
    child.append(os.fork())

signal.signal(signal.SIGUSR1, handler)
parent = os.getpid()

def act():
    eventually(lambda: sleepers())
    interrupt(signal.SIGUSR1)
    eventually(lambda: child and sleepers())
    gate.release()

actor = spawn(act)
try:
    gate.wait(timeout=HANG if os.getpid() == parent else 1)
    if os.getpid() != parent:
        os._exit(1)
except Timeout:
    os._exit(1)
finally:
    if os.getpid() != parent:
        os._exit(1)
actor.result()
os.kill(child[0], signal.SIGKILL)
os.waitpid(child[0], 0)
assert (gate.permits, gate.waiting) == (0, 0)
""")


def test_the_child_of_a_signal_handler_goes_on_waiting():
    in_process("""
gate = Gate()
children = []

def handler(*_):
    pid = os.fork()
    if pid == 0:
        spawn(lambda: (eventually(lambda: gate.waiting == 1), gate.release()))
    children.append(pid)

signal.signal(signal.SIGUSR1, handler)
sender = signal_when(sleepers, signal.SIGUSR1)
gave = spawn(lambda: (eventually(lambda: children and sleepers()), gate.release()))
assert gate.wait()
if children[0] == 0:
    os._exit(0 if (gate.permits, gate.waiting) == (0, 0) and sleepers() == [] else 1)
sender.result()
gave.result()
assert os.waitpid(children[0], 0)[1] == 0
assert (gate.permits, gate.waiting) == (0, 0)
""")


@pytest.mark.parametrize("how", ["thread", "task", "several", "coroutine"])
def test_an_interpreter_that_ends_while_somebody_waits(how):
    in_process(f"""
gate = Gate()
match {how!r}:
    case "thread":
        for _ in range(10):
            threading.Thread(target=gate.wait, daemon=True).start()
            threading.Thread(target=gate.wait, kwargs=dict(timeout=0.001, spinning=True), daemon=True).start()
        eventually(lambda: gate.waiting >= 10)
    case "several":
        for _ in range(10):
            threading.Thread(target=Several(gate, Gate()).wait, daemon=True).start()
        eventually(lambda: gate.waiting == 10)
    case "task":
        def run_for_ever():
            asyncio.run(gate.wait_async())
        for _ in range(10):
            threading.Thread(target=run_for_ever, daemon=True).start()
        eventually(lambda: gate.waiting == 10)
    case "coroutine":
        async def main():
            global kept
            kept = gate.wait_async()
            kept.send(None)
        asyncio.run(main())
        claimed = gate.claim()
print("end")
""")


def test_a_subinterpreter_refuses_the_import():
    if sys.version_info >= (3, 13):
        create = "_interpreters.create('legacy')"
        execute = "problem = _interpreters.exec(interpreter, code)"
        module = "_interpreters"
    else:
        create = "_xxsubinterpreters.create(isolated=False)"
        execute = "problem = _xxsubinterpreters.run_string(interpreter, code)"
        module = "_xxsubinterpreters"
    pytest.importorskip(module, reason="this Python has no module to make subinterpreters with")
    in_process(f"""
import {module}
interpreter = {create}
path = sys.path
code = f'''
import sys
sys.path[:] = {{path!r}}
for name in ("ferrule", "ferrule._core.parking", "ferrule._core.probe"):
    try:
        __import__(name)
    except ImportError:
        continue
    raise SystemError("imported " + name)
'''
{execute}
assert problem is None, problem
gate = Gate(1)
assert gate.wait()
""")
