"""Plain models of ConcurrentMap and ConcurrentSet, in the style of models.py: immutable, one method for one call.

    answer, model = model.insert("k", 1, "default")

Where the call itself chooses (popitem, pop of a set), the model is told what it chose and answers whether it could.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from ferrule import ABORT, MISSING, REMOVE

from .models import Blocked

__all__ = ["MapModel", "SetModel"]


@dataclass(frozen=True)
class MapModel:
    """ferrule.ConcurrentMap: its items, and the entries that hold keys.

    The caller names entries as it likes. A write of a key that an entry holds is Blocked: another thread waits for the
    end of the hold, and the owner itself gets WouldDeadlock.
    """

    items: frozenset[tuple[Hashable, Hashable]] = frozenset()
    entries: frozenset[tuple[Hashable, Hashable]] = frozenset()  # (name, key)

    @classmethod
    def of(cls, items: Any = ()) -> "MapModel":
        """The model of `ConcurrentMap(items)`."""
        return cls(frozenset(dict(items).items()))

    @property
    def as_dict(self) -> dict[Any, Any]:
        return dict(self.items)

    def _now(self, items: dict[Any, Any]) -> "MapModel":
        return replace(self, items=frozenset(items.items()))

    def _put(self, key: Hashable, value: Hashable) -> "MapModel":
        return self._now({**self.as_dict, key: value})

    def _drop(self, key: Hashable) -> "MapModel":
        items = self.as_dict
        items.pop(key, None)
        return self._now(items)

    def _is_held(self, key: Hashable) -> bool:
        return any(hash(held) == hash(key) for _, held in self.entries)

    def _write(self, *keys: Hashable) -> None:
        """A write of these keys: it can only wait where one is held."""
        if any(map(self._is_held, keys)):
            raise Blocked

    # --- reads

    def getitem(self, key: Hashable) -> tuple[Any, "MapModel"]:
        """`m[key]`."""
        return self.as_dict.get(key, KeyError), self

    def get(self, key: Hashable, default: Hashable = None) -> tuple[Any, "MapModel"]:
        """`m.get(key, default)`."""
        return self.as_dict.get(key, default), self

    def contains(self, key: Hashable) -> tuple[bool, "MapModel"]:
        """`key in m`."""
        return key in self.as_dict, self

    def length(self) -> tuple[int, "MapModel"]:
        """`len(m)`."""
        return len(self.items), self

    def get_many(self, *keys: Hashable, default: Hashable = None) -> tuple[list[Any], "MapModel"]:
        """`m.get_many(keys, default)`."""
        items = self.as_dict
        return [items.get(key, default) for key in keys], self

    def snapshot(self) -> tuple[dict[Any, Any], "MapModel"]:
        """`m.snapshot()`."""
        return self.as_dict, self

    # --- writes of one key

    def setitem(self, key: Hashable, value: Hashable) -> tuple[None, "MapModel"]:
        """`m[key] = value`."""
        self._write(key)
        return None, self._put(key, value)

    def delitem(self, key: Hashable) -> tuple[Any, "MapModel"]:
        """`del m[key]`."""
        self._write(key)
        return None if key in self.as_dict else KeyError, self._drop(key)

    def insert(self, key: Hashable, value: Hashable, default: Hashable = None) -> tuple[Any, "MapModel"]:
        """`m.insert(key, value, default)`."""
        self._write(key)
        return self.as_dict.get(key, default), self._put(key, value)

    def setdefault(self, key: Hashable, value: Hashable = None) -> tuple[Any, "MapModel"]:
        """`m.setdefault(key, value)`; the only write that does not wait where the key is there."""
        if key in self.as_dict:
            return self.as_dict[key], self
        self._write(key)
        return value, self._put(key, value)

    def pop(self, key: Hashable, default: Hashable = KeyError) -> tuple[Any, "MapModel"]:
        """`m.pop(key, default)`; with the default KeyError, `m.pop(key)`."""
        self._write(key)
        return self.as_dict.get(key, default), self._drop(key)

    def compare_and_set(self, key: Hashable, expected: Hashable, new: Hashable) -> tuple[bool, "MapModel"]:
        """`m.compare_and_set(key, expected, new)`; MISSING stands for an absent key."""
        self._write(key)
        value = self.as_dict.get(key, MISSING)
        if value is not expected and (value is MISSING or expected is MISSING or value != expected):
            return False, self
        return True, self._drop(key) if new is MISSING else self._put(key, new)

    def remove_if(self, key: Hashable, predicate: Callable[[Any], bool]) -> tuple[bool, "MapModel"]:
        """`m.remove_if(key, predicate)`."""
        self._write(key)
        if key not in self.as_dict or not predicate(self.as_dict[key]):
            return False, self
        return True, self._drop(key)

    def increment(self, key: Hashable, n: Any = 1, default: Any = 0) -> tuple[Any, "MapModel"]:
        """`m.increment(key, n, default)`."""
        self._write(key)
        total = self.as_dict.get(key, default) + n
        return total, self._put(key, total)

    def compute(self, key: Hashable, function: Callable[[Any], Any]) -> tuple[Any, "MapModel"]:
        """`m.compute(key, function)`."""
        self._write(key)
        old = self.as_dict.get(key, MISSING)
        new = function(old)
        if new is MISSING:
            return ValueError, self
        if new is ABORT:
            return old, self
        return (MISSING, self._drop(key)) if new is REMOVE else (new, self._put(key, new))

    # --- writes of many keys

    def popitem(self, key: Hashable = MISSING) -> tuple[Any, "MapModel"]:
        """`m.popitem()`, which chose this key, or MISSING: none.

        Answers the pair; KeyError if it rightly chose none; None if it could not choose so.
        """
        free = {each: value for each, value in self.items if not self._is_held(each)}
        if key is MISSING:
            return None if free else KeyError, self
        return ((key, free[key]), self._drop(key)) if key in free else (None, self)

    def update(self, items: dict[Any, Any]) -> tuple[None, "MapModel"]:
        """`m.update(items)`, and `m |= items`: as one call only while nobody else looks."""
        self._write(*items)
        return None, self._now(self.as_dict | items)

    def set_many(self, items: dict[Any, Any]) -> tuple[None, "MapModel"]:
        """`m.set_many(items)`."""
        return self.update(items)

    def clear(self) -> tuple[None, "MapModel"]:
        """`m.clear()`: as one call only while nobody else looks."""
        self._write(*self.as_dict)
        return None, self._now({})

    def retain(self, predicate: Callable[[Any, Any], bool]) -> tuple[int, "MapModel"]:
        """`m.retain(predicate)`: as one call only while nobody else looks."""
        self._write(*self.as_dict)
        kept = {key: value for key, value in self.items if predicate(key, value)}
        return len(self.items) - len(kept), self._now(kept)

    # --- entries

    def enter(self, name: Hashable, key: Hashable) -> tuple[None, "MapModel"]:
        """`name = m.entry(key)`."""
        self._write(key)
        return None, replace(self, entries=self.entries | {(name, key)})

    def try_enter(self, name: Hashable, key: Hashable) -> tuple[bool, "MapModel"]:
        """`(name := m.try_entry(key)) is not None`."""
        return (False, self) if self._is_held(key) else (True, self.enter(name, key)[1])

    def _key_of(self, name: Hashable) -> tuple[Hashable, ...]:
        return tuple(key for entry, key in self.entries if entry == name)

    def leave(self, name: Hashable) -> tuple[Any, "MapModel"]:
        """`name.release()`."""
        left = self.entries - {(name, key) for key in self._key_of(name)}
        return (None if left != self.entries else RuntimeError), replace(self, entries=left)

    def entry_get(self, name: Hashable, default: Hashable = None) -> tuple[Any, "MapModel"]:
        """`name.get(default)`."""
        for key in self._key_of(name):
            return self.as_dict.get(key, default), self
        return RuntimeError, self

    def entry_insert(self, name: Hashable, value: Hashable, default: Hashable = None) -> tuple[Any, "MapModel"]:
        """`name.insert(value, default)`."""
        for key in self._key_of(name):
            return self.as_dict.get(key, default), self._put(key, value)
        return RuntimeError, self

    def entry_or_insert(self, name: Hashable, value: Hashable) -> tuple[Any, "MapModel"]:
        """`name.or_insert(value)`."""
        for key in self._key_of(name):
            return self.as_dict.get(key, value), self._put(key, self.as_dict.get(key, value))
        return RuntimeError, self

    def entry_remove(self, name: Hashable, default: Hashable = None) -> tuple[Any, "MapModel"]:
        """`name.remove(default)`."""
        for key in self._key_of(name):
            return self.as_dict.get(key, default), self._drop(key)
        return RuntimeError, self


@dataclass(frozen=True)
class SetModel:
    """ferrule.ConcurrentSet: its items."""

    items: frozenset[Hashable] = frozenset()

    @classmethod
    def of(cls, items: Iterable[Hashable] = ()) -> "SetModel":
        """The model of `ConcurrentSet(items)`."""
        return cls(frozenset(items))

    @property
    def as_set(self) -> set[Any]:
        return set(self.items)

    def stored(self, item: Hashable) -> Any:
        """The item that is stored for an equal one."""
        return next(each for each in self.items if each is item or each == item)

    def contains(self, item: Hashable) -> tuple[bool, "SetModel"]:
        """`item in s`."""
        return item in self.items, self

    def length(self) -> tuple[int, "SetModel"]:
        """`len(s)`."""
        return len(self.items), self

    def snapshot(self) -> tuple[set[Any], "SetModel"]:
        """`s.snapshot()`."""
        return self.as_set, self

    def add(self, item: Hashable) -> tuple[None, "SetModel"]:
        """`s.add(item)`."""
        return None, SetModel(self.items | {item})

    def insert(self, item: Hashable) -> tuple[bool, "SetModel"]:
        """`s.insert(item)`."""
        return item not in self.items, SetModel(self.items | {item})

    def discard(self, item: Hashable) -> tuple[None, "SetModel"]:
        """`s.discard(item)`."""
        return None, SetModel(self.items - {item})

    def remove(self, item: Hashable) -> tuple[Any, "SetModel"]:
        """`s.remove(item)`."""
        return None if item in self.items else KeyError, SetModel(self.items - {item})

    def pop(self, item: Hashable = MISSING) -> tuple[Any, "SetModel"]:
        """`s.pop()`, which chose this item, or MISSING: none; answers as MapModel.popitem does."""
        if item is MISSING:
            return None if self.items else KeyError, self
        return (item, SetModel(self.items - {item})) if item in self.items else (None, self)

    def remove_if(self, item: Hashable, predicate: Callable[[Any], bool]) -> tuple[bool, "SetModel"]:
        """`s.remove_if(item, predicate)`."""
        if item not in self.items or not predicate(self.stored(item)):
            return False, self
        return True, SetModel(self.items - {item})

    def retain(self, predicate: Callable[[Any], bool]) -> tuple[int, "SetModel"]:
        """`s.retain(predicate)`."""
        kept = frozenset(item for item in self.items if predicate(item))
        return len(self.items) - len(kept), SetModel(kept)

    def clear(self) -> tuple[None, "SetModel"]:
        """`s.clear()`."""
        return None, SetModel()

    def update(self, *others: Iterable[Hashable]) -> tuple[None, "SetModel"]:
        """`s.update(*others)`, and `s |= other`."""
        return None, SetModel(self.items.union(*others))

    def intersection_update(self, *others: Iterable[Hashable]) -> tuple[None, "SetModel"]:
        """`s.intersection_update(*others)`, and `s &= other`: what stays is what was stored."""
        return None, SetModel(frozenset(item for item in self.items if all(item in set(other) for other in others)))

    def difference_update(self, *others: Iterable[Hashable]) -> tuple[None, "SetModel"]:
        """`s.difference_update(*others)`, and `s -= other`."""
        return None, SetModel(self.items.difference(*others))

    def symmetric_difference_update(self, other: Iterable[Hashable]) -> tuple[None, "SetModel"]:
        """`s.symmetric_difference_update(other)`, and `s ^= other`."""
        return None, SetModel(self.items.symmetric_difference(other))
