"""The kit that makes allocations fail notices a call that loses something, answers wrongly or cannot be made again."""

import pytest

from tests.support.leaks import in_subprocess

pytest.importorskip("_testcapi", reason="this interpreter was built without its test modules")

SETUP = """
from tests.support.without_memory import every_allocation_fails

class Case:
    def __init__(self):
        self.items, self.tries = [], 0

    def seen(self):
        return list(self.items)

    def rests(self):
        assert self.tries < 3

    def check(self):
        assert None not in self.items

def failed(call, **named):
    return every_allocation_fails(Case, call, (KeyError,), **named)
"""


def run(call, check, returncode=0):
    return in_subprocess(f"{SETUP}\ndef call(case):\n    {call}\n{check}", returncode=returncode)


def test_a_call_that_makes_what_it_needs_before_it_changes_anything():
    run("new = bytearray(100); case.items.append(new)", "assert failed(call) >= 1")


def test_a_call_that_needs_none():
    run("return case.items", "assert failed(call) == 0")


def test_failures_of_its_own_are_answers():
    run("bytearray(100); raise KeyError", "assert failed(call) >= 1")


@pytest.mark.parametrize(
    "call",
    {
        "it has changed something": "case.items.append(1); bytearray(100)",
        "it cannot be made again": "case.tries += 1; 1 // (case.tries < 2); bytearray(100)",
        "it fails in another way": "\n    try: bytearray(100)\n    except MemoryError: raise KeyError",
        "it answers otherwise": "\n    try: bytearray(100)\n    except MemoryError: return 1",
        "it leaves something that is broken": "case.items.append(None)",
        "it is not at rest": "case.tries = 3",
        "it raises what it should not": "raise ValueError",
    }.values(),
)
def test_it_notices(call):
    ended = run(call, "failed(call)", returncode=1)
    assert "AssertionError" in ended.stderr or "ZeroDivisionError" in ended.stderr


def test_a_call_of_several_steps_may_have_done_some():
    run("case.items.append(1); bytearray(100)", "assert failed(call, atomic=False) >= 1")


def test_what_an_answer_is_can_be_said():
    ended = run("return case.tries", "failed(call, answer=lambda result: result / 0)", returncode=1)
    assert "ZeroDivisionError" in ended.stderr
