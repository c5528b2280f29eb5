"""The tests can fail: applies each seeded fault of tests/mutants to a copy and expects the named tests to notice.

    python -m tests.support.mutants [room ...]      (make mutants, ROOM=mutex for one room)

tests/mutants/README.md says how a mutant is written. The tree is copied and built once; each mutant gets a fresh copy
of that with every timestamp kept, so that only what its patch touches is compiled again. The results of each room go
to tests/reports/mutants-<room>.md. Exit status 1 if a mutant survives, or could not be tried.
"""

import argparse
import contextlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Mutant", "Result", "Unusable", "main", "try_room"]

ROOT = Path(__file__).resolve().parents[2]
COPIED = ["src", "tests", "setup.py", "pyproject.toml", "README.md", "LICENSE"]
LIMIT = 120.0
"""Seconds after which a test under a mutant counts as hung."""

GRACE = 60.0
"""Seconds more until a process is killed whose hang pytest-timeout cannot end, because the interpreter itself hangs."""

HANGS = re.compile(r"Hung: |\+ Timeout \+|Failed: Timeout")
"""How a hang shows that the kit or pytest-timeout ended before the limit did."""


WITHOUT_GIL = "a free-threaded interpreter"
GIL = getattr(sys, "_is_gil_enabled", lambda: True)()


class Unusable(Exception):
    """The mutants cannot be tried, or one of them cannot: it does not apply, does not build, or names no test."""


@dataclass(frozen=True)
class Mutant:
    """A patch and what its header says: the fault, the tests that must fail, the modules that it changes."""

    patch: Path
    what: str
    kills: tuple[str, ...]
    modules: tuple[str, ...]
    without_gil: bool = False

    @classmethod
    def read(cls, patch: Path) -> "Mutant":
        header = re.split(r"^(?=diff |--- )", patch.read_text(), maxsplit=1, flags=re.MULTILINE)[0]
        fields: dict[str, list[str]] = {"What": [], "Kills": [], "Module": [], "Needs": []}
        for line in header.splitlines():
            name, colon, value = line.partition(":")
            if not colon or name not in fields or not value.strip():
                raise Unusable(
                    f"{patch.name}: a header line is `What: ...`, `Kills: ...`, `Module: ...` or `Needs: ...`,"
                    f" not {line!r}"
                )
            fields[name].append(value.strip())
        if unknown := [need for need in fields["Needs"] if need != WITHOUT_GIL]:
            raise Unusable(f"{patch.name}: what a mutant may need is {WITHOUT_GIL!r}, not {unknown[0]!r}")
        if missing := [name for name, values in fields.items() if not values and name != "Needs"]:
            raise Unusable(f"{patch.name}: the header has no {' and no '.join(missing)}")
        modules = [module for value in fields["Module"] for module in value.split()]
        return cls(patch, " ".join(fields["What"]), tuple(fields["Kills"]), tuple(modules), bool(fields["Needs"]))


@dataclass(frozen=True)
class Result:
    """How one test went under one mutant."""

    mutant: Mutant
    test: str
    ending: str  # "killed by failure", "killed by crash (SIGSEGV)", "killed by hang", "SURVIVED", "UNUSABLE: why"

    @property
    def killed(self) -> bool:
        return self.ending.startswith("killed")


