"""Every check against every answer in the table: the right ones pass, the wrong ones are named.

A mutant is a wrong answer with the phrase that the check's message must contain.
"""

import contextlib
import importlib
import signal
import threading

import numpy as np
import pytest
import torch
from exercises import EXERCISES
from exercises.page import page
from exercises.sources import read_exercises

from helpers import checks
from helpers.checks import verdict as verdicts

guessing = importlib.import_module("helpers.checks.guesses")  # its name is a function's too

torch.set_num_threads(1)  # as lessons do; more only compete for the cores

SOURCES = {source.grade_id: source for source in read_exercises()}
TABLE = {exercise.grade_id: exercise for exercise in EXERCISES}
EVERY_EXERCISE = pytest.mark.parametrize("exercise", EXERCISES, ids=list(TABLE))

ALTERNATIVES = [
    pytest.param(exercise, answer, id=f"{exercise.grade_id}-{way}")
    for exercise in EXERCISES
    for way, answer in exercise.alternatives.items()
]
MUTANTS = [
    pytest.param(exercise, mutant, id=f"{exercise.grade_id}-{mutant.mistake}")
    for exercise in EXERCISES
    for mutant in exercise.mutants
]


@pytest.fixture(autouse=True)
def away_from_this_machine(monkeypatch, tmp_path_factory):
    """No nbgrader, and guesses are kept where they are not its owner's."""
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    path = tmp_path_factory.getbasetemp() / "guesses.json"
    monkeypatch.setenv("UNIT_GAUSSIAN_GUESSES", str(path))


@pytest.fixture
def verdict(capsys):
    """A function that runs a check on an answer and returns what it printed."""

    def run(exercise, answer):
        getattr(checks, exercise.check)(answer)
        printed = capsys.readouterr()
        assert printed.err == ""
        return printed.out

    return run


def assert_readable(exercise, message, symbol="✗"):
    """The verdict is the last thing printed, names the check, and shows nothing of our insides."""
    start = message.rfind(f"{symbol} {exercise.check}: ")
    assert start >= 0, message
    verdict = message[start:]
    assert len(verdict.splitlines()) <= 5
    for inside in ("Traceback", "helpers", "expect_equal", "Mistake", "site-packages"):
        assert inside not in verdict


# The table and the lessons


def test_the_table_holds_exactly_the_exercises_of_the_lessons():
    assert [(e.lesson, e.grade_id) for e in EXERCISES] == [
        (source.lesson, source.grade_id) for source in read_exercises()
    ]


def test_every_exercise_has_its_own_grade_id():
    assert len(TABLE) == len(EXERCISES)


def test_exercises_are_numbered_from_one_in_each_lesson():
    lessons = {}
    for source in read_exercises():
        lessons.setdefault(source.lesson, []).append(source.head()[0])
    for numbers in lessons.values():
        assert numbers == list(range(1, len(numbers) + 1))


@EVERY_EXERCISE
def test_the_text_above_an_exercise_states_its_difficulty_and_minutes(exercise):
    _, difficulty, minutes = SOURCES[exercise.grade_id].head()
    assert (difficulty, minutes) == (exercise.difficulty, exercise.minutes)
    assert difficulty in {"●○○", "●●○", "●●●"}


@EVERY_EXERCISE
def test_the_text_above_an_exercise_has_a_folded_hint(exercise):
    assert "<details><summary>Hint</summary>" in SOURCES[exercise.grade_id].text


@EVERY_EXERCISE
def test_the_check_cell_calls_the_check_of_the_table(exercise):
    assert SOURCES[exercise.grade_id].check_name() == exercise.check


@EVERY_EXERCISE
def test_an_exercise_has_two_alternatives_and_three_mutants_at_least(exercise):
    assert len(exercise.alternatives) >= 2
    assert len(exercise.mutants) >= 3


# Right and wrong answers


@EVERY_EXERCISE
def test_the_solution_passes(exercise, verdict):
    answer = SOURCES[exercise.grade_id].solution()
    assert verdict(exercise, answer) == f"✓ {exercise.check}: correct\n"


@pytest.mark.parametrize(("exercise", "answer"), ALTERNATIVES)
def test_a_right_answer_written_another_way_passes(exercise, answer, verdict):
    assert verdict(exercise, answer) == f"✓ {exercise.check}: correct\n"


@pytest.mark.parametrize(("exercise", "mutant"), MUTANTS)
def test_a_wrong_answer_is_told_its_mistake(exercise, mutant, verdict):
    message = verdict(exercise, mutant.answer)
    assert_readable(exercise, message)
    # A cause that is named must be the mistake that was made, not another with the same result.
    assert mutant.phrase in message.split("likely cause:")[-1]


