"""Options and fixtures for every test: --long, --seed, the kinds of loop, the switch interval, no stray threads."""

import gc
import random
import signal
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.support.loops import LOOPS

GIL = getattr(sys, "_is_gil_enabled", lambda: True)()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("ferrule")
    group.addoption("--long", action="store_true", help="stress tests run for minutes instead of seconds")
    group.addoption(
        "--seed", type=int, help="the seed of every random choice (default: a new one, shown in the header)"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.option.seed is None:
        config.option.seed = random.SystemRandom().randrange(2**32)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # As in a background job of a shell; the interpreters that tests start would inherit it and miss their Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header(config: pytest.Config) -> str:
    return f"ferrule: --seed {config.option.seed}, {'with' if GIL else 'without'} the GIL"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if GIL and metafunc.definition.get_closest_marker("stress"):
        metafunc.parametrize("switch_interval", [None, 1e-5], ids=["switch-default", "switch-10us"], indirect=True)


@pytest.fixture(autouse=True, scope="module")
def what_is_there_is_not_looked_at() -> None:
    """A collection in a test looks at what that file's tests made, not at ten thousand tests and their reports."""
    gc.collect()
    gc.freeze()
    if not GIL:
        gc.set_threshold(100_000)  # by itself it comes the sooner the less there is that is not frozen, which it passes


@pytest.fixture(autouse=True)
def switch_interval(request: pytest.FixtureRequest) -> Iterator[None]:
    """With the GIL, a stress test runs with the default switch interval and with one of 10 microseconds."""
    before, wanted = sys.getswitchinterval(), getattr(request, "param", None)
    sys.setswitchinterval(wanted or before)
    yield
    sys.setswitchinterval(before)


@pytest.fixture(autouse=True)
def no_stray_threads() -> Iterator[None]:
    """Every thread that a test started has ended when the test has."""
    before = set(threading.enumerate())
    yield
    stray = [t for t in threading.enumerate() if t not in before and not isinstance(t, threading._DummyThread)]
    for thread in stray:
        thread.join(5)
    if alive := [thread.name for thread in stray if thread.is_alive()]:
        pytest.fail(f"the test left threads running: {', '.join(alive)}", pytrace=False)


@pytest.fixture(params=LOOPS)
def loop_name(request: pytest.FixtureRequest) -> str:
    """Each kind of event loop in turn: "asyncio", "uvloop"."""
    return request.param


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """A random generator whose numbers depend on --seed and on the test's name alone."""
    return random.Random(f"{request.config.option.seed}:{request.node.nodeid}")


@pytest.fixture
def seconds(request: pytest.FixtureRequest) -> float:
    """How long a stress test goes on."""
    return 60.0 if request.config.option.long else 0.5
