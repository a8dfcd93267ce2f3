"""`helpers.diagnostics`: its numbers are torch's, and looking leaves no trace."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

from helpers import diagnostics, layers, training
from helpers.data import Split
from helpers.training import Step


@pytest.fixture(autouse=True)
def one_thread():
    """As in the lessons: at this size a second thread costs more than it brings."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def make_net(**settings):
    return layers.name_mlp(27, hidden_size=12, generator=generator(), **settings)


def make_split(count=64, seed=2):
    draw = generator(seed)
    contexts = torch.randint(27, (count, 3), generator=draw)
    return Split(contexts, torch.randint(27, (count,), generator=draw))


def loss_of(net, split):
    return cross_entropy(net(split.contexts), split.targets)


# record: what it sees


def test_a_recording_holds_activations_and_gradients_in_order_of_depth():
    net, split = make_net(depth=3), make_split()
    with diagnostics.record(net) as recording:
        loss_of(net, split).backward()
    assert [layer.name for layer in recording.layers] == ["tanh1", "tanh2", "tanh3"]
    h1 = net[:4](split.contexts)
    h1.retain_grad()
    cross_entropy(net[4:](h1), split.targets).backward()
    torch.testing.assert_close(recording.layers[0].activation, h1.detach())
    torch.testing.assert_close(recording.layers[0].gradient, h1.grad)


def test_a_recording_holds_each_weight_with_its_gradient_in_order_of_depth():
    net, split = make_net(depth=2), make_split()
    expected = torch.autograd.grad(loss_of(net, split), list(net.parameters()))
    by_name = dict(zip(dict(net.named_parameters()), expected, strict=True))
    with diagnostics.record(net) as recording:
        loss_of(net, split).backward()
    names = ["embedding.weight", "linear1.weight", "linear2.weight", "output.weight"]
    assert [weight.name for weight in recording.weights] == names
    for weight in recording.weights:
        torch.testing.assert_close(weight.gradient, by_name[weight.name])
        assert torch.equal(weight.data, net.get_parameter(weight.name))


def test_autograd_grad_is_recorded_like_backward():
    net, split = make_net(), make_split()
    with diagnostics.record(net) as recording:
        torch.autograd.grad(loss_of(net, split), list(net.parameters()))
    assert recording.layers[0].gradient is not None
    assert len(recording.weights) == 3


def test_without_gradients_there_are_activations_only():
    net = make_net()
    with diagnostics.record(net) as recording, torch.no_grad():
        net(make_split().contexts)
    assert recording.layers[0].gradient is None
    assert recording.weights == []
    assert math.isnan(diagnostics.layer_statistics(recording)[0].gradient_std)


def test_a_second_pass_replaces_the_first():
    net = make_net(depth=2)
    with diagnostics.record(net) as recording:
        loss_of(net, make_split(8)).backward()
        net(make_split(5).contexts)
    assert [layer.activation.shape for layer in recording.layers] == [(5, 12), (5, 12)]
    assert recording.layers[0].gradient is None
    assert recording.weights == []


def test_what_is_recorded_can_be_chosen():
    net, split = make_net(depth=2, batchnorm=True), make_split()
    kinds = (*diagnostics.LINEARS, *layers.BATCHNORMS)
    with diagnostics.record(net, kinds) as recording:
        net(split.contexts)
    names = ["linear1", "batchnorm1", "linear2", "batchnorm2", "output"]
    assert [layer.name for layer in recording.layers] == names


def test_an_in_place_relu_does_not_overwrite_what_was_recorded_before_it():
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True))
    x = torch.randn(16, 4, generator=generator())
    with diagnostics.record(net, (nn.Linear,)) as recording:
        net(x).sum().backward()
    torch.testing.assert_close(recording.layers[0].activation, net[0](x).detach())