@EVERY_EXERCISE
def test_an_untouched_stub_is_not_attempted_yet(exercise, verdict):
    message = verdict(exercise, SOURCES[exercise.grade_id].stub())
    assert message == f"○ {exercise.check}: not attempted yet\n"


def test_the_page_of_messages_has_every_mutants_message():
    assert page().count("✗ ") == len(MUTANTS)


# Under nbgrader


@EVERY_EXERCISE
def test_nbgrader_lets_the_solution_pass(exercise, verdict, monkeypatch):
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    assert "✓" in verdict(exercise, SOURCES[exercise.grade_id].solution())


@EVERY_EXERCISE
def test_nbgrader_gives_an_untouched_stub_zero(exercise, verdict, monkeypatch):
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    with pytest.raises(AssertionError, match="not attempted yet"):
        verdict(exercise, SOURCES[exercise.grade_id].stub())


@pytest.mark.parametrize(("exercise", "mutant"), MUTANTS)
def test_nbgrader_gives_a_wrong_answer_zero(exercise, mutant, verdict, monkeypatch):
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    with pytest.raises(AssertionError) as error:
        verdict(exercise, mutant.answer)
    assert mutant.phrase in str(error.value)


@EVERY_EXERCISE
def test_nbgrader_gives_code_that_raises_zero(exercise, verdict, monkeypatch):
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        verdict(exercise, lambda *inputs: 1 / 0)


# Accidents


@EVERY_EXERCISE
def test_a_missing_return_is_named(exercise, verdict):
    message = verdict(exercise, lambda *inputs: None)
    assert_readable(exercise, message)
    assert "is a `return` missing?" in message


@EVERY_EXERCISE
def test_an_answer_that_is_printed_is_a_missing_return(exercise, verdict):
    solution = SOURCES[exercise.grade_id].solution()
    message = verdict(exercise, lambda *inputs: print(solution(*inputs)))
    assert_readable(exercise, message)
    assert "is a `return` missing?" in message


@EVERY_EXERCISE
def test_whole_numbers_in_place_of_the_right_type_fail(exercise, verdict):
    solution = SOURCES[exercise.grade_id].solution()
    wanted = set()

    def answer(*inputs):
        value = torch.as_tensor(solution(*inputs))
        wanted.add(value.dtype)
        return value.long()

    message = verdict(exercise, answer)
    if wanted != {torch.int64}:  # else whole numbers are right, such as a count
        assert_readable(exercise, message)


@EVERY_EXERCISE
@pytest.mark.parametrize("convert", [torch.Tensor.tolist, np.asarray, torch.Tensor.requires_grad_])
def test_the_right_numbers_pass_in_any_container_that_can_hold_them(exercise, convert, verdict):
    if exercise.differentiable:
        pytest.skip("only a tensor carries gradients back to the input")
    if not exercise.numeric:
        pytest.skip("the answer is not numbers")
    solution = SOURCES[exercise.grade_id].solution()

    def converted(value):
        value = torch.as_tensor(value)
        if convert is torch.Tensor.requires_grad_ and not value.is_floating_point():
            return value
        return convert(value)

    def answer(*inputs):
        value = solution(*inputs)
        return tuple(map(converted, value)) if isinstance(value, tuple) else converted(value)

    assert verdict(exercise, answer) == f"✓ {exercise.check}: correct\n"


@EVERY_EXERCISE
@pytest.mark.parametrize(
    "value",
    ["3.30", {}, object(), (), [None], [[1.0], [1.0, 2.0]], torch.nan, torch.zeros(2, 0), print],
    ids=lambda value: type(value).__name__,
)
def test_an_answer_of_a_strange_kind_fails_readably(exercise, value, verdict):
    message = verdict(exercise, lambda *inputs: value)
    assert_readable(exercise, message)
    assert "your code raised" not in message  # it did not: it returned something else


@EVERY_EXERCISE
def test_an_answer_that_overwrites_its_input_is_told_so(exercise, verdict):
    solution = SOURCES[exercise.grade_id].solution()
    overwritten = 0

    def answer(*inputs):
        nonlocal overwritten
        value = solution(*inputs)
        for tensor in filter(torch.is_tensor, inputs):
            tensor.data.add_(1)
            overwritten += 1
        return value

    message = verdict(exercise, answer)
    if overwritten:
        assert_readable(exercise, message)
        assert "in place" in message


@EVERY_EXERCISE
def test_an_error_is_shown_with_the_learners_line(exercise, verdict):
    def answer(*inputs):
        return inputs[0] + "three"  # the learner's line

    message = verdict(exercise, answer)
    assert_readable(exercise, message)
    assert "your code raised TypeError" in message
    assert "the learner's line" in message


@EVERY_EXERCISE
def test_an_error_deep_in_a_library_is_shown_with_the_learners_line(exercise, verdict):
    def answer(*inputs):
        return torch.einsum("no such formula", torch.zeros(2))  # the learner's line

    message = verdict(exercise, answer)
    assert_readable(exercise, message)
    assert "the learner's line" in message


