"""What the sdist and the wheel must have in them, and must not; and the wheel installed, outside of the checkout.

python -m tests.packaging.distribution dist      (make dist)

Exit status 1 if a file is missing or too much, or if the installed wheel does not work.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

WHOLE = ["benchmarks", "docs", "examples", "tests"]
BESIDE = ["CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "MANIFEST.in", "Makefile", "README.md", "mkdocs.yml"]
BUILDS = ["pyproject.toml", "setup.py"]
MADE = {".cpp", ".so", ".pyc", ".pyo", ".html"}
"""What building and running leave in the checkout."""

IN_NO_WHEEL = "ferrule/_core/probe"
"""Built for the tests of the floor alone."""

TRIAL = Path(__file__).with_name("trial.py")


def wanted_in_sdist() -> set[str]:
    """Every source, and all that one needs to build, test and read it."""
    trees = [path for tree in ["src", *WHOLE] for path in (ROOT / tree).rglob("*") if path.is_file()]
    sources = {path.relative_to(ROOT).as_posix() for path in trees if path.suffix not in MADE}
    return {name for name in sources if not re.search(r"__pycache__/|\.egg-info/|/\.", name)} | {*BESIDE, *BUILDS}


def wanted_in_wheel() -> set[str]:
    """What Python, type checkers and a `cimport` read. The extension modules come on top."""
    package = ROOT / "src"
    return {
        path.relative_to(package).as_posix()
        for path in package.rglob("*")
        if path.suffix in {".py", ".pyi", ".pxd"} or path.name == "py.typed"
    }


def wanted_extensions() -> set[str]:
    """Those of the wheel, named as this interpreter names them."""
    modules = {path.relative_to(ROOT / "src").with_suffix("").as_posix() for path in (ROOT / "src").rglob("*.pyx")}
    return {module + sysconfig.get_config_var("EXT_SUFFIX") for module in modules - {IN_NO_WHEEL}}


def sdist_faults(names: Iterable[str]) -> list[str]:
    """What is wrong with an sdist of these files, named as below its one folder."""
    found = {name for name in names if not re.match(r"(PKG-INFO|setup\.cfg)$|src/ferrule\.egg-info/", name)}
    return _faults("sdist", found, wanted_in_sdist())


def wheel_faults(names: Iterable[str]) -> list[str]:
    """What is wrong with a wheel of these files."""
    found = {name for name in names if not re.match(r"ferrule-[^/]+\.dist-info/", name)}
    return _faults("wheel", found, wanted_in_wheel() | wanted_extensions())


def names_in_sdist(sdist: Path) -> list[str]:
    with tarfile.open(sdist) as archive:
        return [member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()]


def names_in_wheel(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def try_installed(wheel: Path) -> None:
    """Installs the wheel into a fresh environment far from the checkout and uses it there."""
    with tempfile.TemporaryDirectory(prefix="ferrule-") as place:
        venv.create(f"{place}/venv", with_pip=True)
        python = f"{place}/venv/bin/python"
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

        def run(*arguments: str) -> None:
            subprocess.run([python, *arguments], cwd=place, env=env, check=True, timeout=120)

        run("-m", "pip", "install", "-q", "--no-index", "--no-deps", str(wheel.resolve()))
        run("-W", "error", "-X", "dev", str(TRIAL))
        run("-m", "ferrule", "--files", "8", "--rounds", "1")


def main(folder: Path) -> int:
    [sdist], [wheel] = folder.glob("*.tar.gz"), folder.glob("*.whl")
    faults = sdist_faults(names_in_sdist(sdist)) + wheel_faults(names_in_wheel(wheel))
    if faults:
        print(*faults, sep="\n", file=sys.stderr)
        return 1
    try:
        try_installed(wheel)
    except subprocess.SubprocessError as error:
        print(f"the installed wheel: {error}", file=sys.stderr)
        return 1
    print(f"{sdist.name} and {wheel.name} are complete, and the wheel works")
    return 0


def _faults(what: str, found: set[str], wanted: set[str]) -> list[str]:
    missing = [f"{what}: {name} is missing" for name in sorted(wanted - found)]
    return missing + [f"{what}: {name} is too much" for name in sorted(found - wanted)]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
