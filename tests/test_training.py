"""`helpers.training` against a loop written by hand, and its promises when things go wrong."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from helpers import training
from helpers.data import Split, Vocabulary
from helpers.layers import name_mlp

torch.set_num_threads(1)  # as lessons do; more only compete for the cores

VOCAB_SIZE = 27


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def small_model(**settings):
    return name_mlp(
        VOCAB_SIZE,
        embedding_size=4,
        hidden_size=20,
        output_scale=0.5,
        generator=seeded(),
        **settings,
    )


@pytest.fixture(scope="module")
def split():
    """500 examples in which the target is the last symbol of the context: easily learned."""
    contexts = torch.randint(VOCAB_SIZE, (500, 3), generator=seeded(7))
    return Split(contexts, contexts[:, 2].clone())


class StoppingAfter(torch.nn.Module):
    """Answers through `model` for `calls` calls, then raises `error` or disturbs the logits."""

    def __init__(self, model, calls, error=None, disturb=None):
        super().__init__()
        self.model, self.calls, self.error, self.disturb = model, calls, error, disturb

    def forward(self, contexts):
        self.calls -= 1
        if self.calls >= 0:
            return self.model(contexts)
        if self.error is not None:
            raise self.error
        return self.disturb(self.model(contexts))


def modes(model):
    return {name: module.training for name, module in model.named_modules()}


def fit(model, split, steps, schedule=0.1, **settings):
    return training.fit(
        model, split, steps, schedule, generator=seeded(1), progress=False, **settings
    )


# fit


def hand_written_losses(model, split, steps, schedule, batch_size, generator):
    losses = []
    for step in range(steps):
        batch = torch.randint(len(split), (batch_size,), generator=generator)
        loss = cross_entropy(model(split.contexts[batch]), split.targets[batch])
        model.zero_grad()
        loss.backward()
        for parameter in model.parameters():
            parameter.data -= schedule(step) * parameter.grad
        losses.append(loss.item())
    return torch.tensor(losses)


@pytest.mark.parametrize("batchnorm", [False, True])
def test_fit_is_the_loop_written_by_hand(split, batchnorm):
    schedule = training.step_decay(0.5, 0.05, at=30)
    by_fit, by_hand = small_model(batchnorm=batchnorm), small_model(batchnorm=batchnorm)
    history = fit(by_fit, split, 60, schedule, batch_size=16)
    expected = hand_written_losses(by_hand, split, 60, schedule, 16, seeded(1))
    assert_close(history.losses, expected, rtol=0, atol=1e-6)
    assert_close(history.learning_rates, torch.tensor([0.5] * 30 + [0.05] * 30))
    for trained, reference in zip(
        by_fit.state_dict().values(), by_hand.state_dict().values(), strict=True
    ):
        assert_close(trained, reference, rtol=0, atol=1e-6)


def test_drawing_indices_in_chunks_is_drawing_them_step_by_step(split):
    steps = 2 * training.STEPS_PER_DRAW + 50
    drawn = []

    class Recorder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.logits = torch.nn.Parameter(torch.zeros(VOCAB_SIZE))

        def forward(self, contexts):
            drawn.append(contexts)
            return self.logits.expand(len(contexts), -1)

    generator, step_by_step = seeded(1), seeded(1)
    training.fit(Recorder(), split, steps, batch_size=5, generator=generator, progress=False)
    for contexts in drawn:
        batch = torch.randint(len(split), (5,), generator=step_by_step)
        assert torch.equal(contexts, split.contexts[batch])
    assert len(drawn) == steps
    assert torch.equal(generator.get_state(), step_by_step.get_state())


def test_fit_learns_an_easy_task(split):
    losses = fit(small_model(), split, 400, 0.5).losses
    assert losses[-50:].mean() < 0.2 * losses[:50].mean()


def test_fit_keeps_one_loss_and_one_learning_rate_per_step(split):
    history = fit(small_model(), split, 7, 0.25)
    assert history.losses.shape == history.learning_rates.shape == (7,)
    assert_close(history.learning_rates, torch.full((7,), 0.25))
    assert not history.losses.requires_grad
    assert history.interrupted is False


def test_fit_of_no_steps_changes_nothing(split):
    model, untouched = small_model(), small_model()
    assert len(fit(model, split, 0).losses) == 0
    assert_close(dict(model.named_parameters()), dict(untouched.named_parameters()), rtol=0, atol=0)


def test_fit_uses_only_its_own_generator(split):
    before = torch.get_rng_state()
    fit(small_model(), split, 3)
    assert torch.equal(torch.get_rng_state(), before)


def test_fit_trains_in_training_mode_even_after_an_evaluation(split):
    model = small_model(batchnorm=True).eval()
    fit(model, split, 3)
    assert model.batchnorm1.num_batches_tracked.item() == 3


def test_the_progress_bar_is_plain_text_that_is_wiped_in_the_end(split, capsys):
    training.fit(small_model(), split, 3, generator=seeded(1))
    printed = capsys.readouterr()
    *drawn, wiped, last = printed.out.split("\r")
    assert "/3" in drawn[-1]
    assert (wiped.strip(), last, printed.err) == ("", "", "")


def test_on_step_is_given_each_finished_step_with_the_parameters_moved(split):
    model, twin = small_model(), small_model()
    seen, moved = [], []

    def on_step(step):
        seen.append(step)
        moved.append(twin.output.weight.detach() - model.output.weight.detach())

    history = fit(model, split, 3, 0.5, on_step=on_step)
    assert [step.number for step in seen] == [0, 1, 2]
    assert_close(torch.tensor([step.loss for step in seen]), history.losses)
    assert_close(torch.tensor([step.learning_rate for step in seen]), history.learning_rates)
    names = [name for name, _ in model.named_parameters()]
    gradients = [step.gradients[names.index("output.weight")] for step in seen]
    assert_close(moved[0], 0.5 * gradients[0], rtol=1e-4, atol=1e-6)
    assert_close(moved[2], 0.5 * sum(gradients), rtol=1e-4, atol=1e-6)


def test_step_decay_changes_at_its_step():
    schedule = training.step_decay(0.1, 0.01, at=100)
    assert [schedule(step) for step in (0, 99, 100, 101)] == [0.1, 0.1, 0.01, 0.01]


def test_a_constant_schedule_never_changes():
    assert {training.constant(0.3)(step) for step in (0, 1, 10**6)} == {0.3}


# fit, when things go wrong


@pytest.mark.parametrize(
    ("loss", "disturb"),
    [
        (math.nan, lambda logits: logits * math.nan),
        (math.inf, lambda logits: logits.sign() * 3e38),  # their differences overflow
    ],
    ids=["nan", "inf"],
)
def test_divergence_names_the_step_and_the_loss_and_keeps_the_history(split, loss, disturb):
    model = StoppingAfter(small_model(), calls=4, disturb=disturb)
    undisturbed, reference = small_model(), fit(small_model(), split, 4)
    fit(undisturbed, split, 4)
    with pytest.raises(
        training.DivergenceError, match=rf"{loss} at step 4\b.*rate 0\.1\b"
    ) as error:
        fit(model, split, 10)
    assert error.value.step == 4
    assert str(error.value.loss) == str(loss)
    assert_close(error.value.history.losses, reference.losses)
    assert_close(error.value.history.learning_rates, torch.full((4,), 0.1))
    parameters = dict(model.model.named_parameters())
    assert_close(parameters, dict(undisturbed.named_parameters()), rtol=0, atol=0)


def test_too_high_a_learning_rate_diverges_with_finite_parameters(split):
    model = small_model(batchnorm=True)
    with pytest.raises(training.DivergenceError, match="lower the learning rate"):
        fit(model, split, 300, 1e20)
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_an_interrupt_returns_the_history_so_far(split, capsys):
    def interrupting(step):
        if step == 5:
            raise KeyboardInterrupt
        return 0.1

    model, reference = small_model(), small_model()
    history = fit(model, split, 100, interrupting)
    assert history.interrupted is True
    assert_close(history.losses, fit(reference, split, 5).losses, rtol=0, atol=0)
    assert history.learning_rates.shape == (5,)
    assert_close(dict(model.named_parameters()), dict(reference.named_parameters()))
    assert "interrupted after 5 of 100 steps" in capsys.readouterr().out


def test_an_interrupt_inside_the_model_keeps_losses_and_rates_in_step(split):
    model = StoppingAfter(small_model(), calls=3, error=KeyboardInterrupt())
    history = fit(model, split, 100)
    assert history.interrupted is True
    assert len(history.losses) == len(history.learning_rates) == 3


def test_other_errors_pass_through(split):
    with pytest.raises(ZeroDivisionError):
        fit(StoppingAfter(small_model(), calls=3, error=ZeroDivisionError()), split, 100)


# evaluate


@pytest.mark.parametrize("batch_size", [1, 7, 250, 500, 8192])
def test_evaluate_is_the_full_cross_entropy_whatever_the_batch_size(split, batch_size):
    model = small_model(batchnorm=True)
    fit(model, split, 20)
    loss = training.evaluate(model, split, batch_size)
    expected = cross_entropy(model.eval()(split.contexts), split.targets).item()
    assert isinstance(loss, float)
    assert loss == pytest.approx(expected, rel=1e-6)


def test_a_model_that_knows_nothing_pays_the_log_of_the_number_of_symbols(split):
    model = name_mlp(VOCAB_SIZE, output_scale=0.0, generator=seeded())
    assert training.evaluate(model, split) == pytest.approx(math.log(VOCAB_SIZE))


@pytest.mark.parametrize(
    "use",
    [
        lambda model, split: training.evaluate(model, split),
        lambda model, split: training.sample_names(model, Vocabulary(), 3, seeded()),
    ],
    ids=["evaluate", "sample_names"],
)
class TestUsingAModel:
    def test_leaves_each_modules_mode_and_buffers_as_they_were(self, split, use):
        model = small_model(batchnorm=True)
        model.tanh1.eval()
        before = modes(model)
        use(model, split)
        assert modes(model) == before
        assert model.batchnorm1.num_batches_tracked.item() == 0

    def test_restores_the_modes_when_the_model_raises(self, split, use):
        model = StoppingAfter(small_model(batchnorm=True), calls=0, error=ZeroDivisionError())
        model.model.tanh1.eval()
        before = modes(model)
        with pytest.raises(ZeroDivisionError):
            use(model, split)
        assert modes(model) == before
        assert torch.is_grad_enabled()

    def test_runs_in_eval_mode_without_gradients(self, split, use):
        seen = set()
        model = small_model(batchnorm=True)
        model.register_forward_hook(
            lambda module, args, logits: seen.add((module.training, logits.requires_grad))
        )
        use(model, split)
        assert seen == {(False, False)}

    def test_draws_nothing_from_the_global_generator(self, split, use):
        before = torch.get_rng_state()
        use(small_model(), split)
        assert torch.equal(torch.get_rng_state(), before)


# sample_names


def spelling(text):
    """A model that spells `text` with certainty, whatever the context holds besides its length.

    Its logits come from a table by the number of calls, since a name's letters come one a call.
    """
    vocabulary = Vocabulary()

    class Spelling(torch.nn.Module):
        calls = 0

        def forward(self, contexts):
            symbol = vocabulary.encode(text)[self.calls]
            self.calls = (self.calls + 1) % len(text)
            return torch.full((len(contexts), VOCAB_SIZE), -1e9).index_fill(
                1, torch.tensor([symbol]), 0.0
            )

    return Spelling()


def test_the_same_generator_samples_the_same_names():
    first, again, other = (
        training.sample_names(small_model(), Vocabulary(), 20, seeded(seed)) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_names_are_letters_only_and_no_longer_than_allowed():
    names = training.sample_names(small_model(), Vocabulary(), 200, seeded(), max_length=6)
    assert len(names) == 200
    assert set("".join(names)) <= set("abcdefghijklmnopqrstuvwxyz")
    assert max(len(name) for name in names) == 6


def test_a_name_ends_at_the_first_end_symbol():
    assert training.sample_names(spelling("emma.ava."), Vocabulary(), 2, seeded()) == ["emma"] * 2


def test_a_name_without_an_end_is_cut_at_max_length():
    names = training.sample_names(spelling("z"), Vocabulary(), 1, seeded(), max_length=5)
    assert names == ["zzzzz"]


def test_the_context_starts_with_end_symbols_and_slides_by_one():
    contexts_seen = []
    model = spelling("abcd.")
    model.register_forward_pre_hook(lambda module, args: contexts_seen.append(args[0][0].tolist()))
    training.sample_names(model, Vocabulary(), 1, seeded(), block_size=3, max_length=5)
    assert contexts_seen == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4]]


def test_letters_are_drawn_with_the_models_probabilities():
    class FixedLogits(torch.nn.Module):
        def forward(self, contexts):
            logits = torch.full((VOCAB_SIZE,), -1e9)
            logits[1], logits[2] = math.log(0.8), math.log(0.2)
            return logits.expand(len(contexts), -1)

    names = training.sample_names(FixedLogits(), Vocabulary(), 500, seeded(), max_length=10)
    letters = "".join(names)
    assert set(letters) == {"a", "b"}
    assert letters.count("a") / len(letters) == pytest.approx(0.8, abs=0.02)


# History


def history_of(losses):
    return training.History(torch.tensor(losses), torch.zeros(len(losses)))


def test_smoothed_takes_means_over_consecutive_windows():
    assert_close(history_of([1.0, 3.0, 5.0, 7.0]).smoothed(2), torch.tensor([2.0, 6.0]))


def test_smoothed_leaves_out_the_unfinished_window():
    assert_close(history_of([1.0, 3.0, 100.0]).smoothed(2), torch.tensor([2.0]))
    assert history_of([1.0]).smoothed(2).shape == (0,)


def test_smoothed_with_width_one_is_the_losses():
    history = history_of([1.0, 3.0, 5.0])
    assert_close(history.smoothed(1), history.losses, rtol=0, atol=0)
