"""The commands of both key-value servers, on a map that many threads may use at once.

They take no lock: what a command promises to be one step, a method of ConcurrentMap makes one. INCR and SET NX are
compute(), MSET is set_many(), and MGET, by get_many(), sees all of an MSET or nothing of it.

A value is bytes, or bytes and a deadline, which so change together. From its deadline on it counts as absent; a sweeper
gives its memory back.
"""

import fnmatch
import heapq
import inspect
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from kv_resp import BYE, MOST_REPLY, MOST_REQUEST, OK, PONG, Data, Reply, ReplyError

from ferrule import ABORT, MISSING, ConcurrentMap

__all__ = ["Database", "Deadlines", "run"]

now = time.monotonic


class Expiring(NamedTuple):
    data: Data
    deadline: float


Value: TypeAlias = Data | Expiring


@dataclass
class Database:
    values: Any
    """A ConcurrentMap, or what has those methods of one that are called here."""

    counts: Any
    """Likewise; the numbers of INFO."""

    keep: Callable[[Any], Data]
    """Gives what is stored of an argument, which may be a slice of much more."""

    watch: Callable[[tuple[float, Data]], object]
    """Tells the sweeper of a deadline and the key that has it."""

    started: float = field(default_factory=now)


class Command(NamedTuple):
    name: str
    function: Callable[..., Reply]
    least: int
    most: float
    """The words that a request of it has, its name among them."""


COMMANDS: ConcurrentMap[Data, Command] = ConcurrentMap()
"""By name, in capitals and in small letters."""


def command(function: Callable[..., Reply]) -> Callable[..., Reply]:
    """Makes a command of the function: its name, and how many words it takes, are the function's."""
    name = function.__name__.rstrip("_")
    parameters = inspect.signature(function).parameters.values()
    many = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    most = math.inf if many else len(parameters)  # the database stands where the name does in a request
    least = sum(parameter.default is parameter.empty for parameter in parameters) - many
    COMMANDS[name.encode()] = COMMANDS[name.upper().encode()] = Command(name, function, least, most)
    return function


def run(db: Database, request: Sequence[Data]) -> Reply:
    """The answer to a request, which has a word at least."""
    name = request[0]
    found = COMMANDS.get(name) or COMMANDS.get(name.upper())
    if found is None:
        quoted = "".join(f"'{text(argument)}' " for argument in request[1:20])
        return ReplyError(f"ERR unknown command '{text(name)}', with args beginning with: {quoted}")
    if not found.least <= len(request) <= found.most:
        return wrong_number(found.name)
    try:
        return found.function(db, *request[1:])
    except ReplyError as error:
        return error


def text(data: Data) -> str:
    """What a client sent, to be quoted."""
    return bytes(data[:128]).decode("latin-1")


def wrong_number(name: str) -> ReplyError:
    return ReplyError(f"ERR wrong number of arguments for '{name}' command")


def alive(value: Any) -> Data | None:
    """The data of what the map gave; None where there is none, or no more."""
    if type(value) is Expiring:
        return value.data if now() < value.deadline else None
    return None if value is MISSING else value


def has_ended(value: Value) -> bool:
    return alive(value) is None


def integer(data: Data) -> int:
    """Of 64 bits, and only as it would be written: no zero in front, no space, no sign that says nothing."""
    if len(data) <= 20:
        try:
            number = int(data)
        except ValueError:
            pass
        else:
            if b"%d" % number == data and -(2**63) <= number < 2**63:
                return number
    raise ReplyError("ERR value is not an integer or out of range")


def upper(option: Data) -> bytes:
    return bytes(option).upper()


# -- Values


@command
def get(db: Database, key: Data) -> Reply:
    return alive(db.values.get(key))


@command
def mget(db: Database, key: Data, *keys: Data) -> Reply:
    found = [alive(value) for value in db.values.get_many((key, *keys))]
    if sum(map(len, filter(None, found))) > MOST_REPLY:
        raise ReplyError("ERR the values are too long for one answer")
    return found


@command
def exists(db: Database, key: Data, *keys: Data) -> Reply:
    return sum(alive(db.values.get(each)) is not None for each in (key, *keys))


