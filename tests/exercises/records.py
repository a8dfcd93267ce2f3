"""What the table knows about an exercise."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


class Mutant(NamedTuple):
    """A wrong answer, and the phrase with which the check must name its mistake."""

    mistake: str  # in a few words: it names the test
    answer: Callable
    phrase: str


@dataclass(frozen=True)
class Exercise:
    """One exercise. Its solution is not here: it is read from the lesson's source."""

    lesson: str  # the stem of the source, such as "01_naive_training"
    grade_id: str
    difficulty: str  # "●○○", "●●○" or "●●●"
    minutes: int
    check: str  # the name of the check in `helpers.checks`
    alternatives: dict[str, Callable]  # right answers written another way; the key says which
    mutants: tuple[Mutant, ...]
    differentiable: bool = False  # the check also asks autograd for the answer's gradient
    numeric: bool = True  # the answer is numbers, in any container that can hold them
