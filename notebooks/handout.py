"""Pack the course for a class: python notebooks/handout.py [--solutions] [--out FILE]

The zip holds the learner's notebooks, or with --solutions the solved ones, and all that they need
to run. The same files always give the same zip.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

COURSE = Path(__file__).resolve().parents[1]
README = """\
# Unit Gaussian: {what}

A course on initialization, batch normalization and training diagnostics, in Jupyter notebooks.
You need Python 3.11 or newer. In this folder:

    python3 -m venv .venv
    .venv/bin/python -m pip install --requirement requirements.txt
    .venv/bin/jupyter lab notebooks

On Windows, write .venv\\Scripts instead of .venv/bin. Start with 01. Keep the notebooks in this
folder: they look for `helpers` and `data` beside them, and need no network.
{hand_in}"""
HAND_IN = """
Hand in a notebook under the name that it has now, and leave its cells where they are: write your
answers in the cells that say YOUR CODE HERE.
"""


def contents(course: Path, solutions: bool) -> Iterator[tuple[str, bytes]]:
    """The names in the zip, and what each file holds."""
    what = "the solutions" if solutions else "the lessons"
    yield "README.md", README.format(what=what, hand_in="" if solutions else HAND_IN).encode()
    for path in (course / "LICENSE", course / "requirements.txt", *sorted(_data(course))):
        yield path.relative_to(course).as_posix(), path.read_bytes()
    for path in sorted((course / "helpers").rglob("*.py")):
        yield path.relative_to(course).as_posix(), path.read_bytes()
    folder = course / "notebooks" / ("solutions" if solutions else "")
    for path in sorted(folder.glob("[0-9][0-9]_*.ipynb")):
        yield f"notebooks/{path.name}", path.read_bytes()


def _data(course: Path) -> Iterator[Path]:
    for pattern in ("README.md", "names.txt", "evidence/*.json"):
        yield from (course / "data").glob(pattern)


def pack(out: Path, course: Path = COURSE, solutions: bool = False) -> None:
    """Write the zip, whole or not at all; everything in it lies in one folder."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f"{out.name}.partial")
    with ZipFile(partial, "w", ZIP_DEFLATED) as archive:
        for name, content in contents(course, solutions):
            entry = ZipInfo(f"unit-gaussian/{name}")  # dated 1980, whatever the clock says
            entry.compress_type, entry.external_attr = ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, content)
    partial.replace(out)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Pack the course for a class into a zip.")
    parser.add_argument("--solutions", action="store_true", help="the solved notebooks")
    parser.add_argument("--out", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    kind = "solutions" if options.solutions else "handout"
    out = options.out or COURSE / "build" / f"unit-gaussian-{kind}.zip"
    pack(out, solutions=options.solutions)
    print(f"written: {out} ({out.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
