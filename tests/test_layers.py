"""`helpers.layers` against torch.nn, against raw torch.randn calls, and against closed forms."""

import copy
import re

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from helpers import layers
from helpers.layers import BatchNorm1d, Linear, evaluation_mode, name_mlp

torch.set_num_threads(1)  # as lessons do; more only compete for the cores

VOCAB_SIZE = 27


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# Embedding, Linear, Tanh


def test_embedding_gives_each_index_its_row():
    embedding = layers.Embedding(VOCAB_SIZE, 10, seeded())
    contexts = torch.tensor([[0, 3, 26], [3, 3, 0]])
    assert_close(embedding(contexts), embedding.weight[contexts], rtol=0, atol=0)


def test_linear_equals_torch_linear_with_the_transposed_weight():
    ours = Linear(30, 200, generator=seeded(), bias_scale=1.0)
    theirs = nn.Linear(30, 200)
    theirs.load_state_dict({"weight": ours.weight.detach().T, "bias": ours.bias.detach()})
    x = torch.randn(7, 30, generator=seeded(1))
    assert ours.weight.shape == (30, 200)
    assert_close(ours(x), theirs(x))


def test_linear_without_bias_is_the_matrix_product():
    linear = Linear(30, 200, bias=False, generator=seeded())
    x = torch.randn(7, 30, generator=seeded(1))
    assert linear.bias is None
    assert list(linear.state_dict()) == ["weight"]
    assert_close(linear(x), x @ linear.weight, rtol=0, atol=0)


@pytest.mark.parametrize("gain", [1.0, layers.TANH_GAIN, 3.0])
@pytest.mark.parametrize("fan_in", [30, 400])
def test_linear_weights_have_std_gain_over_root_fan_in(fan_in, gain):
    weight = Linear(fan_in, 3000, gain=gain, generator=seeded()).weight
    assert weight.std().item() == pytest.approx(gain / fan_in**0.5, rel=0.01)
    assert weight.mean().item() == pytest.approx(0, abs=0.02 * gain / fan_in**0.5)


def test_linear_keeps_unit_variance_at_gain_one():
    x = torch.randn(2000, 300, generator=seeded(1))
    assert Linear(300, 400, generator=seeded())(x).std().item() == pytest.approx(1, rel=0.02)


def test_linear_scale_sets_the_std_whatever_the_gain():
    weight = Linear(30, 200, gain=100.0, generator=seeded(), scale=0.2).weight
    assert_close(weight, 0.2 * torch.randn(30, 200, generator=seeded()), rtol=0, atol=0)


def test_linear_scale_zero_means_zeros():
    assert not Linear(30, 200, generator=seeded(), scale=0.0).weight.any()


def test_linear_draws_its_bias_after_its_weight():
    linear = Linear(30, 200, generator=seeded(), scale=1.0, bias_scale=0.5)
    raw = seeded()
    assert_close(linear.weight, torch.randn(30, 200, generator=raw), rtol=0, atol=0)
    assert_close(linear.bias, 0.5 * torch.randn(200, generator=raw), rtol=0, atol=0)


