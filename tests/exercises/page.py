"""Every message that a wrong answer gets, on one page: make messages writes build/messages.md."""

import contextlib
import io
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1]))
from exercises import EXERCISES
from helpers import checks

OUT = Path(__file__).parents[2] / "build" / "messages.md"


def page() -> str:
    """Markdown: each exercise, and under it each mutant with what its check says."""
    lines = ["# What the checks say", ""]
    for exercise in EXERCISES:
        lines += [f"## {exercise.lesson}: {exercise.grade_id}", ""]
        for mutant in exercise.mutants:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                getattr(checks, exercise.check)(mutant.answer)
            lines += [f"**{mutant.mistake}**", "", "```", printed.getvalue().rstrip(), "```", ""]
    return "\n".join(lines)


def main() -> None:
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(page(), "utf-8")
    print(f"written: {OUT}")


if __name__ == "__main__":
    main()
