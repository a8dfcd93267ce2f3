"""The table of every exercise, one module per lesson: add `lessonNN.py` and it is in the table."""

import importlib
import pkgutil

from exercises.records import Exercise, Mutant

__all__ = ["EXERCISES", "Exercise", "Mutant"]

LESSONS = sorted(module.name for module in pkgutil.iter_modules(__path__, f"{__name__}."))
EXERCISES: list[Exercise] = [
    exercise
    for name in LESSONS
    if name.startswith(f"{__name__}.lesson")
    for exercise in importlib.import_module(name).EXERCISES
]
