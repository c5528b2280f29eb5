"""Each program in examples/ ends well and prints what its docstring says."""

import pytest

from tests.support.examples import EXAMPLES, check_it_prints

PROGRAMS = sorted(EXAMPLES.glob("*.py"))


def test_there_are_examples():
    assert PROGRAMS


@pytest.mark.parametrize("example", PROGRAMS, ids=lambda path: path.name)
def test_it_prints_what_it_says(example):
    check_it_prints(example)
