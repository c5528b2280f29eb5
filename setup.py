"""The extension modules and how they are compiled; everything else about the package is in pyproject.toml.

SANITIZE=thread|address   instrument the extensions (make tsan, make asan)
DEBUG=1                   unoptimised, with debug information and assertions
FERRULE_PROBE=1           also build ferrule._core.probe, which the floor's tests use and no wheel has
"""

import os
import sys

from Cython.Build import cythonize
from setuptools import Extension, setup

MODULES = [
    "_core.parking",
    "_core.coroutine",
    "mutex",
    "concurrent_map",
    "channel",
    "rwlock",
    "buffer",
    "pool",
    "dropin._queues",
]
if os.environ.get("FERRULE_PROBE") == "1":
    MODULES.append("_core.probe")

DIRECTIVES = {
    "language_level": 3,
    "freethreading_compatible": True,
    "binding": False,
    "embedsignature": True,
    "embedsignature.format": "clinic",
    "auto_pickle": False,
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
}

if sys.platform == "win32":
    compile_args, link_args = ["/std:c++17", "/O2"], []
else:
    debug = os.environ.get("DEBUG") == "1"
    compile_args = ["-std=c++17", *(["-O0", "-g", "-UNDEBUG"] if debug else ["-O2", "-g1"])]
    link_args = []
    if sanitizer := os.environ.get("SANITIZE"):
        compile_args += [f"-fsanitize={sanitizer}", "-fno-omit-frame-pointer", "-g"]
        link_args += [f"-fsanitize={sanitizer}"]

setup(
    ext_modules=cythonize(
        [
            Extension(
                f"ferrule.{name}",
                [f"src/ferrule/{name.replace('.', '/')}.pyx"],
                language="c++",
                extra_compile_args=compile_args,
                extra_link_args=link_args,
            )
            for name in MODULES
        ],
        compiler_directives=DIRECTIVES,
        include_path=["src"],
        annotate=os.environ.get("FERRULE_ANNOTATE") == "1",
    ),
    options={"build_ext": {"parallel": os.cpu_count()}},
)
