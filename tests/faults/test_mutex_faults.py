"""A Mutex where allocations fail."""

import pytest

from tests.support.leaks import in_subprocess


@pytest.mark.parametrize("call", ["mutex.lock(timeout=0)", "mutex.lock(timeout=0.0001)", "held.lock()"])
def test_a_refusal_without_memory_is_still_one(call):
    """Each allocation fails in turn: what is raised is the refusal or MemoryError, and no lock is given."""
    pytest.importorskip("_testcapi", reason="this interpreter was built without its test modules")
    in_subprocess(f"""
        import _testcapi
        from ferrule import Mutex, Timeout, WouldDeadlock
        from tests.support.race import spawn

        mutex, held = Mutex(), Mutex()
        spawn(mutex.acquire).join()
        guard = held.lock()
        seen = set()
        for number in range(60):
            result = None
            try:
                _testcapi.set_nomemory(number, number + 1)
                result = {call}
            except (MemoryError, Timeout, WouldDeadlock) as error:
                result = error
            _testcapi.remove_mem_hooks()
            assert isinstance(result, (MemoryError, Timeout, WouldDeadlock)), (number, result)
            seen.add(type(result))
        assert len(seen) == 2, seen
        guard.release()
        mutex.release()
    """)
