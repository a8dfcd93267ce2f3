"""Execute lessons with papermill: python notebooks/run.py [NAME ...] [-p KEY VALUE] [--out FOLDER]

The executed copies go to FOLDER. A lesson that fails is named with its cell and its error, its
partial copy is kept, and the others still run.
"""

import argparse
import sys
import time
from ast import literal_eval
from pathlib import Path

import nbformat
import papermill
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError

NOTEBOOKS = Path(__file__).parent.resolve()


def run(lesson: Path, copy: Path, parameters: dict, cell_timeout: int) -> str | None:
    """What went wrong (the cell's number and first line, the error), or None; writes `copy`."""
    try:
        papermill.execute_notebook(
            lesson,
            copy,
            parameters,
            cwd=lesson.parent,
            execution_timeout=cell_timeout,
            extra_arguments=["--log-level=CRITICAL"],  # the kernel's log is not the lesson's
            progress_bar=False,
        )
    except PapermillExecutionError as error:
        reason = f"{error.ename}: {error.evalue}"
    except (CellTimeoutError, DeadKernelError) as error:
        reason = str(error).splitlines()[0]
    else:
        return None
    # Papermill leaves None where it never came; its own markers shift the numbers, so go by id.
    cells = nbformat.read(copy, as_version=4).cells
    last = [c for c in cells if c.metadata.get("papermill", {}).get("exception") is not None][-1]
    ids = [cell.id for cell in nbformat.read(lesson, as_version=4).cells]
    return f"cell {ids.index(last.id) + 1}: {last.source.splitlines()[0]}\n    {reason}"


def problem(lesson: Path, parameters: dict) -> str | None:
    """Why the lesson cannot take these parameters, where papermill would only warn, or None."""
    cells = nbformat.read(lesson, as_version=4).cells
    if not any("parameters" in cell.metadata.get("tags", []) for cell in cells):
        return f"{lesson.stem} has no cell tagged parameters"
    known = papermill.inspect_notebook(lesson)
    unknown = [key for key in parameters if key not in known]
    if unknown:
        return f"{lesson.stem} has no parameter {unknown[0]}; it has {', '.join(known)}"
    return None


def value(text: str) -> object:
    """The Python value that the text spells, or else the text itself: 10, 1e-3, True, world."""
    try:
        return literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def main(arguments: list[str] | None = None, folder: Path = NOTEBOOKS) -> int:
    """The exit code: 1 when a lesson failed, 0 when all ran."""
    parser = argparse.ArgumentParser(description="Execute the lessons and keep executed copies.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as 01_naive_training")
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("KEY", "VALUE"))
    parser.add_argument("--out", type=Path, default=NOTEBOOKS.parent / "build" / "run")
    parser.add_argument("--cell-timeout", type=int, default=600, metavar="SECONDS")
    options = parser.parse_args(arguments)
    lessons = {path.stem: path for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))}
    parameters = {key: value(text) for key, text in options.p}
    for name in options.names or lessons:
        if name not in lessons:
            parser.error(f"there is no {name}; there are {', '.join(lessons)}")
        if reason := problem(lessons[name], parameters):
            parser.error(reason)

    options.out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in options.names or lessons:
        print(f"{name} ...", end=" ", flush=True)
        start = time.perf_counter()
        copy = options.out / f"{name}.ipynb"
        failure = run(lessons[name], copy, parameters, options.cell_timeout)
        print(f"{'FAILED after' if failure else 'ok,'} {time.perf_counter() - start:.0f} s")
        if failure:
            failed += 1
            print(f"  {failure}\n    as far as it came: {copy}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