@command
def set_(db: Database, key: Data, data: Data, *options: Data) -> Reply:
    key, data = db.keep(key), db.keep(data)
    if not options:
        db.values[key] = data
        return OK
    deadline, wanted = options_of_set(options)
    value: Value = data if deadline is None else Expiring(data, deadline)
    if wanted is None:
        db.values[key] = value
    elif not replace(db, key, lambda old: value if (old is not None) is wanted else None):
        return None
    if deadline is not None:
        db.watch((deadline, key))
    return OK


def options_of_set(options: Sequence[Data]) -> tuple[float | None, bool | None]:
    """The deadline, and whether the key has to be there already; None: not asked for."""
    deadline: float | None = None
    wanted: bool | None = None
    words = iter(options)
    for word in words:
        match upper(word):
            case b"NX" | b"XX" as condition if wanted is None:
                wanted = condition == b"XX"
            case b"EX" | b"PX" as unit if deadline is None and (amount := next(words, None)) is not None:
                deadline = deadline_in(amount, 1 if unit == b"EX" else 1000, "set")
            case _:
                raise ReplyError("ERR syntax error")
    return deadline, wanted


def replace(db: Database, key: Data, new: Callable[[Data | None], Value | None]) -> bool:
    """Sets what `new(data or None)` gives, in one step; whether it gave anything. What it raises changes nothing."""
    replaced = False

    def replacing(old: Any) -> Any:
        nonlocal replaced
        value = new(alive(old))
        replaced = value is not None
        return value if replaced else ABORT

    db.values.compute(key, replacing)
    return replaced


@command
def mset(db: Database, key: Data, data: Data, *more: Data) -> Reply:
    if len(more) % 2:
        return wrong_number("mset")
    words = map(db.keep, (key, data, *more))
    db.values.set_many(dict(zip(words, words, strict=True)))
    return OK


@command
def del_(db: Database, key: Data, *keys: Data) -> Reply:
    return sum(alive(db.values.pop(each, None)) is not None for each in (key, *keys))


@command
def flushall(db: Database, how: Data = b"SYNC") -> Reply:
    if upper(how) not in (b"SYNC", b"ASYNC"):
        raise ReplyError("ERR syntax error")
    db.values.clear()
    return OK


# -- Numbers


@command
def incr(db: Database, key: Data) -> Reply:
    return add(db, key, 1)


@command
def decr(db: Database, key: Data) -> Reply:
    return add(db, key, -1)


@command
def incrby(db: Database, key: Data, number: Data) -> Reply:
    return add(db, key, integer(number))


@command
def decrby(db: Database, key: Data, number: Data) -> Reply:
    return add(db, key, -integer(number))


def add(db: Database, key: Data, number: int) -> int:
    """The sum, which takes the place of the number in one step and keeps its deadline."""
    total = number

    def added(old: Any) -> Value:
        nonlocal total
        data = alive(old)
        if data is not None:
            total = integer(data) + number
        if not -(2**63) <= total < 2**63:
            raise ReplyError("ERR increment or decrement would overflow")
        new = b"%d" % total
        return old._replace(data=new) if data is not None and type(old) is Expiring else new

    db.values.compute(db.keep(key), added)
    return total


# -- Deadlines


@command
def expire(db: Database, key: Data, seconds: Data) -> Reply:
    """No second or less: it has ended."""
    key, deadline = db.keep(key), deadline_in(seconds, 1, "expire", least=-MOST_SECONDS)
    if not replace(db, key, lambda old: None if old is None else Expiring(old, deadline)):
        return 0
    db.watch((deadline, key))
    return 1


@command
def ttl(db: Database, key: Data) -> Reply:
    """In seconds, rounded; -1: for ever; -2: there is none."""
    value = db.values.get(key)
    if alive(value) is None:
        return -2
    return int(value.deadline - now() + 0.5) if type(value) is Expiring else -1


MOST_SECONDS = 2**63 // 1000


def deadline_in(amount: Data, a_second: int, name: str, least: float = 1e-3) -> float:
    seconds = integer(amount) / a_second
    if not least <= seconds <= MOST_SECONDS:
        raise ReplyError(f"ERR invalid expire time in '{name}' command")
    return now() + seconds


