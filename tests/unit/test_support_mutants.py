"""The mutants runner, on a toy project of plain Python: what counts as killed, as surviving, as unusable."""

import textwrap
from pathlib import Path

import pytest

from tests.support.mutants import Mutant, Unusable, main
from tests.support.race import GIL

pytestmark = pytest.mark.skipif(not GIL, reason="a tool in plain Python: it is no different without the GIL")

ENDINGS = {
    "01-fails": ("return 0", "killed by failure"),
    "02-crashes": ("import os; os.abort()", "killed by crash (SIGABRT)"),
    "03-hangs": ("import time; time.sleep(3600)", "killed by hang"),
    "04-survives": ("return 1 + 0", "SURVIVED"),
}


def patch(line, kills="tests/test_toy.py::test_one", module="toy", old="return 1"):
    return textwrap.dedent(f"""\
        What: one is wrong
        Kills: {kills}
        Module: {module}
        --- a/src/toy.py
        +++ b/src/toy.py
        @@ -1,2 +1,2 @@
         def one():
        -    {old}
        +    {line}
        """)


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    root = tmp_path / "toy"
    for folder in ("src", "tests/mutants/room"):
        (root / folder).mkdir(parents=True)
    (root / "setup.py").touch()
    (root / "src/toy.py").write_text("def one():\n    return 1\n")
    (root / "tests/test_toy.py").write_text(
        "import toy\n\ndef test_one():\n    assert toy.one() == 1\n\ndef test_broken():\n    assert False\n"
    )
    return root


def report(root):
    rows = (root / "tests/reports/mutants-room.md").read_text().splitlines()[6:]
    return {cells[1]: cells[4] for cells in ([cell.strip() for cell in row.split("|")] for row in rows)}


def test_each_ending_is_told_apart(toy, capfd):
    for name, (line, _) in ENDINGS.items():
        (toy / f"tests/mutants/room/{name}.patch").write_text(patch(line))
    assert main(["room", "--limit", "2"], root=toy) == 1
    assert report(toy) == {name: ending for name, (_, ending) in ENDINGS.items()}
    assert "SURVIVED" in capfd.readouterr().out


def test_all_killed_is_success_and_the_project_itself_is_untouched(toy):
    (toy / "tests/mutants/room/01-fails.patch").write_text(patch("return 0"))
    assert main([], root=toy) == 0
    assert report(toy) == {"01-fails": "killed by failure"}
    assert "return 1" in (toy / "src/toy.py").read_text()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (patch("return 0", old="return 2"), "the patch does not apply"),
        (patch("return 0", module="toy other"), "other is not one module"),
        (patch("return 0", kills="tests/test_toy.py::test_broken"), "without any mutant the tests must pass"),
        (patch("return 0", kills="tests/test_toy.py::test_absent"), "pytest ended with 4"),
        (patch("return 0").replace("Kills:", "Kill:"), "a header line is"),
        (patch("return 0").replace("What: one is wrong\n", ""), "no What"),
    ],
)
def test_what_cannot_be_tried_is_an_error(toy, capfd, text, reason):
    (toy / "tests/mutants/room/01-fails.patch").write_text(text)
    assert main([], root=toy) == 1
    said = capfd.readouterr()
    assert reason in said.out + said.err


def test_the_header_is_read(tmp_path):
    file = tmp_path / "01-name.patch"
    file.write_text("What: a\nWhat: b\nKills: x::y\nKills: x::z[a b]\nModule: m n\n--- a/f\n")
    mutant = Mutant.read(file)
    assert (mutant.what, mutant.kills, mutant.modules) == ("a b", ("x::y", "x::z[a b]"), ("m", "n"))
    file.write_text("What: a\nKills: x::y\n--- a/f\n")
    with pytest.raises(Unusable, match="no Module"):
        Mutant.read(file)
