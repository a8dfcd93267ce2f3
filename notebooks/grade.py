"""Grade a folder of submissions: python notebooks/grade.py DIR [--out FILE] [--jobs COUNT]

Each DIR/<student>/<NN_topic>.ipynb becomes a row of DIR/grades.csv, with the points of every
exercise and what was wrong. Only the exercises run, not the story around them, in a process that
is stopped when it hangs. It is the students' code all the same, and runs with your rights: grade
people you do not know inside a container.
"""

import argparse
import ast
import csv
import json
import multiprocessing
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

COURSE = Path(__file__).resolve().parents[1]
START_LIMIT = 300.0  # seconds for a process to load torch, on a machine that does much else
TIME_LIMIT = 60.0  # seconds for one exercise; inside it, a check stops each call after 10
CHECK = re.compile(r"checks\.(\w+)\((\w+)\)")


@dataclass(frozen=True)
class Exercise:
    """What the official lesson says of an exercise."""

    grade_id: str
    check: str  # its name in `helpers.checks`
    function: str  # the name the answer must have
    points: float


@dataclass(frozen=True)
class Cell:
    """A code cell of a submission; `grade_id` is None where it has no nbgrader metadata."""

    grade_id: str | None
    source: str


@dataclass(frozen=True)
class Row:
    """The grades of one submission."""

    student: str
    lesson: str
    points: dict[str, float]  # by grade_id
    problem: str  # what was wrong, one exercise after the other; empty if nothing


def read_lesson(path: Path) -> tuple[list[Exercise], list[str]]:
    """The exercises of an official lesson in their order, and the lesson's import statements."""
    exercises, imports, grade_id = [], [], None
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        source, metadata = "".join(cell["source"]), cell["metadata"]
        nbgrader = metadata.get("nbgrader", {})
        if nbgrader.get("solution"):
            grade_id = nbgrader["grade_id"]
        elif nbgrader.get("grade"):
            check, function = CHECK.fullmatch(source).groups()
            exercises.append(Exercise(grade_id, check, function, nbgrader["points"]))
        elif cell["cell_type"] == "code" and "bootstrap" not in metadata.get("tags", []):
            imports += definitions(source, ast.Import | ast.ImportFrom)
    return exercises, imports