def test_a_model_with_nothing_to_record_is_an_error_that_names_the_kinds():
    with pytest.raises(ValueError, match="no module of the kinds Tanh"):
        diagnostics.record(nn.Linear(2, 2)).__enter__()
    with pytest.raises(ValueError, match="record_run: the model has no module"):
        diagnostics.record_run(nn.Linear(2, 2)).__enter__()


# record: it leaves no trace


class Interruption(Exception):
    """Raised inside a recording."""


def state_of(net):
    """Everything that a recording must put back, in a form that == can compare."""
    modules = list(net.modules())
    return {
        "modes": [module.training for module in modules],
        "hooks": [
            (len(module._forward_hooks), len(module._forward_pre_hooks)) for module in modules
        ],
        "parameter hooks": [len(p._backward_hooks or ()) for p in net.parameters()],
        "values": [value.tolist() for value in net.state_dict().values()],
        "gradients": [None if p.grad is None else p.grad.tolist() for p in net.parameters()],
        "gradient identities": [id(p.grad) for p in net.parameters()],
        "random state": torch.get_rng_state().tolist(),
    }


def nested(net, split):
    with diagnostics.record(net, layers.BATCHNORMS):
        loss_of(net, split).backward()


ACTIONS = {
    "forward": lambda net, split: net(split.contexts),
    "backward": lambda net, split: loss_of(net, split).backward(),
    "switch to eval": lambda net, split: net.eval(),
    "switch to train": lambda net, split: net.train(),
    "zero the gradients": lambda net, split: net.zero_grad(set_to_none=False),
    "draw": lambda net, split: torch.rand(3),
    "record inside": nested,
    "evaluate": training.evaluate,
    "calibrate": lambda net, split: layers.calibrate(net, split.contexts),
}


