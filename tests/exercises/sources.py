"""Exercises as they stand in the lessons' sources, found by their nbgrader metadata."""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import jupytext

SOURCES = Path(__file__).parents[2] / "notebooks" / "src"
HEAD = re.compile(r"^### Exercise (\d+) · .+\n\n([●○]{3}) · (\d+) minutes\.", re.MULTILINE)
SOLUTION = re.compile(
    r"^( *)### BEGIN SOLUTION\n.*?^ *### END SOLUTION\n?", re.MULTILINE | re.DOTALL
)
CHECK = re.compile(r"checks\.(\w+)\((\w+)\)")


@dataclass(frozen=True)
class SourceExercise:
    """The cells of one exercise: the text above it, its solution and its check."""

    lesson: str  # the stem of the source
    grade_id: str
    text: str
    solution_cell: str
    check_cell: str
    imports: str  # the lesson's import statements, which the solution may use

    def head(self) -> tuple[int, str, int]:
        """Its number in the lesson, difficulty and minutes, as the learner reads them."""
        match = HEAD.search(self.text)
        assert match, f"{self.grade_id}: no '### Exercise 1 · Title' with '●○○ · 3 minutes.' below"
        return int(match[1]), match[2], int(match[3])

    def check_name(self) -> str:
        return CHECK.fullmatch(self.check_cell)[1]

    def solution(self) -> Callable:
        """The answer in the solution cell."""
        return self._define(self.solution_cell)

    def stub(self) -> Callable:
        """The answer a learner starts from, as nbgrader clears it."""
        return self._define(SOLUTION.sub(r"\1raise NotImplementedError()\n", self.solution_cell))

    def _define(self, cell: str) -> Callable:
        namespace = {}
        exec(compile(f"{self.imports}\n{cell}", self.grade_id, "exec"), namespace)
        return namespace[CHECK.fullmatch(self.check_cell)[2]]


def read_exercises() -> Iterator[SourceExercise]:
    """Every exercise of every lesson, in the order of the course."""
    for path in sorted(SOURCES.glob("*.py")):
        cells = jupytext.read(path).cells
        imports = "\n".join(_imports(cells))
        for text, solution, check in zip(cells, cells[1:], cells[2:], strict=False):
            if solution.metadata.get("nbgrader", {}).get("solution"):
                yield SourceExercise(
                    path.stem,
                    solution.metadata["nbgrader"]["grade_id"],
                    text.source,
                    solution.source,
                    check.source,
                    imports,
                )


def _imports(cells) -> Iterator[str]:
    """The import statements of a lesson's code cells, the bootstrap's left out."""
    for cell in cells:
        if cell.cell_type == "code" and "bootstrap" not in cell.metadata.get("tags", []):
            for node in ast.parse(cell.source).body:
                if isinstance(node, ast.Import | ast.ImportFrom):
                    yield ast.unparse(node)