def test_linear_draws_its_bias_even_where_it_is_scaled_to_zero():
    generator, raw = seeded(), seeded()
    assert not Linear(30, 200, generator=generator).bias.any()
    torch.randn(30, 200, generator=raw), torch.randn(200, generator=raw)
    assert_close(generator.get_state(), raw.get_state(), rtol=0, atol=0)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    first, again, other = (Linear(30, 200, generator=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.weight, again.weight)
    assert not torch.equal(first.weight, other.weight)


def test_tanh_is_odd_and_approaches_one():
    x = torch.linspace(-9, 9, 181)
    y = layers.Tanh()(x)
    assert_close(y, -layers.Tanh()(-x))
    assert_close(y, 1 - 2 / (1 + (2 * x).exp()))


# BatchNorm1d


def batchnorm_pair(num_features=5, **settings):
    """Ours and torch's, in float64, with the same weight and bias, neither of them trivial."""
    ours = BatchNorm1d(num_features, **settings).double()
    theirs = nn.BatchNorm1d(num_features, **settings).double()
    with torch.no_grad():
        ours.weight.copy_(torch.linspace(-1, 2, num_features))
        ours.bias.copy_(torch.linspace(3, -1, num_features))
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def forward_and_gradients(module, x, upstream):
    """Output, and the gradients of (output * upstream).sum() at input, weight and bias."""
    x = x.clone().requires_grad_()
    output = module(x)
    gradients = torch.autograd.grad(output, [x, module.weight, module.bias], upstream)
    return [output, *gradients]


def assert_same_step(ours, theirs, x, upstream):
    ours_got, theirs_got = (forward_and_gradients(m, x, upstream) for m in (ours, theirs))
    for name, got, expected in zip(
        ["output", "input gradient", "weight gradient", "bias gradient"],
        ours_got,
        theirs_got,
        strict=True,
    ):
        assert_close(got, expected, rtol=1e-9, atol=1e-9, msg=lambda text, n=name: f"{n}: {text}")
    for name, expected in theirs.state_dict().items():
        assert_close(ours.state_dict()[name], expected, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.parametrize("momentum", [None, 0.1, 0.001])
@pytest.mark.parametrize("eps", [1e-5, 0.1])
def test_batchnorm_equals_torch_over_several_steps_and_then_in_eval_mode(momentum, eps):
    ours, theirs = batchnorm_pair(momentum=momentum, eps=eps)
    generator = seeded()
    for batch_size in (32, 2, 5, 100):
        x = 3 + 2 * torch.randn(batch_size, 5, generator=generator, dtype=torch.float64)
        upstream = torch.randn(batch_size, 5, generator=generator, dtype=torch.float64)
        assert_same_step(ours, theirs, x, upstream)
    assert ours.num_batches_tracked.item() == 4
    ours.eval(), theirs.eval()
    assert_same_step(ours, theirs, x, upstream)
    assert ours.num_batches_tracked.item() == 4


def test_batchnorm_equals_torch_on_a_constant_column():
    ours, theirs = batchnorm_pair()
    x = torch.randn(8, 5, generator=seeded(), dtype=torch.float64)
    x[:, 2] = 7.0
    upstream = torch.randn(8, 5, generator=seeded(1), dtype=torch.float64)
    assert_same_step(ours, theirs, x, upstream)
    assert_close(ours(x)[:, 2], ours.bias[2].expand(8))


def test_batchnorm_keeps_a_small_spread_around_a_large_mean():
    x = 1e3 + 1e-1 * torch.randn(64, 5, generator=seeded())
    exact = (x.double() - x.double().mean(0)) / x.double().std(0, unbiased=False)
    assert_close(BatchNorm1d(5, eps=0)(x).double(), exact, rtol=0, atol=2e-3)


def test_batchnorm_starts_with_the_state_of_torch():
    ours, theirs = BatchNorm1d(5).state_dict(), nn.BatchNorm1d(5).state_dict()
    assert list(ours) == list(theirs)
    for name, expected in theirs.items():
        assert_close(ours[name], expected, rtol=0, atol=0)


def test_batchnorm_refuses_a_batch_of_one_in_training_and_moves_nothing():
    batchnorm = BatchNorm1d(5)
    with pytest.raises(ValueError, match=r"batch of one.*eval"):
        batchnorm(torch.zeros(1, 5))
    assert batchnorm.num_batches_tracked.item() == 0
    with pytest.raises(ValueError, match="more than 1 value"):
        nn.BatchNorm1d(5)(torch.zeros(1, 5))


def test_batchnorm_takes_a_batch_of_one_in_eval_mode():
    ours, theirs = batchnorm_pair()
    x = torch.randn(1, 5, generator=seeded(), dtype=torch.float64)
    assert_close(ours.eval()(x), theirs.eval()(x))


def test_an_empty_batch_does_not_poison_the_running_statistics():
    batchnorm = BatchNorm1d(5)
    with pytest.raises(ValueError, match="batch"):
        batchnorm(torch.zeros(0, 5))
    assert batchnorm.running_mean.isfinite().all()


@pytest.mark.parametrize("shape", [(5,), (4, 6), (4, 5, 3), (4, 3, 5)])
@pytest.mark.parametrize("training", [True, False])
def test_batchnorm_names_the_shape_it_wants_and_the_shape_it_got(shape, training):
    both_shapes = re.escape("(N, 5)") + ".*" + re.escape(str(shape))
    with pytest.raises(ValueError, match=both_shapes):
        BatchNorm1d(5).train(training)(torch.zeros(shape))


def test_batchnorm_unbiased_normalizes_with_n_minus_one():
    x = torch.randn(4, 5, generator=seeded(), dtype=torch.float64)
    batchnorm = BatchNorm1d(5, eps=0, unbiased=True).double()
    assert_close(batchnorm(x).var(0, unbiased=True), torch.ones(5, dtype=torch.float64))
    assert_close(batchnorm(x), (x - x.mean(0)) / x.std(0, unbiased=True))


def test_batchnorm_tracks_the_unbiased_variance_in_both_settings():
    x = torch.randn(4, 5, generator=seeded())
    for unbiased in (True, False):
        batchnorm = BatchNorm1d(5, momentum=1.0, unbiased=unbiased)
        batchnorm(x)
        assert_close(batchnorm.running_mean, x.mean(0))
        assert_close(batchnorm.running_var, x.var(0, unbiased=True))


def test_batchnorm_without_momentum_tracks_the_plain_average():
    batches = torch.randn(10, 8, 5, generator=seeded())
    batchnorm = BatchNorm1d(5, momentum=None)
    for batch in batches:
        batchnorm(batch)
    assert_close(batchnorm.running_mean, batches.mean(1).mean(0))
    assert_close(batchnorm.running_var, batches.var(1, unbiased=True).mean(0))


def test_batchnorm_state_makes_a_round_trip():
    generator = seeded()
    trained, fresh, theirs = BatchNorm1d(5), BatchNorm1d(5), nn.BatchNorm1d(5)
    for _ in range(3):
        trained(2 + torch.randn(8, 5, generator=generator))
    for other in (fresh, theirs):
        other.load_state_dict(trained.state_dict())
        x = torch.randn(6, 5, generator=generator)
        assert_close(other.eval()(x), trained.eval()(x))
        assert other.num_batches_tracked.item() == 3


def test_batchnorm_buffers_keep_no_graph():
    batchnorm = BatchNorm1d(5)
    x = torch.randn(8, 5, generator=seeded(), requires_grad=True)
    for _ in range(2):
        batchnorm(x).sum().backward()
    for buffer in batchnorm.buffers():
        assert not buffer.requires_grad
        assert buffer.grad_fn is None


# name_mlp


def count_parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_model_has_the_lectures_number_of_parameters():
    assert count_parameters(name_mlp(VOCAB_SIZE, generator=seeded())) == 11_897
    assert count_parameters(name_mlp(VOCAB_SIZE, batchnorm=True, generator=seeded())) == 12_097


def test_the_plain_model_draws_in_the_lectures_order():
    model = name_mlp(VOCAB_SIZE, generator=seeded(), **layers.SCHEMES["naive"])
    raw = seeded()
    shapes = [(27, 10), (30, 200), (200,), (200, 27), (27,)]
    for parameter, shape in zip(model.parameters(), shapes, strict=True):
        assert_close(parameter, torch.randn(shape, generator=raw), rtol=0, atol=0)


def test_the_batchnorm_model_draws_no_hidden_bias():
    model = name_mlp(VOCAB_SIZE, batchnorm=True, generator=seeded())
    raw = seeded()
    assert model.linear1.bias is None
    assert_close(model.embedding.weight, torch.randn(27, 10, generator=raw), rtol=0, atol=0)
    assert_close(model.linear1.weight, torch.randn(30, 200, generator=raw) * (5 / 3) / 30**0.5)
    assert_close(model.output.weight, torch.randn(200, 27, generator=raw) * 0.01)


def test_deep_models_draw_layer_by_layer():
    model = name_mlp(VOCAB_SIZE, hidden_size=50, depth=3, hidden_scale=1.0, generator=seeded())
    raw = seeded()
    torch.randn(27, 10, generator=raw)
    for name, fan_in in {"linear1": 30, "linear2": 50, "linear3": 50}.items():
        linear = model.get_submodule(name)
        assert_close(linear.weight, torch.randn(fan_in, 50, generator=raw), rtol=0, atol=0)
        assert_close(linear.bias, torch.randn(50, generator=raw) * 0.01, rtol=0, atol=0)


def test_every_hidden_layer_has_std_hidden_gain_over_root_fan_in():
    model = name_mlp(VOCAB_SIZE, depth=3, hidden_gain=2.0, generator=seeded())
    for linear in (model.linear1, model.linear2, model.linear3):
        expected = 2.0 / linear.weight.shape[0] ** 0.5
        assert linear.weight.std().item() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_modules_are_named_by_what_they_are_and_their_layer(depth):
    plain = name_mlp(VOCAB_SIZE, depth=depth, generator=seeded())
    normalized = name_mlp(VOCAB_SIZE, depth=depth, batchnorm=True, generator=seeded())
    names = [name for name, _ in plain.named_children()]
    hidden = [f"{kind}{layer}" for layer in range(1, depth + 1) for kind in ("linear", "tanh")]
    assert names == ["embedding", "flatten", *hidden, "output"]
    with_batchnorm = [name for name, _ in normalized.named_children()]
    assert [name for name in with_batchnorm if not name.startswith("batchnorm")] == names
    for layer in range(1, depth + 1):
        place = with_batchnorm.index(f"batchnorm{layer}")
        assert with_batchnorm[place - 1] == f"linear{layer}"
        assert with_batchnorm[place + 1] == f"tanh{layer}"


def test_batchnorm_momentum_reaches_every_layer():
    model = name_mlp(VOCAB_SIZE, depth=2, batchnorm=True, momentum=0.001, generator=seeded())
    assert model.batchnorm1.momentum == model.batchnorm2.momentum == 0.001


@pytest.mark.parametrize("scheme", layers.SCHEMES)
def test_every_scheme_maps_contexts_to_logits(scheme):
    model = name_mlp(VOCAB_SIZE, block_size=4, generator=seeded(), **layers.SCHEMES[scheme])
    contexts = torch.randint(VOCAB_SIZE, (6, 4), generator=seeded(1))
    assert model(contexts).shape == (6, VOCAB_SIZE)


def test_building_a_model_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    name_mlp(VOCAB_SIZE, depth=2, generator=seeded())
    assert torch.equal(torch.get_rng_state(), before)


# evaluation_mode


def mixed_model():
    """A model in training mode with one module in eval mode inside."""
    model = name_mlp(VOCAB_SIZE, batchnorm=True, generator=seeded())
    model.tanh1.eval()
    return model


def modes(model):
    return {name: module.training for name, module in model.named_modules()}


def test_evaluation_mode_restores_each_modules_own_mode():
    model = mixed_model()
    before = modes(model)
    with evaluation_mode(model) as same:
        assert same is model
        assert not any(modes(model).values())
    assert modes(model) == before


def test_evaluation_mode_restores_the_modes_when_the_body_raises():
    model = mixed_model()
    before = modes(model)
    with pytest.raises(ZeroDivisionError), evaluation_mode(model):
        1 / 0  # noqa: B018
    assert modes(model) == before


# calibrate


def contexts_of(count=1000):
    return torch.randint(VOCAB_SIZE, (count, 3), generator=seeded(5))


def batchnorm_model(depth=2):
    """A model whose running statistics are still the (0, 1) start, with weights of size 1."""
    return name_mlp(
        VOCAB_SIZE,
        hidden_size=20,
        depth=depth,
        batchnorm=True,
        output_scale=1.0,
        generator=seeded(),
    )


def buffers_of(model):
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


def test_calibration_sets_the_statistics_of_all_contexts():
    model, contexts = batchnorm_model(), contexts_of()
    layers.calibrate(model, contexts)
    before_norm = model[:3](contexts)  # embedding, flatten, linear1
    assert_close(model.batchnorm1.running_mean, before_norm.mean(0))
    assert_close(model.batchnorm1.running_var, before_norm.var(0, unbiased=True))


def test_calibration_leaves_every_layer_standardized_in_eval_mode():
    model, contexts = batchnorm_model(depth=3), contexts_of()
    layers.calibrate(model, contexts)
    x = contexts
    for name, module in model.eval().named_children():
        x = module(x)
        if name.startswith("batchnorm"):
            assert_close(x.mean(0), torch.zeros(20), rtol=0, atol=1e-4)
            assert_close(x.var(0), torch.ones(20), rtol=0, atol=1e-3)


@pytest.mark.parametrize("batch_size", [1, 7, 999, 8192])
def test_calibration_is_independent_of_the_batch_split(batch_size):
    whole, split = batchnorm_model(), batchnorm_model()
    layers.calibrate(whole, contexts_of(), batch_size=1000)
    layers.calibrate(split, contexts_of(), batch_size=batch_size)
    assert_close(buffers_of(split), buffers_of(whole), rtol=1e-5, atol=1e-6)


def test_calibration_keeps_a_small_spread_around_a_large_mean():
    x = 1e3 + 1e-1 * torch.randn(500, 4, generator=seeded())
    model = nn.Sequential(BatchNorm1d(4))
    layers.calibrate(model, x, batch_size=64)
    assert_close(model[0].running_var.double(), x.double().var(0), rtol=1e-5, atol=0)


def test_calibration_takes_torchs_batchnorm_too():
    ours, theirs = nn.Sequential(BatchNorm1d(4)), nn.Sequential(nn.BatchNorm1d(4))
    x = torch.randn(100, 4, generator=seeded())
    for model in (ours, theirs):
        layers.calibrate(model, x)
    assert_close(buffers_of(theirs), buffers_of(ours))


def test_calibration_changes_nothing_but_the_running_statistics():
    model = batchnorm_model()
    model.tanh1.eval()
    modes_before, state_before = modes(model), copy.deepcopy(model.state_dict())
    layers.calibrate(model, contexts_of())
    assert modes(model) == modes_before
    for name, value in model.state_dict().items():
        assert torch.equal(value, state_before[name]) != ("running" in name)


def test_calibration_that_fails_puts_everything_back():
    model = batchnorm_model()
    modes_before, state_before = modes(model), copy.deepcopy(model.state_dict())

    def fail_at_the_second_layer(*_):
        if not torch.equal(model.batchnorm1.running_mean, state_before["batchnorm1.running_mean"]):
            raise ZeroDivisionError

    handle = model.output.register_forward_hook(fail_at_the_second_layer)
    with pytest.raises(ZeroDivisionError):
        layers.calibrate(model, contexts_of())
    assert modes(model) == modes_before
    assert_close(model.state_dict(), state_before, rtol=0, atol=0)
    handle.remove()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_calibration_says_what_it_cannot_calibrate():
    with pytest.raises(ValueError, match="no batchnorm"):
        layers.calibrate(name_mlp(VOCAB_SIZE, generator=seeded()), contexts_of())
    with pytest.raises(ValueError, match="two examples, got 1"):
        layers.calibrate(batchnorm_model(), contexts_of(1))


# fold_batchnorm


def trained_looking(model):
    """The model with every parameter and statistic away from its trivial start."""
    generator = seeded(3)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if "batchnorm" in name and tensor.is_floating_point():
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    return model


@pytest.mark.parametrize("depth", [1, 3])
def test_a_folded_model_gives_the_same_logits_without_batchnorm(depth):
    model = trained_looking(batchnorm_model(depth)).eval()
    folded = layers.fold_batchnorm(model)
    assert_close(folded(contexts_of()), model(contexts_of()), rtol=1e-4, atol=1e-5)
    assert not any("batchnorm" in name for name, _ in folded.named_modules())
    assert not any(module.training for module in folded.modules())


def test_folding_takes_a_linear_layer_with_a_bias():
    model = nn.Sequential(
        Linear(5, 4, generator=seeded(), bias_scale=1.0), BatchNorm1d(4), layers.Tanh()
    ).eval()
    model[1].running_mean.fill_(2.0)
    x = torch.randn(6, 5, generator=seeded(1))
    assert_close(layers.fold_batchnorm(model)(x), model(x))


def test_folding_leaves_the_model_itself_alone():
    model = trained_looking(batchnorm_model()).train()
    state, names = copy.deepcopy(model.state_dict()), [name for name, _ in model.named_modules()]
    folded = layers.fold_batchnorm(model)
    with torch.no_grad():
        for parameter in folded.parameters():
            parameter.zero_()
    assert_close(model.state_dict(), state, rtol=0, atol=0)
    assert [name for name, _ in model.named_modules()] == names
    assert model.training


def test_a_batchnorm_without_a_linear_layer_before_it_cannot_be_folded():
    with pytest.raises(ValueError, match="does not follow a Linear"):
        layers.fold_batchnorm(nn.Sequential(BatchNorm1d(4)))
