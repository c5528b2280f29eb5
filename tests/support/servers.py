"""Real servers on loopback, with data that is thrown away: Debian's redis-server and PostgreSQL.

if reason := Redis.missing(): pytest.skip(reason)
with Redis() as server:         # answers on a port of its own; at the end it is gone, and its data with it
    connect(server.url)
    server.restart()            # on the same port; every connection is cut
"""

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

from .race import HANG, eventually

__all__ = ["ROOT", "KeyValue", "Postgres", "Redis", "Server", "WorkerPool"]

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"

# A test that hangs ends its process by os._exit(), and then nobody stops the servers. The guard sees its stdin end.
GUARD = 'read -r _ || { kill -INT "$0"; sleep 3; rm -rf "$1"; }'


def free_port() -> int:
    """A port that nobody listens on, and that the kernel gives to no outgoing connection (Linux: from 32768 on).

    A client that connects again and again while its server restarts could be given the server's own port otherwise.
    """
    while True:
        port = random.SystemRandom().randrange(20000, 32000)
        with socket.socket() as trial, contextlib.suppress(OSError):
            trial.bind((HOST, port))
            return port


class Server(ABC):
    """A server process of the tests' own, from `with` to the end of its block; it is stopped whatever happens there."""

    program: ClassVar[str]
    user: ClassVar[str | None] = None
    """Who runs it; None: whoever runs the tests."""

    def __init__(self) -> None:
        self.port = free_port()

    @classmethod
    @abstractmethod
    def folder(cls) -> Path | None:
        """Where its programs are."""

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot be started here."""
        return None if cls.folder() else f"{cls.program} is not installed here"

    @property
    @abstractmethod
    def url(self) -> str: ...

    @abstractmethod
    def command(self) -> list[str]: ...

    @abstractmethod
    def answers(self) -> bool:
        """Whether it takes requests."""

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as undo:
            self.data = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="ferrule-")))
            if self.user:
                shutil.chown(self.data, self.user)
            self.start()
            undo.callback(self.stop)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> None:
        """Returns when it takes requests."""
        with open(self.log, "ab") as log:
            self._process = self._popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._guard = self._popen(["sh", "-c", GUARD, str(self.pid), str(self.data)], stdin=subprocess.PIPE)
        try:
            eventually(lambda: self._process.poll() is not None or self.answers())
            if self._process.returncode is not None:
                raise RuntimeError(f"{self.program} does not start\n{self.log.read_text()}")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Cuts every connection; returns when it has ended."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(HANG)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        finally:
            if self._guard.poll() is None:
                self._guard.communicate(b"\n")

    def restart(self) -> None:
        self.stop()
        self.start()

    @property
    def log(self) -> Path:
        return self.data / "log"

    def run(self, *command: str | Path) -> bool:
        """Whether it ended well, run as the server is; what it prints goes to the log."""
        with open(self.log, "ab") as log:
            return self._popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log).wait(HANG) == 0

    def _popen(self, command: Any, **streams: Any) -> subprocess.Popen[bytes]:
        if self.user:
            account = pwd.getpwnam(self.user)
            streams |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        return subprocess.Popen(command, cwd=self.data, **streams)


class Redis(Server):
    """Nothing is kept over a restart."""

    program = "redis-server"

    @classmethod
    def folder(cls) -> Path | None:
        found = shutil.which(cls.program)
        return Path(found).parent if found else None

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    def command(self) -> list[str]:
        return [self.program, "--bind", HOST, "--port", str(self.port), "--save", "", "--dir", str(self.data)]

    def answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), 1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(7) == b"+PONG\r\n"
        return False


class Script(Server):
    """A server of examples/services, run by the interpreter that runs the tests, with warnings as errors."""

    def __init__(self, script: str, *options: str) -> None:
        super().__init__()
        self._words = [str(ROOT / "examples" / "services" / script), *options]

    @classmethod
    def folder(cls) -> Path | None:
        return ROOT / "examples" / "services"

    def command(self) -> list[str]:
        return [sys.executable, "-W", "error", *self._words, "--port", str(self.port)]

    def terminate(self) -> str:
        """Sends SIGTERM; what it has printed, once it has ended well."""
        self._process.terminate()
        status = self._process.wait(HANG)
        printed = self.log.read_text()
        assert status == 0, printed
        assert "Traceback" not in printed, printed
        assert "Exception ignored" not in printed, printed
        return printed


class KeyValue(Script, Redis):
    program = "kv_server"


class WorkerPool(Script):
    program = "worker_pool"

    def __init__(self, *options: str) -> None:
        super().__init__("worker_pool.py", *options)

    @property
    def url(self) -> str:
        return f"tcp://{HOST}:{self.port}"

    def answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), 1) as connection:
            connection.sendall(b"hello\n")
            return connection.recv(100) == b"ok HELLO\n"
        return False


class Postgres(Server):
    """One user, `ferrule`, who needs no password; the database is `postgres`."""

    program = "postgres"
    user = "postgres" if os.geteuid() == 0 else None  # it refuses root

    @classmethod
    def folder(cls) -> Path | None:
        """Debian keeps them by version, apart from PATH."""
        versions = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
        if found := shutil.which("initdb"):
            versions.append(Path(found).resolve().parent)
        return max(
            versions, key=lambda path: [int(n) for n in path.parent.name.split(".") if n.isdigit()], default=None
        )

    @classmethod
    def missing(cls) -> str | None:
        if cls.user and cls.user not in {account.pw_name for account in pwd.getpwall()}:
            return f"postgres refuses root, and there is no user {cls.user} here"
        return super().missing()

    @property
    def url(self) -> str:
        return f"postgresql://ferrule@{HOST}:{self.port}/postgres"

    @property
    def programs(self) -> Path:
        folder = self.folder()
        assert folder
        return folder

    def start(self) -> None:
        cluster = self.data / "cluster"
        options = ["-U", "ferrule", "-A", "trust", "-E", "UTF8", "--no-sync"]
        if not cluster.exists() and not self.run(self.programs / "initdb", "-D", cluster, *options):
            raise RuntimeError(f"initdb fails\n{self.log.read_text()}")
        super().start()

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": HOST,
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "off",
            "client_connection_check_interval": "100ms",  # a query ends with its client
            "shared_buffers": "16MB",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self.programs / self.program), "-D", str(self.data / "cluster"), *options]

    def answers(self) -> bool:
        return self.run(self.programs / "pg_isready", "-q", "-h", HOST, "-p", str(self.port))
