"""How a check runs, and the comparisons checks are made of."""

import functools
import inspect
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch

TIME_LIMIT = 10.0  # seconds for one call of an answer; right answers take far less


class Mistake(AssertionError):
    """A property the answer does not have; the message is for the learner."""


class TooLong(BaseException):
    """The time limit has passed. Not an Exception, which the learner's code may well catch."""


def check(properties: Callable[[Callable], None]) -> Callable[[Callable], None]:
    """The check that tries `properties` on a learner's function and prints the verdict.

    `properties(answer)` raises Mistake at the first property that fails. A stub
    (NotImplementedError) is "not attempted yet"; any other error is reported with the
    learner's line. Under nbgrader (NBGRADER_EXECUTION is set) all of these raise Mistake.
    """
    name = properties.__name__

    @functools.wraps(properties)
    def run(answer: Callable) -> None:
        if not callable(answer):
            problem = f"✗ {name}: expected your function, got {type(answer).__name__}"
        else:
            problem = _problem(name, properties, answer)
        if problem is None:
            print(f"✓ {name}: correct")
        elif "NBGRADER_EXECUTION" in os.environ:
            raise Mistake(problem)
        else:
            print(problem)

    return run


def _problem(name: str, properties: Callable, answer: Callable) -> str | None:
    try:
        properties(_guarded(answer))
    except NotImplementedError:
        return f"○ {name}: not attempted yet"
    except Mistake as mistake:
        return f"✗ {name}: {mistake}"
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        written = getattr(getattr(answer, "__code__", None), "co_filename", None)
        # The learner's own line, where the error came out of a library further down.
        last = [frame for frame in frames if frame.filename == written] or frames
        place = f"line {last[-1].lineno} of {last[-1].name}: {last[-1].line}"
        return f"✗ {name}: your code raised {type(error).__name__}: {error}\n  {place}"
    return None


def _guarded(answer: Callable) -> Callable:
    """`answer`, raising Mistake where it cannot take its inputs, changes them or never ends."""

    def call(*inputs):
        try:
            inspect.signature(answer).bind(*inputs)
        except TypeError as error:
            count = len(inputs)
            raise Mistake(f"it is called with {count} positional arguments: {error}") from None
        lists = [value if isinstance(value, list | tuple) else [value] for value in inputs]
        tensors = [x for values in lists for x in values if torch.is_tensor(x)]
        before = [(x, x.detach().clone()) for x in tensors]
        try:
            with _time_limit(TIME_LIMIT):
                value = answer(*inputs)
        except TooLong:
            raise Mistake(
                f"it ran longer than {TIME_LIMIT:g} seconds; is there a loop that never ends?"
            ) from None
        if not all(torch.equal(x.detach(), copy) for x, copy in before):
            raise Mistake(
                "it changed its input in place. Work on a copy: x = x - 1 makes one, x -= 1 and "
                "x.sub_(1) do not"
            )
        return value

    return call


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raises TooLong in the body after `seconds`, where Python can: a Unix main thread.

    Handler and timer are afterwards as they were, for whoever else uses the alarm.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(*_):
        raise TooLong

    start = time.monotonic()
    handler = signal.signal(signal.SIGALRM, stop)
    # Again every second: a bare `except:` inside the loop takes the first one.
    remaining, interval = signal.setitimer(signal.ITIMER_REAL, seconds, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler or signal.SIG_DFL)
        if remaining:
            left = remaining - (time.monotonic() - start)
            signal.setitimer(signal.ITIMER_REAL, max(left, 1e-3), interval)


def expect_equal(
    got,
    expected: torch.Tensor | float,
    case: str,
    mistakes: Mapping[str, torch.Tensor | float] | None = None,
    tolerance: float = 1e-4,
) -> None:
    """Nothing, when `got` has the shape and the values of `expected`; else raises Mistake.

    `case` tells the learner which input was tried. `mistakes` maps a misconception's name to
    what it would have returned: when `got` is that, the message says so. `tolerance` is
    relative to 1 + |expected|.
    """
    if got is None:
        raise Mistake(f"on {case} it returned None; is a `return` missing?")
    try:
        value = torch.as_tensor(got)
    except (TypeError, ValueError, RuntimeError):
        raise Mistake(f"on {case} it returned {type(got).__name__}, not numbers") from None
    expected = torch.as_tensor(expected)
    likely = next(
        (cause for cause, wrong in (mistakes or {}).items() if _same(value, wrong, tolerance)), None
    )
    hint = "" if likely is None else f"\n  likely cause: {likely}"
    if value.shape != expected.shape:
        shapes = f"expected {tuple(expected.shape)}, got {tuple(value.shape)}"
        raise Mistake(f"wrong shape on {case}: {shapes}{hint}")
    if not _same(value, expected, tolerance):
        values = f"expected {_short(expected)}\n  got      {_short(value)}"
        raise Mistake(f"wrong value on {case}:\n  {values}{hint}")


def _same(value: torch.Tensor, expected: torch.Tensor | float, tolerance: float) -> bool:
    expected = torch.as_tensor(expected)
    if value.shape != expected.shape:
        return False
    value, expected = value.detach().double(), expected.detach().double()
    return bool(torch.allclose(value, expected, rtol=tolerance, atol=tolerance, equal_nan=True))


def _short(value: torch.Tensor) -> str:
    flat = value.detach().flatten()
    text = ", ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in flat[:6].tolist())
    return text if value.ndim == 0 else f"[{text}{', …' if flat.numel() > 6 else ''}]"
