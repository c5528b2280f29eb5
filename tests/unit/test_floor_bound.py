"""The methods of `with` behave as bound methods do, whatever object the interpreter is given in their place."""

import asyncio
import contextlib
import gc
import inspect
import types
import weakref

import pytest

from ferrule import ConcurrentMap, Condition, Mutex, RWLock, aio

BLOCKS = {
    "Mutex": Mutex,
    "MutexGuard": lambda: Mutex().lock(),
    "Condition": Condition,
    "ReadGuard": lambda: RWLock().read(),
    "WriteGuard": lambda: RWLock().write(),
    "UpgradableGuard": lambda: RWLock().upgradable_read(),
    "Entry": lambda: ConcurrentMap({1: 1}).entry(1),
}


@pytest.fixture(params=BLOCKS, name="block")
def make_block(request):
    block = BLOCKS[request.param]()
    yield block
    with contextlib.suppress(RuntimeError):  # of a lock whose block has ended
        block.__exit__(None, None, None)


def test_it_enters_and_exits(block):
    assert block.__enter__() is not None
    assert block.__exit__(None, None, None) is None


def test_it_is_called_in_every_way_that_a_method_is(block):
    enter, leave = block.__enter__, block.__exit__
    nothing = {}
    enter(*[], **nothing)
    leave(*(None, None, None), **nothing)


@pytest.mark.parametrize("arguments", [(1,), (1, 2, 3)])
def test_enter_takes_no_arguments(block, arguments):
    with pytest.raises(TypeError, match=r"__enter__\(\) takes (no arguments|exactly 0)"):
        block.__enter__(*arguments)
    with pytest.raises(TypeError, match="keyword"):
        block.__enter__(traceback=None)


@pytest.mark.parametrize("arguments", [(), (None,), (None,) * 4])
def test_exit_takes_three_arguments(block, arguments):
    with pytest.raises(TypeError, match=r"__exit__\(\) takes exactly 3 positional"):
        block.__exit__(*arguments)
    with pytest.raises(TypeError, match=r"positional|keyword"):
        block.__exit__(None, None, traceback=None)


def test_it_has_what_a_bound_method_has(block):
    for name in ("__enter__", "__exit__"):
        method = getattr(block, name)
        assert method.__name__ == name
        assert method.__self__ is block
        assert method.__qualname__ == f"{type(block).__name__}.{name}"
        assert isinstance(method, types.BuiltinMethodType)
        assert repr(method).startswith(f"<built-in method {name} of ")
        assert list(inspect.signature(method).parameters) == ["kind", "error", "traceback"][: 3 * (name == "__exit__")]
        with pytest.raises(AttributeError):
            _ = method.nonsense
        with pytest.raises(AttributeError):
            method.attribute = 1


def test_it_equals_what_is_bound_to_the_same_object(block):
    other = Mutex()
    assert block.__enter__ == block.__enter__
    assert hash(block.__enter__) == hash(block.__enter__)
    assert block.__enter__ != block.__exit__
    assert block.__enter__ != other.__enter__
    assert block.__enter__ != 1
    assert block.__enter__ is not None
    assert block.__exit__ != other.release
    with pytest.raises(TypeError, match="not supported"):
        _ = block.__enter__ < block.__enter__


def test_the_class_has_plain_methods(block):
    cls = type(block)
    for name in ("__enter__", "__exit__"):
        method = getattr(cls, name)
        assert isinstance(method, types.MethodDescriptorType)
        in_class = vars(cls)[name]
        assert in_class.__name__ == name
        assert inspect.isroutine(in_class)
        assert repr(in_class) == repr(method)
        with pytest.raises(TypeError, match=r"doesn't apply|requires a"):
            method(object())
        with pytest.raises(TypeError, match=r"doesn't apply|requires a"):
            in_class(object())
        with pytest.raises(TypeError, match="doesn't apply"):
            type(in_class).__get__(in_class, object(), object)
    cls.__enter__(block)
    vars(cls)["__exit__"](block, None, None, None)


def test_an_exit_stack_finds_them(block):
    with contextlib.ExitStack() as stack:
        block.__enter__()
        stack.push(block.__exit__)
    with contextlib.ExitStack() as stack:
        stack.enter_context(Mutex())


def test_it_keeps_its_object_alive():
    mutex = Mutex()
    watch, leave = weakref.ref(mutex), mutex.__exit__
    mutex.__enter__()
    del mutex
    gc.collect()
    assert watch() is leave.__self__
    leave(None, None, None)
    del leave
    gc.collect()
    assert watch() is None


def test_the_collector_sees_through_it():
    mutex = Mutex()
    watch = weakref.ref(mutex)
    with mutex as guard:
        guard.value = mutex.__exit__
    del mutex, guard
    gc.collect()
    assert watch() is None


def test_many_live_at_once():
    mutexes = [Mutex() for _ in range(200)]
    methods = [(mutex, mutex.__enter__, mutex.__exit__) for mutex in mutexes]
    for mutex, enter, leave in methods:
        enter()
        assert mutex.locked()
        leave(None, None, None)
        assert not mutex.locked()


def test_an_exception_passes_through(block):
    with pytest.raises(KeyError, match="mine"), block:
        raise KeyError("mine")
    if isinstance(block, Mutex | Condition):
        with pytest.raises(RuntimeError, match="not at all"):
            block.__exit__(None, None, None)


def test_those_of_async_with():
    asyncio.run(use_the_face())


async def use_the_face():
    face = aio.Mutex()
    for manager in (face, face.lock()):
        enter, leave = manager.__aenter__, manager.__aexit__
        assert (enter.__self__, leave.__name__) == (manager, "__aexit__")
        guard = await enter()
        assert face.locked()
        assert await leave(None, None, None) is None
        assert not face.locked()
        del guard
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(face)
    with pytest.raises(TypeError, match=r"__aenter__\(\) takes (no arguments|exactly 0)"):
        face.__aenter__(1)
