"""Predictions, recorded before the run and met again beside what was measured."""

_guesses: dict[str, float | None] = {}
_measured: dict[str, str] = {}


def guess(question: str, value: float | None) -> None:
    """Record a prediction; None stands for "no guess yet" and forgets an earlier one."""
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


def reveal(question: str, measured: float, digits: int = 2, unit: str = "") -> None:
    """Print the measured value, rounded to `digits` decimals, beside the recorded guess."""
    text = f"{measured:.{digits}f} {unit}".strip()
    _measured[question] = text
    print(f"{question}: measured {text}; {_your_guess(question)}")


def guesses() -> None:
    """Print every question of this session with the guess and the measurement."""
    for question, text in _measured.items():
        print(f"{question}: measured {text}; {_your_guess(question)}")


def _your_guess(question: str) -> str:
    value = _guesses.get(question)
    return "you made no guess" if value is None else f"you guessed {value:g}"