def read_submission(path: Path) -> list[Cell]:
    """The code cells of a notebook. Raises ValueError where the file is none."""
    try:
        cells = json.loads(path.read_text("utf-8"))["cells"]
        return [
            Cell(
                cell.get("metadata", {}).get("nbgrader", {}).get("grade_id"),
                without_magics("".join(cell["source"])),
            )
            for cell in cells
            if cell["cell_type"] == "code"
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a notebook: {type(error).__name__}: {error}") from None


def without_magics(source: str) -> str:
    """The cell with `pass` in place of lines such as %timeit and !pip, which only Jupyter knows."""
    return re.sub(r"(?m)^([ \t]*)[%!].*", r"\1pass", source)


def definitions(source: str, kinds: type) -> list[str]:
    """The top-level statements of these kinds; none where the cell is not Python."""
    try:
        return [ast.unparse(node) for node in ast.parse(source).body if isinstance(node, kinds)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def find_answer(exercise: Exercise, cells: list[Cell]) -> tuple[str | None, str]:
    """The source of the answer, None if there is none, and what to say about where it was."""
    marked = [cell.source for cell in cells if cell.grade_id == exercise.grade_id]
    if marked:
        return marked[-1], "its cell is there twice, the last counts" if marked[1:] else ""
    head = re.compile(rf"^def {exercise.function}\b", re.MULTILINE)
    named = [cell.source for cell in cells if head.search(cell.source)]
    if named:
        return named[-1], "nbgrader's metadata is gone, found by the function's name"
    return None, "its cell is gone"


def grade(path: Path, lessons: dict[str, Path]) -> Row:
    """One submission's row. Whatever is wrong with the submission is said in its `problem`."""
    student, lesson = path.parent.name, path.stem
    if lesson not in lessons:
        return Row(student, lesson, {}, f"no lesson has this name; there are {', '.join(lessons)}")
    exercises, setting = read_lesson(lessons[lesson])
    points = {exercise.grade_id: 0 for exercise in exercises}
    try:
        cells = read_submission(path)
    except ValueError as error:
        return Row(student, lesson, points, one_line(error))
    # An answer may call what its author wrote in other cells.
    kinds = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef
    setting += [statement for cell in cells for statement in definitions(cell.source, kinds)]
    found = {exercise: find_answer(exercise, cells) for exercise in exercises}
    answers = {exercise: source for exercise, (source, _) in found.items() if source is not None}
    failures = dict(run(answers, setting))
    told = []
    for exercise, (source, notice) in found.items():
        failure = failures.get(exercise, "")
        if source is not None and not failure:
            points[exercise.grade_id] = exercise.points
        if notice or failure:
            told.append(f"{exercise.grade_id}: {'; '.join(filter(None, [notice, failure]))}")
    return Row(student, lesson, points, " | ".join(told))


def run(answers: dict[Exercise, str], setting: list[str]) -> Iterator[tuple[Exercise, str]]:
    """What is wrong with each answer, "" if nothing; one that hangs or dies leaves the others."""
    spawn = multiprocessing.get_context("spawn")
    todo = list(answers.items())
    while todo:
        results, sender = spawn.Pipe(duplex=False)
        with tempfile.TemporaryDirectory() as folder:
            process = spawn.Process(target=work, args=(sender, folder, todo, setting), daemon=True)
            process.start()
            sender.close()
            try:
                if not results.poll(START_LIMIT):
                    raise TimeoutError("the course's helpers did not load")
                results.recv()
                while todo and results.poll(TIME_LIMIT):
                    failure = results.recv()
                    yield todo.pop(0)[0], failure
                if todo:
                    yield todo.pop(0)[0], f"it was still running after {TIME_LIMIT:g} seconds"
            except (EOFError, ConnectionError):
                yield todo.pop(0)[0], "it ended the Python process"
            finally:
                process.kill()
                process.join()
                results.close()


def work(sender, folder: str, todo: list[tuple[Exercise, str]], setting: list[str]) -> None:
    """In a process of its own: send "ready", then for each answer what is wrong with it or ""."""
    os.chdir(folder)
    os.environ["NBGRADER_EXECUTION"] = "autograde"  # a check raises where it would print
    sys.path.insert(0, str(COURSE))
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    from helpers import checks, lesson

    lesson.start()
    sender.send("ready")
    for exercise, source in todo:
        try:
            sender.send(examine(exercise, source, setting, getattr(checks, exercise.check)))
        except BaseException as error:  # SystemExit, and whatever else an answer thinks of
            sender.send(one_line(f"{type(error).__name__}: {error}"))


def examine(exercise: Exercise, source: str, setting: list[str], check) -> str:
    """What is wrong with an answer, in one line, or ""; raises what the answer's cell raises."""
    namespace = {}
    for statement in setting:
        try:
            exec(statement, namespace)
        except Exception:
            continue  # another cell's trouble; if the answer needs it, that will show
    namespace.pop(exercise.function, None)
    exec(compile(source, exercise.grade_id, "exec"), namespace)
    if exercise.function not in namespace:
        return f"no function is called {exercise.function}"
    try:
        check(namespace[exercise.function])
    except AssertionError as mistake:
        lines = str(mistake).splitlines()
        causes = [line.strip() for line in lines if "likely cause" in line]
        return one_line(" ".join([lines[0].split(": ", 1)[-1].rstrip(":"), *causes]))
    return ""


def one_line(text: object) -> str:
    return " ".join(str(text).split())[:300]


def grade_folder(folder: Path, out: Path, lessons: dict[str, Path], jobs: int) -> None:
    """Write the rows of every submission to `out`; until all are there, to `out`.partial."""
    paths = sorted(folder.glob("*/*.ipynb"))
    used = [stem for stem in lessons if any(path.stem == stem for path in paths)]
    ids = [exercise.grade_id for stem in used for exercise in read_lesson(lessons[stem])[0]]
    partial = out.with_name(f"{out.name}.partial")
    with partial.open("w", encoding="utf-8", newline="") as file, ThreadPoolExecutor(jobs) as pool:
        table = csv.writer(file)
        table.writerow(["student", "lesson", *ids, "total", "problem"])
        for count, row in enumerate(pool.map(lambda path: _row(path, lessons), paths), 1):
            total, points = sum(row.points.values()), [row.points.get(key, "") for key in ids]
            table.writerow([row.student, row.lesson, *points, total, row.problem])
            file.flush()
            told = f"  {row.problem}" if row.problem else ""
            print(f"{count}/{len(paths)} {row.student} {row.lesson}: {total}{told}", flush=True)
    partial.replace(out)


def _row(path: Path, lessons: dict[str, Path]) -> Row:
    try:
        return grade(path, lessons)
    except Exception as error:  # a fault of ours; the other submissions still count
        return Row(path.parent.name, path.stem, {}, f"not graded: {one_line(repr(error))}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Grade a folder of submissions to a CSV file.")
    parser.add_argument("folder", type=Path, metavar="DIR", help="holds STUDENT/NN_topic.ipynb")
    parser.add_argument("--out", type=Path, metavar="FILE", help="DIR/grades.csv unless given")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="COUNT")
    options = parser.parse_args(arguments)
    if not any(options.folder.glob("*/*.ipynb")):
        parser.error(f"there is no {options.folder}/STUDENT/NN_topic.ipynb")
    lessons = {p.stem: p for p in sorted((COURSE / "notebooks").glob("[0-9][0-9]_*.ipynb"))}
    out = options.out or options.folder / "grades.csv"
    grade_folder(options.folder, out, lessons, options.jobs)
    print(f"written: {out}")


if __name__ == "__main__":
    main()