@EVERY_EXERCISE
def test_a_function_with_other_parameters_fails_readably(exercise, verdict):
    message = verdict(exercise, lambda: 0)
    assert_readable(exercise, message)
    assert "positional argument" in message
    assert "answer(" not in message  # the call is ours, not a line the learner can find


@EVERY_EXERCISE
@pytest.mark.parametrize("value", [3.3, None, torch.zeros(2)], ids=["number", "None", "tensor"])
def test_a_value_in_place_of_the_function_fails_readably(exercise, value, verdict):
    message = verdict(exercise, value)
    assert_readable(exercise, message)
    assert f"expected your function, got {type(value).__name__}" in message


@EVERY_EXERCISE
def test_a_check_leaves_the_global_random_state_alone(exercise, verdict):
    before = torch.get_rng_state()
    verdict(exercise, SOURCES[exercise.grade_id].solution())
    assert torch.equal(torch.get_rng_state(), before)


def test_an_interrupt_is_not_swallowed(verdict):
    def answer(*inputs):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verdict(EXERCISES[0], answer)


# Answers that never end


def loop_forever(*inputs):
    while True:
        pass


def loop_and_swallow(*inputs):
    while True:
        with contextlib.suppress(Exception):
            loop_forever()


def loop_and_swallow_once(*inputs):
    try:
        loop_forever()
    except:  # noqa: E722, the mistake itself
        loop_forever()


@pytest.fixture
def short_limit(monkeypatch):
    monkeypatch.setattr(verdicts, "TIME_LIMIT", 0.05)


@pytest.mark.parametrize("answer", [loop_forever, loop_and_swallow, loop_and_swallow_once])
def test_an_answer_that_never_ends_is_stopped(answer, verdict, short_limit):
    name = EXERCISES[0].check
    assert verdict(EXERCISES[0], answer) == (
        f"✗ {name}: it ran longer than 0.05 seconds; is there a loop that never ends?\n"
    )


def test_nbgrader_gives_an_answer_that_never_ends_zero(verdict, short_limit, monkeypatch):
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    with pytest.raises(AssertionError, match="a loop that never ends"):
        verdict(EXERCISES[0], loop_forever)


@pytest.mark.parametrize("answer", [loop_forever, lambda *inputs: 0, lambda *inputs: 1 / 0])
def test_the_time_limit_leaves_another_alarm_as_it_was(answer, verdict, short_limit):
    def mine(*_):
        raise AssertionError("fired")

    handler, timer = signal.signal(signal.SIGALRM, mine), signal.setitimer(signal.ITIMER_REAL, 99)
    try:
        verdict(EXERCISES[0], answer)
        assert signal.getsignal(signal.SIGALRM) is mine
        assert 90 < signal.getitimer(signal.ITIMER_REAL)[0] < 99
    finally:
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *timer)


def test_outside_the_main_thread_a_check_works_without_the_limit(verdict):
    printed = []
    thread = threading.Thread(
        target=lambda: printed.append(
            verdict(EXERCISES[0], SOURCES[EXERCISES[0].grade_id].solution())
        )
    )
    thread.start()
    thread.join()
    assert printed == [f"✓ {EXERCISES[0].check}: correct\n"]


# Recorded guesses; each test asks its own question, since guesses live as long as the process.


def test_a_guess_is_met_again_beside_the_measurement(capsys):
    checks.guess("first loss", 3.3)
    checks.reveal("first loss", 26.4321, digits=1, unit="nats")
    recorded, revealed = capsys.readouterr().out.splitlines()
    assert recorded == "recorded: first loss = 3.3"
    assert revealed == "first loss: measured 26.4 nats; you guessed 3.3"


def test_no_guess_is_no_error(capsys):
    checks.guess("unanswered", None)
    checks.reveal("unanswered", 0.5)
    invitation, revealed = capsys.readouterr().out.splitlines()
    assert invitation.startswith("no guess yet")
    assert revealed == "unanswered: measured 0.50; you made no guess"


def test_a_question_never_asked_can_be_revealed(capsys):
    checks.reveal("never asked", 0.5)
    assert "you made no guess" in capsys.readouterr().out


def test_a_later_guess_replaces_an_earlier_one_and_none_forgets_it(capsys):
    checks.guess("changed", 1)
    checks.guess("changed", 2)
    checks.reveal("changed", 3)
    checks.guess("changed", None)
    checks.reveal("changed", 3)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].endswith("you guessed 2")
    assert lines[4].endswith("you made no guess")


def test_a_guess_of_zero_is_a_guess(capsys):
    checks.guess("dead units", 0)
    checks.reveal("dead units", 0, digits=0)
    assert "measured 0; you guessed 0" in capsys.readouterr().out


