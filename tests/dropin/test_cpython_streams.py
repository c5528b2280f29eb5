"""CPython's tests of asyncio's streams, against ferrule.aio.streams.

They look into `reader._buffer`, which is there as well; what else they have of asyncio's own is not tested here, and
listed with the reason.
"""

import asyncio

import pytest

from ferrule.aio import streams as ours
from tests.support.cpython import load, put_in_place_of, test_cases

NOT_OURS = {
    "test_read_all_from_pipe_reader": "it makes a StreamReaderProtocol, which is asyncio's own",
    "test_streamreaderprotocol_constructor_without_loop": "of asyncio's own StreamReaderProtocol",
    "test_streamreaderprotocol_constructor_use_running_loop": "of asyncio's own StreamReaderProtocol",
    "test_streamreaderprotocol_constructor_use_global_loop": "of asyncio's own StreamReaderProtocol",
    "test_multiple_drain": "of asyncio's own FlowControlMixin",
    "test_open_unix_connection": "open_unix_connection() is asyncio's own",
    "test_open_unix_connection_no_loop_ssl": "open_unix_connection() is asyncio's own",
    "test_open_unix_connection_error": "open_unix_connection() is asyncio's own",
    "test_start_unix_server": "start_unix_server() is asyncio's own",
    "test_IncompleteReadError_pickleable": "of asyncio's own errors",
    "test_LimitOverrunError_pickleable": "of asyncio's own errors",
}

theirs = load("test_asyncio/test_streams.py")
theirs.asyncio = put_in_place_of(asyncio, ours)

cases = test_cases(theirs)
tests = cases["StreamTests"]
for name in NOT_OURS.keys() & vars(tests).keys():
    setattr(tests, name, pytest.mark.skip(reason=NOT_OURS[name])(getattr(tests, name)))
del tests
globals().update(cases)


def test_they_are_there_and_test_ours():
    assert len([name for name in vars(cases["StreamTests"]) if name.startswith("test_")]) > 50
    assert theirs.asyncio.StreamReader is ours.StreamReader
    assert theirs.asyncio.open_connection is ours.open_connection
    assert theirs.asyncio.sleep is asyncio.sleep