@given(
    actions=st.lists(st.sampled_from(list(ACTIONS)), max_size=5),
    in_training=st.lists(st.booleans(), min_size=3, max_size=3),
    has_gradients=st.booleans(),
    raises=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_a_recording_leaves_no_trace_whatever_happens_inside(
    actions, in_training, has_gradients, raises
):
    net, split = make_net(depth=2, batchnorm=True), make_split(8)
    if has_gradients:
        loss_of(net, split).backward()
    for module, mode in zip((net, net.batchnorm1, net.batchnorm2), in_training, strict=True):
        module.training = mode
    before = state_of(net)
    try:
        with diagnostics.record(net):
            for action in actions:
                ACTIONS[action](net, split)
            if raises:
                raise Interruption
    except Interruption:
        pass
    assert state_of(net) == before


def test_an_error_in_the_forward_pass_leaves_no_trace():
    net = make_net(batchnorm=True)
    before = state_of(net)
    with pytest.raises(ValueError, match="a batch of one"), diagnostics.record(net):
        net(make_split(1).contexts)
    assert state_of(net) == before


def test_a_backward_pass_after_the_recording_still_works_and_is_not_recorded():
    net, split = make_net(batchnorm=True), make_split()
    for mode in (net.train, net.eval):
        mode()
        with diagnostics.record(net) as recording:
            loss = loss_of(net, split)
        loss.backward()
        assert recording.layers[0].gradient is None


# statistics


@pytest.mark.parametrize("activation", ["tanh", "relu", "linear"])
def test_layer_statistics_are_torchs_on_the_raw_tensors(activation):
    net, split = make_net(depth=2, hidden_gain=3.0, activation=activation), make_split()
    with diagnostics.record(net) as recording:
        loss_of(net, split).backward()
    for layer, numbers in zip(
        recording.layers, diagnostics.layer_statistics(recording), strict=True
    ):
        h, gradient = layer.activation, layer.gradient
        assert numbers.mean == h.mean().item()
        assert numbers.std == h.std().item()
        assert numbers.gradient_mean == gradient.mean().item()
        assert numbers.gradient_std == gradient.std().item()
        saturated, zero = (h.abs() > 0.97).float().mean().item(), (h == 0).float().mean().item()
        assert numbers.saturated == pytest.approx(
            saturated if activation == "tanh" else math.nan, nan_ok=True
        )
        assert numbers.zero == pytest.approx(
            zero if activation == "relu" else math.nan, nan_ok=True
        )


def test_weight_statistics_are_torchs_as_stds_and_as_norms():
    net, split = make_net(), make_split()
    with diagnostics.record(net) as recording:
        loss_of(net, split).backward()
    for weight, numbers in zip(
        recording.weights, diagnostics.weight_statistics(recording), strict=True
    ):
        assert numbers.std == weight.data.std().item()
        assert numbers.norm == weight.data.norm().item()
        assert numbers.std_ratio == (weight.gradient.std() / weight.data.std()).item()
        assert numbers.norm_ratio == (weight.gradient.norm() / weight.data.norm()).item()


def test_a_constant_weight_has_an_infinite_ratio_of_stds_and_a_finite_one_of_norms():
    weight = diagnostics.WeightRecord("gain", torch.ones(4, 4), torch.arange(16.0).view(4, 4))
    (numbers,) = diagnostics.weight_statistics(diagnostics.Recording(weights=[weight]))
    assert numbers.std_ratio == math.inf
    assert math.isfinite(numbers.norm_ratio)


# record_run


def run_net(steps=7, every=1, activations_every=3, learning_rate=0.1, **settings):
    net, split = make_net(depth=2, **settings), make_split()
    with diagnostics.record_run(net, every=every, activations_every=activations_every) as run:
        training.fit(
            net,
            split,
            steps,
            learning_rate,
            generator=generator(3),
            progress=False,
            on_step=run.on_step,
        )
    return net, run.record()


def test_the_update_ratio_is_log10_of_lr_times_the_ratio_of_stds_after_each_step():
    net, split, expected = make_net(depth=2), make_split(), []

    def on_step(step):
        weights = [(p, g) for p, g in zip(net.parameters(), step.gradients, strict=True)]
        expected.append(
            [(0.1 * g.std() / p.data.std()).log10().item() for p, g in weights if p.ndim == 2]
        )

    training.fit(net, split, 7, generator=generator(3), progress=False, on_step=on_step)
    _, record = run_net()
    torch.testing.assert_close(record.update_ratio, torch.tensor(expected), rtol=1e-5, atol=1e-5)
    assert record.weights == [
        "embedding.weight",
        "linear1.weight",
        "linear2.weight",
        "output.weight",
    ]


def test_recording_a_run_changes_nothing_about_it():
    net, record = run_net()
    twin = make_net(depth=2)
    history = training.fit(twin, make_split(), 7, generator=generator(3), progress=False)
    assert torch.equal(record.losses, history.losses)
    for recorded, plain in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.equal(recorded, plain)
    assert state_of(net)["hooks"] == state_of(twin)["hooks"]


def test_every_activation_of_every_sampled_step_is_counted():
    _, record = run_net(hidden_gain=1e-8, hidden_bias_scale=0.0, learning_rate=0.0)
    assert record.sampled_steps.tolist() == [0, 3, 6]
    assert record.layers == ["tanh1", "tanh2"]
    assert record.counts.sum(2).tolist() == [[32 * 12] * 2] * 3
    assert record.counts[0, 1, 0] == 32 * 12  # the second layer is below every bin


def test_the_saturated_fraction_is_that_of_the_sampled_minibatch():
    net, split, expected = make_net(hidden_gain=4.0), make_split(), []
    with diagnostics.record_run(net, activations_every=1) as run:
        batches = torch.randint(len(split), (3, 32), generator=generator(3))
        for batch in batches:
            h = net[:4](split.contexts[batch])
            expected.append((h.abs() > 0.97).float().mean().item())
        training.fit(
            net, split, 3, 0.0, generator=generator(3), progress=False, on_step=run.on_step
        )
    assert run.record().saturated[:, 0].tolist() == expected


def test_only_every_nth_step_is_recorded_when_asked():
    _, record = run_net(steps=7, every=3)
    assert record.steps.tolist() == [0, 3, 6]


@given(st.lists(st.floats(width=32), min_size=1, max_size=50))
def test_magnitudes_are_counted_in_the_bin_that_holds_them(values):
    h = torch.tensor(values, dtype=torch.float32)
    recorder = diagnostics.RunRecorder(nn.Tanh(), every=1, activations_every=1)
    recorder._outputs["tanh"] = h
    recorder.on_step(Step(0, 0.1, 1.0, ()))
    record = recorder.record()
    size = h.abs().nan_to_num(nan=math.inf)
    places = torch.bucketize(size, record.bin_edges, right=True)
    expected = torch.bincount(places, minlength=len(record.bin_edges) + 1)
    assert record.counts[0, 0].tolist() == expected.tolist()


def test_bins_reach_from_far_below_to_far_above_a_tanh_in_equal_parts_of_powers_of_two():
    edges = diagnostics.RunRecorder(nn.Tanh(), 1, 1).record().bin_edges
    assert edges[0] == 2**-15
    assert edges[-1] == 2**5
    assert torch.isin(torch.tensor([0.5, 0.625, 0.75, 0.875, 1.0]), edges).all()


def test_a_std_is_exact_where_two_sums_would_cancel():
    weight = nn.Parameter(1e3 + 1e-2 * torch.randn(50, 50, generator=generator()))
    net = nn.Sequential(nn.Tanh())
    net.register_parameter("weight", weight)
    with diagnostics.record_run(net) as run:
        net(torch.zeros(2, 2))
        gradient = torch.randn(50, 50, generator=generator(2))
        run.on_step(Step(0, 1.0, 1.0, (gradient,)))
    expected = (gradient.std() / weight.std()).log10().item()
    assert run.record().update_ratio.item() == pytest.approx(expected, abs=1e-6)


def test_the_hooks_of_a_run_are_gone_when_training_diverges():
    net = make_net()
    before = state_of(net)["hooks"]
    with pytest.raises(training.DivergenceError), diagnostics.record_run(net) as run:
        training.fit(
            net,
            make_split(),
            100,
            math.inf,
            generator=generator(),
            progress=False,
            on_step=run.on_step,
        )
    assert state_of(net)["hooks"] == before
    assert len(run.record().steps) >= 1


# record_batches


def test_recorded_batches_give_the_running_statistics_that_batchnorm_has():
    net, split = make_net(batchnorm=True, momentum=0.05), make_split()
    with diagnostics.record_batches(net.batchnorm1, batch_sizes=(4, 32)) as recorder:
        training.fit(net, split, 20, generator=generator(3), progress=False)
    mean, var = diagnostics.running_statistics(recorder.record(), 32, momentum=0.05)
    torch.testing.assert_close(mean, net.batchnorm1.running_mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(var, net.batchnorm1.running_var, rtol=1e-4, atol=1e-5)
    assert not net.batchnorm1._forward_pre_hooks


def test_corrected_running_statistics_of_equal_batches_are_those_of_a_batch():
    statistics = diagnostics.BatchStatistics(
        {4: torch.full((10, 3), 2.0)}, {4: torch.full((10, 3), 5.0)}
    )
    mean, var = diagnostics.running_statistics(statistics, 4, momentum=0.01, corrected=True)
    torch.testing.assert_close(mean, torch.full((3,), 2.0))
    torch.testing.assert_close(var, torch.full((3,), 5.0))
    started, _ = diagnostics.running_statistics(statistics, 4, momentum=0.01)
    assert started.max() < 0.2  # most of the weight is still on the start


def test_smaller_batches_are_the_first_examples_and_eval_mode_is_not_recorded():
    norm = layers.BatchNorm1d(3)
    x = torch.randn(8, 3, generator=generator())
    with diagnostics.record_batches(norm, batch_sizes=(2, 8)) as recorder:
        norm(x)
        norm.eval()(x)
    statistics = recorder.record()
    assert (statistics.steps, statistics.batch_sizes) == (1, [2, 8])
    torch.testing.assert_close(statistics.means[2][0], x[:2].mean(0))
    torch.testing.assert_close(statistics.variances[8][0], x.var(0))


def test_batches_that_never_came_are_an_error():
    with diagnostics.record_batches(layers.BatchNorm1d(3)) as recorder:
        pass
    with pytest.raises(ValueError, match="no batch"):
        recorder.record()


# mean_field


@pytest.mark.parametrize(
    ("gain", "expected"), [(0.5, 7.5e-7), (1.0, 0.161), (5 / 3, 0.651), (3.0, 0.837)]
)
def test_theory_gives_the_known_activation_std_of_twenty_tanh_layers(gain, expected):
    theory = diagnostics.mean_field(gain, 20)
    assert theory.activation_std[-1] == pytest.approx(expected, rel=5e-3)


def test_the_gain_that_keeps_a_unit_variance_in_tanh_is_known():
    gain = 1.5925
    theory = diagnostics.mean_field(gain, 1, batchnorm=True)  # batchnorm: unit variance before
    assert gain * theory.activation_std[0] == pytest.approx(1, abs=1e-4)


def test_relu_at_root_two_and_a_linear_net_at_one_keep_gradients():
    for gain, activation in ((2**0.5, "relu"), (1.0, "linear")):
        theory = diagnostics.mean_field(gain, 10, activation)
        assert theory.gradient_std == pytest.approx([1.0] * 10, rel=1e-3)
        assert theory.pre_activation_std == pytest.approx([gain] * 10, rel=1e-3)


def test_batchnorm_with_relu_lets_gradients_grow_by_a_known_factor():
    theory = diagnostics.mean_field(1.0, 3, "relu", batchnorm=True)
    assert theory.gradient_growth[0] ** 2 == pytest.approx(math.pi / (math.pi - 1), rel=1e-3)


@pytest.mark.parametrize("batchnorm", [False, True])
@pytest.mark.parametrize("gain", [1.0, 5 / 3, 3.0])
@pytest.mark.parametrize("activation", ["tanh", "relu", "linear"])
def test_theory_agrees_with_a_wide_net(activation, gain, batchnorm):
    net = layers.name_mlp(
        27,
        block_size=20,
        hidden_size=400,
        depth=6,
        hidden_gain=gain,
        hidden_bias_scale=0.0,
        activation=activation,
        batchnorm=batchnorm,
        generator=generator(),
    )
    x = torch.randn(400, 200, generator=generator(2))
    with diagnostics.record(net[2:]) as recording:
        (net[2:](x) * torch.randn(400, 27, generator=generator(3))).sum().backward()
    numbers = diagnostics.layer_statistics(recording)
    theory = diagnostics.mean_field(gain, 6, activation, batchnorm)
    for layer, std, gradient in zip(
        numbers, theory.activation_std, theory.gradient_std, strict=True
    ):
        # ReLU's sums scatter most: its activations share a mean, and so do not average out.
        tolerance = 0.2 if activation == "relu" else 0.1
        assert layer.std == pytest.approx(std, rel=tolerance)
        assert layer.gradient_std / numbers[-1].gradient_std == pytest.approx(gradient, rel=0.2)


def test_an_unknown_activation_is_an_error_that_names_the_known_ones():
    with pytest.raises(ValueError, match="tanh"):
        diagnostics.mean_field(1.0, 2, "gelu")


def test_records_are_apart_from_the_model():
    net, split = make_net(), make_split()
    with diagnostics.record(net) as recording:
        loss_of(net, split).backward()
    before = copy.deepcopy(recording.weights[1].data)
    with torch.no_grad():
        net.linear1.weight.zero_()
    assert torch.equal(recording.weights[1].data, before)