def test_guesses_lists_each_revealed_question_once_with_its_last_measurement(capsys):
    checks.guess("listed", 1)
    checks.guess("not yet revealed", 1)
    checks.reveal("listed", 2)
    checks.reveal("listed", 3)
    capsys.readouterr()
    checks.guesses()
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("listed:")] == [
        "listed: measured 3.00; you guessed 1"
    ]
    assert not any(line.startswith("not yet revealed") for line in lines)


@pytest.mark.parametrize("value", ["3.3", [3.3], print], ids=["text", "list", "function"])
def test_a_guess_that_is_no_number_is_asked_for_again_and_not_recorded(value, capsys):
    question = f"no number: {type(value).__name__}"
    checks.guess(question, value)
    assert "number" in capsys.readouterr().out
    checks.reveal(question, 1)
    assert "you made no guess" in capsys.readouterr().out


def test_a_tensor_with_one_number_is_a_guess(capsys):
    checks.guess("tensor", torch.tensor(0.25))
    assert "= 0.25" in capsys.readouterr().out


# Guesses kept from session to session


@pytest.fixture
def guess_file(tmp_path, monkeypatch):
    """Where this test's guesses are kept; nothing is there yet."""
    path = tmp_path / "deep" / "guesses.json"
    monkeypatch.setenv("UNIT_GAUSSIAN_GUESSES", str(path))
    return path


@pytest.fixture
def new_session(monkeypatch, guess_file):
    """A function that forgets what the process remembers, as a restarted kernel does."""

    def restart():
        for name, kind in {"_guesses": dict, "_measured": dict, "_notices": set}.items():
            monkeypatch.setattr(guessing, name, kind())

    restart()
    return restart


def test_a_later_session_shows_earlier_guesses_when_asked(new_session, capsys):
    checks.guess("earlier", 3)
    checks.reveal("earlier", 26.4321, digits=1, unit="nats")
    checks.guess("never revealed", 3)
    new_session()
    capsys.readouterr()
    checks.guesses()
    assert capsys.readouterr().out == ""
    checks.guesses(earlier=True)
    assert capsys.readouterr().out == "earlier: measured 26.4 nats; you guessed 3\n"


def test_a_lesson_without_guesses_neither_reads_nor_writes_the_file(
    new_session, capsys, guess_file
):
    def lesson():
        new_session()
        checks.guess("question", None)
        checks.reveal("question", 1)
        checks.guesses()
        return capsys.readouterr().out

    untouched = lesson()
    assert not guess_file.parent.exists()
    checks.guess("question", 2)
    checks.reveal("question", 1)
    before = guess_file.read_text()
    capsys.readouterr()
    assert lesson() == untouched
    assert "you made no guess" in untouched
    assert guess_file.read_text() == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1]",
        b"\xff\xfe",
        b'{"course": "Other", "guesses": {}}',
        b'{"course": "Unit Gaussian", "guesses": {"a": 1}}',
        b'{"course": "Unit Gaussian", "guesses": {"a": {"guess": "three"}}}',
        b'{"course": "Unit Gaussian", "guesses": []}',
    ],
)
def test_a_broken_or_foreign_file_is_left_alone_with_one_line(
    content, new_session, capsys, guess_file
):
    guess_file.parent.mkdir()
    guess_file.write_bytes(content)
    checks.guess("question", 2)
    checks.reveal("question", 1)
    checks.guesses(earlier=True)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(("recorded", "question"))] == [lines[1]]
    assert lines[1].startswith("guesses are kept for this session only")
    assert guess_file.read_bytes() == content


@pytest.mark.parametrize("obstacle", ["a file for the folder", "a folder for the file"])
def test_a_file_that_cannot_be_written_costs_one_line(obstacle, new_session, capsys, guess_file):
    if obstacle == "a file for the folder":
        guess_file.parent.write_text("")
    else:
        guess_file.mkdir(parents=True)
    checks.guess("question", 2)
    checks.reveal("question", 1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "for this session only" in lines[1]
    assert lines[2] == "question: measured 1.00; you guessed 2"


def test_without_a_home_folder_guesses_live_in_the_session(new_session, monkeypatch, capsys):
    def fail():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("UNIT_GAUSSIAN_GUESSES")
    monkeypatch.setattr(guessing.Path, "home", fail)
    checks.guess("question", 2)
    assert "for this session only" in capsys.readouterr().out


def test_the_file_is_whole_after_a_write_that_failed(new_session, monkeypatch, guess_file, capsys):
    checks.guess("question", 2)
    before = guess_file.read_text()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(guessing.Path, "replace", fail)
    checks.guess("question", 3)
    assert "disk full" in capsys.readouterr().out
    assert guess_file.read_text() == before
