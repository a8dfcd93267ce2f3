"""Pack the course for a class: python notebooks/handout.py [--solutions] [--out FILE]

The zip holds the learner's notebooks, or with --solutions the solved ones, and all that they need
to run. Beside it comes a folder with the same lessons as single files: helpers and data are inside
each notebook, for Colab or any place where a folder is too much. The same files always give the
same zip and the same notebooks.
"""

import argparse
import base64
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
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

UNPACK = """\
# @title Set-up: unpack the course's helpers and data
import base64
import io
import os
import sys
import zipfile
from pathlib import Path

archive = "{archive}"
course = Path.home() / ".cache/unit-gaussian/{digest}"
if not course.exists():
    partial = course.with_name(f"{{course.name}}-{{os.getpid()}}")
    zipfile.ZipFile(io.BytesIO(base64.b64decode(archive))).extractall(partial)
    partial.rename(course)
sys.path.insert(0, str(course))
from helpers import lesson

lesson.start()"""


def contents(course: Path, solutions: bool) -> Iterator[tuple[str, bytes]]:
    """The names in the zip, and what each file holds."""
    what = "the solutions" if solutions else "the lessons"
    yield "README.md", README.format(what=what, hand_in="" if solutions else HAND_IN).encode()
    yield "requirements.txt", (course / "requirements.txt").read_bytes()
    yield from library(course)
    for path in _lessons(course, solutions):
        yield f"notebooks/{path.name}", path.read_bytes()


def library(course: Path) -> Iterator[tuple[str, bytes]]:
    """The names and contents of what a lesson needs besides itself: helpers, data, the licence."""
    for path in (course / "LICENSE", *sorted(_data(course)), *sorted(_helpers(course))):
        yield path.relative_to(course).as_posix(), path.read_bytes()


def _lessons(course: Path, solutions: bool) -> list[Path]:
    folder = course / "notebooks" / ("solutions" if solutions else "")
    return sorted(folder.glob("[0-9][0-9]_*.ipynb"))


def _helpers(course: Path) -> Iterator[Path]:
    return (course / "helpers").rglob("*.py")


def _data(course: Path) -> Iterator[Path]:
    for pattern in ("README.md", "names.txt", "evidence/*.json"):
        yield from (course / "data").glob(pattern)


def write_zip(file: Path | BinaryIO, entries: Iterator[tuple[str, bytes]]) -> None:
    """Write a zip that is the same whenever and wherever its entries are."""
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for name, content in entries:
            entry = ZipInfo(name)  # dated 1980, whatever the clock says
            entry.compress_type, entry.external_attr = ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, content)


def pack(out: Path, course: Path = COURSE, solutions: bool = False) -> None:
    """Write the zip, whole or not at all; everything in it lies in one folder."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f"{out.name}.partial")
    entries = contents(course, solutions)
    write_zip(partial, ((f"unit-gaussian/{name}", content) for name, content in entries))
    partial.replace(out)


def pack_single_files(folder: Path, course: Path = COURSE, solutions: bool = False) -> None:
    """Write each lesson as one notebook that carries helpers and data in its set-up cell."""
    buffer = io.BytesIO()
    write_zip(buffer, library(course))
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()[:12]
    archive = base64.b64encode(buffer.getvalue()).decode()
    folder.mkdir(parents=True, exist_ok=True)
    for path in _lessons(course, solutions):
        notebook = json.loads(path.read_text("utf-8"))
        (cell,) = (c for c in notebook["cells"] if "bootstrap" in c["metadata"].get("tags", []))
        cell["source"] = UNPACK.format(archive=archive, digest=digest)
        (folder / path.name).write_text(json.dumps(notebook, indent=1) + "\n", "utf-8")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Pack the course for a class into a zip.")
    parser.add_argument("--solutions", action="store_true", help="the solved notebooks")
    parser.add_argument("--out", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    kind = "solutions" if options.solutions else "handout"
    out = options.out or COURSE / "build" / f"unit-gaussian-{kind}.zip"
    pack(out, solutions=options.solutions)
    pack_single_files(out.with_suffix(""), solutions=options.solutions)
    print(f"written: {out} ({out.stat().st_size / 1e6:.1f} MB)")
    print(f"written: {out.with_suffix('')}/, the same lessons as single files")


if __name__ == "__main__":
    main()