class Deadlines:
    """When which keys end; of one sweeper.

    A key waits here for the earliest deadline of its that was heard of. When that has come, what is stored says whether
    it has ended or which deadline it has now.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._due: list[tuple[float, Data]] = []
        self._earliest: dict[Data, float] = {}
        self._most = 1000

    def __len__(self) -> int:
        return len(self._due)

    def add(self, deadline: float, key: Data) -> None:
        if deadline < self._earliest.get(key, math.inf):
            self._earliest[key] = deadline
            heapq.heappush(self._due, (deadline, key))
            if len(self._due) > self._most:
                self._forget()

    def _forget(self) -> None:
        """Forgets who waits in vain, which takes long, but for twice as many as were left the last time."""
        found = ((key, self._db.values.get(key)) for key in self._earliest)
        self._earliest = {key: value.deadline for key, value in found if type(value) is Expiring}
        self._due = [(deadline, key) for key, deadline in self._earliest.items()]
        heapq.heapify(self._due)
        self._most = 1000 + 2 * len(self._due)

    def seconds_left(self) -> float | None:
        """Until the next one; None: there is none."""
        return max(0.0, self._due[0][0] - now()) if self._due else None

    def sweep(self, most: int = 1000) -> None:
        """Removes what has ended; not so much at once that the clients would notice."""
        values = self._db.values
        for _ in range(most):
            if not self._due or now() < self._due[0][0]:
                break
            deadline, key = heapq.heappop(self._due)
            if self._earliest.get(key) != deadline:
                continue  # an earlier one was heard of later
            del self._earliest[key]
            if not values.remove_if(key, has_ended) and type(value := values.get(key)) is Expiring:
                self.add(value.deadline, key)
        self._db.counts["expires"] = len(self._earliest)


# -- The server, and what clients want to know of it when they begin


@command
def ping(db: Database, message: Data | None = None) -> Reply:
    return PONG if message is None else message


@command
def echo(db: Database, message: Data) -> Reply:
    return message


@command
def quit_(db: Database) -> Reply:
    return BYE


@command
def hello(db: Database, version: Data = b"2", *options: Data) -> Reply:
    if version != b"2" or options:
        return ReplyError("NOPROTO unsupported protocol version")
    return [b"server", b"ferrule", b"version", VERSION, b"proto", 2, b"mode", b"standalone", b"role", b"master"]


@command
def info(db: Database, *sections: Data) -> Reply:
    count = db.counts.get
    lines = {
        "Server": {"redis_version": VERSION.decode(), "process_id": os.getpid(), "uptime_in_seconds": uptime(db)},
        "Clients": {"connected_clients": count("clients", 0)},
        "Stats": {
            "total_connections_received": count("connections", 0),
            "total_commands_processed": count("commands", 0),
        },
        "Keyspace": {"db0": f"keys={len(db.values)},expires={count('expires', 0)}"},
    }
    wanted = {text(section).capitalize() for section in sections} - {"All", "Default", "Everything"} or set(lines)
    shown = [
        f"# {name}\r\n" + "".join(f"{key}:{value}\r\n" for key, value in section.items())
        for name, section in lines.items()
        if name in wanted
    ]
    return "\r\n".join(shown).encode()


def uptime(db: Database) -> int:
    return int(now() - db.started)


VERSION = b"7.0.0"
"""Of the server whose commands these are: clients look at it."""

SETTINGS = {"appendonly": b"no", "maxmemory": b"0", "proto-max-bulk-len": b"%d" % MOST_REQUEST, "save": b""}


@command
def config(db: Database, action: Data, *patterns: Data) -> Reply:
    if upper(action) != b"GET":
        return ReplyError(f"ERR unknown subcommand '{text(action)}'. Try CONFIG HELP.")
    if not patterns:
        return wrong_number("config|get")
    wanted = [text(pattern).lower() for pattern in patterns]
    found = [name for name in SETTINGS if any(fnmatch.fnmatchcase(name, pattern) for pattern in wanted)]
    return [part for name in found for part in (name.encode(), SETTINGS[name])]


@command
def command_(db: Database, action: Data = b"LIST", *names: Data) -> Reply:
    """A line of the table of commands: the name, the words with that (from -n on: n or more), and what is not told."""
    match upper(action):
        case b"LIST":
            return [
                [each.name.encode(), int(each.most) if each.most == each.least else -each.least, [], 0, 0, 0]
                for each in set(COMMANDS.values())
            ]
        case b"COUNT":
            return len(set(COMMANDS.values()))
        case b"DOCS":
            return []
    return ReplyError(f"ERR unknown subcommand '{text(action)}'. Try COMMAND HELP.")
