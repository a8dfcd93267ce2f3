"""`helpers.sweeps` against `fit`, `helpers.backpropagation` against autograd, and promises kept."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from helpers import data, layers, sweeps, training
from helpers.backpropagation import Stack
from helpers.data import Split
from helpers.sweeps import Replica, train_replicas

torch.set_num_threads(1)  # as lessons do; more only compete for the cores

SMALL = {"hidden_size": 20, "embedding_size": 4, "output_scale": 0.5}
BATCHNORM = SMALL | {"batchnorm": True}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def split():
    """500 examples in which the target is the last symbol of the context: easily learned."""
    contexts = torch.randint(27, (500, 3), generator=seeded(7))
    return Split(contexts, contexts[:, 2].clone())


@pytest.fixture(scope="module")
def names():
    return data.build_splits(data.load_names("world")[:3000])


def single_run(replica, split, steps, batch_size=32):
    """What the replica is measured by: its model and history from `name_mlp` and `fit`."""
    generator = seeded(replica.seed)
    model = layers.name_mlp(27, generator=generator, **replica.settings)
    history = training.fit(
        model,
        split,
        steps,
        replica.schedule,
        batch_size,
        generator=generator,
        progress=False,
    )
    return model, history


def train(replicas, split, steps, **options):
    return train_replicas(replicas, split, steps, progress=False, **options)


def largest_gradient_error(models, batch_size, floor=1e-6):
    """The largest norm of explicit minus autograd's gradient, over models and parameters.

    Relative to the norm of autograd's gradient by that parameter, or to `floor` times the norm of
    the model's whole gradient, or to 1e-6, whichever is largest. What is differentiated is, on a
    random batch, the sum over models of learning rate times mean loss.
    """
    count, (vocab_size, embedding_size) = len(models), models[0].embedding.weight.shape
    inputs = next(len(m.weight) for m in models[0] if isinstance(m, layers.Linear))
    generator = seeded(1)
    size = (count * batch_size, inputs // embedding_size)
    split = Split(
        torch.randint(vocab_size, size, generator=generator),
        torch.randint(vocab_size, size[:1], generator=generator),
    )
    # Neighbours differ: a batch of copies has no variance, and its gradients are all rounding.
    split.contexts[:, 0] = torch.arange(len(split)) % vocab_size
    draws = torch.arange(len(split)).view(1, count, batch_size)
    rates = 0.5 + torch.rand(1, count, generator=generator)
    stack = Stack(models, batch_size)
    with torch.inference_mode():
        batch = next(stack.minibatches(split, draws, rates))
        stack.backpropagate(*batch, stack.vector.new_empty(count, 1, batch_size))
    errors = []
    for k, model in enumerate(models):
        loss = cross_entropy(model(split.contexts[draws[0, k]]), split.targets[draws[0, k]])
        expected = torch.autograd.grad(rates[0, k] * loss, list(model.parameters()))
        whole = torch.cat([gradient.flatten() for gradient in expected]).norm()
        for (name, _), gradient in zip(model.named_parameters(), expected, strict=True):
            found = stack.gradients[name][k].reshape(gradient.shape)
            errors.append((found - gradient).norm() / max(gradient.norm(), floor * whole, 1e-6))
    return max(errors).item()


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 4),
    batch_size=st.integers(2, 40),
    vocab_size=st.integers(2, 40),
    sizes=st.fixed_dictionaries(
        {
            "block_size": st.integers(1, 5),
            "embedding_size": st.integers(1, 12),
            "hidden_size": st.integers(1, 40),
            "depth": st.integers(0, 4),
            "batchnorm": st.booleans(),
            "output_scale": st.sampled_from([0.01, 1.0]),
        }
    ),
)
def test_gradients_equal_autograds_for_every_shape(count, batch_size, vocab_size, sizes):
    models = [
        layers.name_mlp(vocab_size, generator=seeded(k), **sizes).double() for k in range(count)
    ]
    assert largest_gradient_error(models, batch_size) < 1e-6


@pytest.mark.parametrize("depth", [1, 5])
@pytest.mark.parametrize("scheme", ["naive", "kaiming", "batchnorm"])
def test_gradients_equal_autograds_in_single_precision(scheme, depth):
    start = layers.SCHEMES[scheme] | {"depth": depth}
    models = [layers.name_mlp(27, generator=seeded(k), **start) for k in range(3)]
    assert largest_gradient_error(models, 32, floor=1) < 1e-6


def test_gradients_stay_exact_where_activations_vanish():
    start = {"depth": 10, "hidden_gain": 0.3}  # activations of 1e-6 in the last layer
    models = [layers.name_mlp(27, generator=seeded(k), **start) for k in range(3)]
    assert largest_gradient_error(models, 32) < 2e-6


def test_replicas_reproduce_the_single_runs(names):
    schedule = training.step_decay(0.1, 0.01, 700)
    replicas = [
        Replica(seed, layers.SCHEMES[scheme] | {"depth": depth}, schedule)
        for seed, (scheme, depth) in enumerate(
            [("kaiming", 1), ("batchnorm", 1), ("kaiming", 5), ("batchnorm", 5)]
        )
    ]
    sweep = train(replicas, names.train, 1000, validation=names.val)
    for k, replica in enumerate(replicas):
        model, history = single_run(replica, names.train, 1000)
        assert_close(sweep.losses[k], history.losses, rtol=0, atol=1e-4)
        loss = training.evaluate(model, names.val)
        assert sweep.validation_losses[k].item() == pytest.approx(loss, abs=1e-3)
        assert training.evaluate(sweep.model(k), names.val) == pytest.approx(loss, abs=1e-3)


@pytest.mark.parametrize("batch_size", [5, 32, 50])
def test_running_statistics_end_where_fit_leaves_them(split, batch_size):
    replicas = [Replica(k, BATCHNORM | {"depth": 2, "momentum": 0.3 / (k + 1)}) for k in range(3)]
    sweep = train(replicas, split, 20, batch_size=batch_size)
    for k, replica in enumerate(replicas):
        model, _ = single_run(replica, split, 20, batch_size)
        assert_close(sweep.model(k).state_dict(), model.state_dict(), rtol=1e-4, atol=1e-5)


def test_results_come_in_the_order_given_whatever_the_architectures(split):
    wide = SMALL | {"hidden_size": 30}
    replicas = [
        Replica(1, SMALL, 0.5),
        Replica(2, BATCHNORM, lambda step: 0.3 / (step + 1)),
        Replica(3, wide, 0.1),
        Replica(4, SMALL | {"depth": 2, "output_scale": 0.1}),
        Replica(5, SMALL | {"hidden_gain": 0.5}, 0.05),
    ]
    sweep = train(replicas, split, 30)
    assert sweep.replicas == tuple(replicas)
    assert sweep.losses.shape == (5, 30)
    for k, replica in enumerate(replicas):
        _, history = single_run(replica, split, 30)
        assert_close(sweep.losses[k], history.losses, rtol=0, atol=1e-5)


def test_the_minibatches_do_not_depend_on_the_length_of_a_chunk(split, monkeypatch):
    whole = train([Replica(3, SMALL)], split, 40).losses
    monkeypatch.setattr(sweeps, "STEPS_PER_CHUNK", 7)
    assert torch.equal(train([Replica(3, SMALL)], split, 40).losses, whole)


def test_validation_is_nan_where_none_is_asked_for(split):
    assert train([Replica(0, SMALL)], split, 3).validation_losses.isnan().all()


def test_a_diverging_replica_is_marked_where_fit_stops(split):
    hot = Replica(1, SMALL, lambda step: 1e38 if step >= 5 else 0.1)
    with pytest.raises(training.DivergenceError) as caught:
        single_run(hot, split, 120)
    sweep = train([Replica(0, SMALL), hot], split, 120, validation=split)
    step, loss = sweep.diverged[1]
    assert sweep.diverged[0] is None
    assert step == caught.value.step
    assert not math.isfinite(loss)
    assert sweep.losses[1, :step].isfinite().all()
    assert sweep.losses[1, step:].isnan().all()
    assert sweep.validation_losses.isnan().tolist() == [False, True]
    with pytest.raises(ValueError, match=f"replica 1 has no model: .* at step {step}"):
        sweep.model(1)


@pytest.mark.parametrize("start", [SMALL, BATCHNORM], ids=["plain", "batchnorm"])
def test_a_diverging_replica_does_not_disturb_the_others(split, start):
    calm = [Replica(k, start) for k in range(3)]
    hot = Replica(9, start, 1e38)
    alone = train(calm, split, 150)
    beside = train([calm[0], hot, *calm[1:]], split, 150)
    assert beside.diverged[1] is not None
    assert_close(beside.losses[[0, 2, 3]], alone.losses, rtol=0, atol=1e-6)


def interrupting_at(last):
    """A schedule during which the user presses Ctrl-C."""

    def schedule(step):
        if step == last:
            raise KeyboardInterrupt
        return 0.1

    return schedule


def test_an_interrupt_returns_what_there_is(split, capsys):
    replicas = [Replica(0, SMALL), Replica(1, SMALL, interrupting_at(250))]
    sweep = train(replicas, split, 1000, validation=split)
    assert sweep.interrupted
    assert sweep.diverged == (None, None)
    done = sweep.losses.isfinite().sum(1).tolist()
    assert done == [200, 200]
    assert_close(sweep.losses[0, :200], single_run(replicas[0], split, 200)[1].losses)
    assert_close(sweep.validation_losses[1].item(), training.evaluate(sweep.model(1), split))
    assert "interrupted after 200 of 1000 steps" in "".join(capsys.readouterr())


def test_an_interrupt_within_a_chunk_keeps_the_finished_steps(split, monkeypatch):
    calls = iter(range(1000))
    backpropagate = Stack.backpropagate

    def pressed(self, *batch):
        if next(calls) == 130:
            raise KeyboardInterrupt
        backpropagate(self, *batch)

    monkeypatch.setattr(Stack, "backpropagate", pressed)
    sweep = train([Replica(0, SMALL)], split, 1000)
    assert sweep.interrupted
    assert sweep.losses[0].isfinite().sum() == 130
    expected, _ = single_run(Replica(0, SMALL), split, 130)
    assert_close(sweep.model(0).state_dict(), expected.state_dict(), rtol=1e-4, atol=1e-5)


def test_an_error_passes_through_and_leaves_autograd_on(split, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(Stack, "backpropagate", fail)
    with pytest.raises(ZeroDivisionError):
        train([Replica(0, SMALL)], split, 10)
    assert not torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()


def test_random_numbers_come_from_the_seeds_alone(split):
    before = torch.get_rng_state()
    first = train([Replica(0, BATCHNORM)], split, 10).losses
    torch.manual_seed(1)
    assert torch.equal(train([Replica(0, BATCHNORM)], split, 10).losses, first)
    torch.set_rng_state(before)
    train([Replica(0, BATCHNORM)], split, 10)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_model_is_a_copy_that_can_be_trained_on(split):
    sweep = train([Replica(0, BATCHNORM)], split, 10)
    model = sweep.model(0)
    training.fit(model, split, 10, generator=seeded(), progress=False)
    assert not torch.equal(model.embedding.weight, sweep.model(0).embedding.weight)


def test_smoothed_losses_are_means_over_windows(split):
    sweep = train([Replica(0, SMALL), Replica(1, SMALL)], split, 25)
    assert sweep.smoothed(10).shape == (2, 2)
    assert_close(sweep.smoothed(10)[1, 1], sweep.losses[1, 10:20].mean())


@pytest.mark.parametrize(
    ("replicas", "options", "words"),
    [
        ([], {}, "got 0 replicas"),
        ([Replica(0)], {"steps": 0}, "0 steps"),
        ([Replica(0)], {"batch_size": 0}, "batch_size 0"),
        ([Replica(0), Replica(0, {"width": 9})], {}, "replica 1: no such setting: width; there"),
        ([Replica(0, {"vocab_size": 9})], {}, "no such setting: vocab_size"),
        ([Replica(0, {"block_size": 4})], {}, r"block_size does not fit the contexts, \(500, 3\)"),
        ([Replica(0, {"activation": "relu"})], {}, "replica 0: ReLU has no gradients here"),
        ([Replica(0, BATCHNORM | {"momentum": None})], {}, "momentum=None"),
        ([Replica(0, BATCHNORM)], {"batch_size": 1}, "one example has no variance"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_the_reason(split, replicas, options, words):
    with pytest.raises(ValueError, match=words):
        train(replicas, split, **({"steps": 5} | options))


def test_a_plain_net_takes_batches_of_one(split):
    replica = Replica(0, SMALL)
    _, history = single_run(replica, split, 10, batch_size=1)
    assert_close(train([replica], split, 10, batch_size=1).losses[0], history.losses)


def test_the_benchmark_writes_a_record_of_the_agreed_shape(tmp_path):
    root = Path(__file__).parents[1]
    script = root / "tests" / "benchmarks" / "bench.py"
    arguments = ["--quick", "--only", "explicit_r1", "--out", tmp_path]
    run = subprocess.run(
        [sys.executable, script, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    record = json.loads((tmp_path / "bench.json").read_text())
    assert set(record) == {"machine", "commit", "rows"}
    assert [row["name"] for row in record["rows"]] == ["lecture_loop", "explicit_r1"]
    for row in record["rows"]:
        assert set(row) == {"name", "us", "us_p95", "speedup_vs_lecture"}
        assert 0 < row["us"] <= row["us_p95"]
        assert row["name"] in run.stdout
    assert record["rows"][0]["speedup_vs_lecture"] == 1
    assert (tmp_path / "bench.png").stat().st_size > 0
