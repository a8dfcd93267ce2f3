"""Predictions, recorded before the run and met again beside what was measured.

They are kept in a small file of the learner's own, so that a later session can show them. A
lesson run as it was handed out makes no guesses, and neither reads nor writes the file.
"""

import json
import os
from pathlib import Path

COURSE = "Unit Gaussian"  # marks a file as ours

_guesses: dict[str, float | None] = {}
_measured: dict[str, str] = {}
_notices: set[str] = set()


def guess(question: str, value: float | None) -> None:
    """Record a prediction; None stands for "no guess yet" and forgets this session's earlier one.

    A number is also kept in the file, until another takes its place.
    """
    if hasattr(value, "item"):  # a tensor or an array with one number
        value = value.item()
    if value is not None and not isinstance(value, int | float):
        print(f"a guess is a number, such as 0.5, not {type(value).__name__}; try again")
        return
    _guesses[question] = value
    if value is None:
        print("no guess yet: put a number in place of None and run this cell again")
    else:
        print(f"recorded: {question} = {value:g}")
        _keep(question, {"guess": value})


def reveal(question: str, measured: float, digits: int = 2, unit: str = "") -> None:
    """Print the measured value, rounded to `digits` decimals, beside the recorded guess."""
    text = f"{measured:.{digits}f} {unit}".strip()
    _measured[question] = text
    print(f"{question}: measured {text}; {_your_guess(_guesses.get(question))}")
    if _guesses.get(question) is not None:
        _keep(question, {"guess": _guesses[question], "measured": text})


def guesses(earlier: bool = False) -> None:
    """Print every question of this session with the guess and the measurement.

    With `earlier`, also those that the file has kept from other sessions.
    """
    for question, text in _measured.items():
        print(f"{question}: measured {text}; {_your_guess(_guesses.get(question))}")
    for question, kept in ((earlier and _load()) or {}).items():
        if question not in _measured and "measured" in kept:
            print(f"{question}: measured {kept['measured']}; {_your_guess(kept['guess'])}")


def _your_guess(value: float | None) -> str:
    return "you made no guess" if value is None else f"you guessed {value:g}"


def _path() -> Path:
    """The learner's file: the one that UNIT_GAUSSIAN_GUESSES names, or one in the home folder."""
    named = os.environ.get("UNIT_GAUSSIAN_GUESSES")
    return Path(named) if named else Path.home() / ".local/share/unit-gaussian/guesses.json"


def _keep(question: str, entry: dict) -> None:
    """Put an entry into the file, which at every moment is the old one or the new one, whole."""
    kept = _load()
    if kept is None:
        return
    try:
        path = _path()
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        text = json.dumps({"course": COURSE, "guesses": kept | {question: entry}}, indent=1)
        partial.write_text(text, "utf-8")
        partial.replace(path)
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: there is no home folder
        _notice(f"guesses are kept for this session only: {error}")


def _load() -> dict[str, dict] | None:
    """What the file holds, by question; None where it is not ours, after saying so."""
    try:
        content = json.loads(_path().read_text("utf-8"))
        if content["course"] == COURSE and all(map(_is_entry, content["guesses"].values())):
            return content["guesses"]
        problem = "it is not this course's"
    except FileNotFoundError:
        return {}
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"{type(error).__name__}: {error}"
    _notice(f"guesses are kept for this session only; their file cannot be used: {problem}")
    return None


def _is_entry(kept: dict) -> bool:
    number = isinstance(kept["guess"], int | float)
    return number and isinstance(kept.get("measured", ""), str)


def _notice(text: str) -> None:
    """Print a line, once in a session."""
    if text not in _notices:
        _notices.add(text)
        print(" ".join(text.split()))