def _built(tree: Path) -> None:
    """Builds the extensions in place, as far as their timestamps ask for it."""
    built = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--inplace"],
        cwd=tree,
        env={**os.environ, "FERRULE_PROBE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if built.returncode:
        raise Unusable(f"does not build:\n{built.stdout}")


def _tested(tree: Path, tests: Sequence[str], limit: float) -> tuple[str, str]:
    """Runs the tests in the tree: "passed", "killed by ...", or "UNUSABLE: ...", and the output."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", f"--timeout={limit}", *tests],
        cwd=tree,
        env={
            "FERRULE_RACES": "1000",  # each is to be killed at the first try
            **os.environ,
            "PYTHONPATH": str(tree / "src"),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=limit + GRACE)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return "killed by hang", process.communicate()[0]
    if process.returncode < 0:
        return f"killed by crash ({signal.Signals(-process.returncode).name})", output
    match process.returncode:
        case 0:
            return "passed", output
        case 1 if HANGS.search(output):
            return "killed by hang", output
        case 1:
            return "killed by failure", output
    return f"UNUSABLE: pytest ended with {process.returncode}", output


def _tried(built: Path, mutant: Mutant, limit: float) -> Iterable[Result]:
    """Applies the mutant to a fresh copy of the built tree and runs each of its tests there."""
    with tempfile.TemporaryDirectory(prefix="ferrule-mutant-") as directory:
        tree = Path(directory) / "tree"
        shutil.copytree(built, tree, symlinks=True)
        try:
            _mutate(tree, mutant)
        except Unusable as reason:
            yield from (Result(mutant, test, f"UNUSABLE: {reason}") for test in mutant.kills)
            return
        for test in mutant.kills:
            ending, _ = _tested(tree, [test], limit)
            yield Result(mutant, test, "SURVIVED" if ending == "passed" else ending)


def _mutate(tree: Path, mutant: Mutant) -> None:
    before = {module: _compiled(tree, module) for module in mutant.modules}
    applied = subprocess.run(
        ["patch", "-p1", "--batch", "--forward", "--no-backup-if-mismatch", "-i", str(mutant.patch)],
        cwd=tree,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if applied.returncode:
        raise Unusable(f"the patch does not apply: {applied.stdout}")
    _built(tree)
    if unchanged := [module for module in mutant.modules if _compiled(tree, module) == before[module]]:
        raise Unusable(f"the patch does not change {', '.join(unchanged)}")


def _compiled(tree: Path, module: str) -> int:
    """When the module's extension (or its source, if it is plain Python) was last written."""
    path = tree / "src" / module.replace(".", "/")
    files = [*path.parent.glob(f"{path.name}.*.so"), *path.parent.glob(f"{path.name}.py")]
    if len(files) != 1:
        raise Unusable(f"{module} is not one module: {[file.name for file in files]}")
    return files[0].stat().st_mtime_ns


def try_room(root: Path, mutants: Sequence[Mutant], limit: float = LIMIT) -> Iterable[Result]:
    """Copies and builds `root`, checks that every named test passes there, then tries one mutant after the other."""
    with tempfile.TemporaryDirectory(prefix="ferrule-mutants-") as directory:
        built = Path(directory) / "tree"
        built.mkdir()
        for name in COPIED:
            if (root / name).is_dir():
                shutil.copytree(
                    root / name, built / name, ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.cpp")
                )
            elif (root / name).exists():
                shutil.copy2(root / name, built / name)
        _built(built)
        tests = sorted({test for mutant in mutants for test in mutant.kills})
        ending, output = _tested(built, tests, limit * max(1, len(tests)))
        if ending != "passed":
            raise Unusable(f"without any mutant the tests must pass, not be {ending}:\n{output}")
        for mutant in mutants:
            yield from _tried(built, mutant, limit)


def _report(room: str, results: Sequence[Result]) -> str:
    """The committed page: one row for each mutant and test."""
    rows = [
        f"| {r.mutant.patch.stem} | {r.mutant.what} | `{r.test.replace('|', '&#124;')}` | {r.ending.splitlines()[0]} |"
        for r in results
    ]
    killed = sum(r.killed for r in results)
    verb = "mutants" if GIL else "mutants-freethreaded"
    return "\n".join(
        [
            f"# Mutants: {room}",
            "",
            f"`make {verb} ROOM={room}` on {platform.python_implementation()} {platform.python_version()}: "
            f"{killed} of {len(results)} killed.",
            "",
            "| Mutant | What is wrong | Test that must notice | Result |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.support.mutants", description="Tries the seeded faults.")
    parser.add_argument("rooms", nargs="*", metavar="room", help="a folder of tests/mutants (default: all)")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds after which a test has hung (%(default)g)")
    options = parser.parse_args(arguments)
    folders = sorted(path for path in (root / "tests/mutants").iterdir() if path.is_dir())
    rooms = options.rooms or [folder.name for folder in folders]
    bad = False
    for room in rooms:
        try:
            mutants = [Mutant.read(patch) for patch in sorted((root / "tests/mutants" / room).glob("*.patch"))]
            if not mutants:
                raise Unusable("there are no mutants")
            mutants = [mutant for mutant in mutants if not (GIL and mutant.without_gil)]
            if not mutants:
                print(f"{room}: needs {WITHOUT_GIL} (make mutants-freethreaded)", flush=True)
                continue
            results = []
            for result in try_room(root, mutants, options.limit):
                print(f"{room}/{result.mutant.patch.stem:32}  {result.ending:28}  {result.test}", flush=True)
                results.append(result)
        except Unusable as reason:
            print(f"{room}: {reason}", file=sys.stderr)
            bad = True
            continue
        bad |= not all(result.killed for result in results)
        report = root / "tests/reports" / f"mutants-{room}.md"
        report.parent.mkdir(exist_ok=True)
        report.write_text(_report(room, results))
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
