# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 02 · Kaiming init
#
# Lesson 01 repaired a network with two factors, 0.01 and 0.2, found by trying. For a hidden layer
# no trying is needed: the factor is one over the root of a count, times a number that depends on
# the activation. You will derive both, predict a network 20 layers deep, and see what they are
# worth on the names network: little, until it gets deep.
#
# **You will be able to** choose the spread of any layer's weights and say why; predict by a short
# recursion how signals and gradients grow or shrink with depth; read PyTorch's initializers without
# falling for their fans; initialize a layer by measuring.
#
# **Time** 90 minutes, exercises included. **Builds on** lesson 01; variance of a sum.

# %% tags=["bootstrap", "nbval-ignore-output"]
# @title Set-up: find the course and its helpers
import os
import subprocess
import sys
from pathlib import Path

cache = Path.home() / ".cache/unit-gaussian/v1.0"
here = Path.cwd()
markers = [Path(f, "helpers/__init__.py") for f in (here, *here.parents, *sys.path, cache)]
ours = [m for m in markers if m.is_file() and "Unit Gaussian" in m.read_text("utf-8", "ignore")]
course = ours[0].parent.parent if ours else None
if course is None and "google.colab" in sys.modules:  # fetch it once
    clone = Path(f"{cache}-{os.getpid()}")
    command = "git clone --depth 1 --branch v1.0 https://github.com/unit-gaussian/unit-gaussian"
    if subprocess.run([*command.split(), clone], capture_output=True).returncode == 0:
        course = cache if cache.exists() else clone.rename(cache)
if course is None:
    raise RuntimeError("Open this notebook inside the course's folder, or in Colab with a network.")
if str(course / "helpers") not in getattr(sys.modules.get("helpers"), "__path__", []):
    for name in [name for name in sys.modules if name.split(".")[0] == "helpers"]:
        del sys.modules[name]  # another package of that name
sys.path.insert(0, str(course))
from helpers import lesson

lesson.start()

# %%
import math

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

from helpers import checks, data, evidence, layers, plotting, widgets

# %% tags=["parameters"]
dataset = "world"  # or "makemore", the lecture's corpus, or the path of a file of names
seed = 2147483647
steps = 1000

# %%
splits = data.build_splits(data.load_names(dataset))
print(f"{len(splits.train)} training examples, {len(splits.vocabulary)} symbols")
share = torch.bincount(splits.train.targets, minlength=27) / len(splits.train)  # (27,)
unigram_loss = torch.special.entr(share).sum().item()
print(f"counting single symbols, without any context: {unigram_loss:.2f} nats")

# %% [markdown]
# ## Why not zeros?
#
# If large weights are the fault, the safest weights are zeros. Or, since zero looks suspicious, 200
# hidden units that all start alike, copies of one random unit. Here are five starts of lesson 01's
# network, one of them with a single hidden unit. Biases are zero in all of them.


# %%
def starting_weights(start):
    """C (27, 10), W1 (30, H), b1 (H,), W2 (H, 27), b2 (27,); the generator that drew them."""
    generator = torch.Generator().manual_seed(seed)
    C = torch.randn(27, 10, generator=generator)
    W1 = torch.randn(30, 200, generator=generator) * 0.2
    W2 = torch.randn(200, 27, generator=generator) * 0.01
    if start == "all zeros":
        W1, W2 = W1 * 0, W2 * 0
    if start == "one unit alone":
        W1, W2 = W1[:, :1], W2[:1]
    if start == "200 copies of it":
        W1, W2 = W1[:, :1].repeat(1, 200), W2[:1].repeat(200, 1)
    if start == "output zeros":
        W2 = W2 * 0
    return [C, W1, torch.zeros(W1.shape[1]), W2, torch.zeros(27)], generator


# %%
def train(parameters, generator):
    """Lesson 01's loop at a constant learning rate of 0.1, and the training loss after it."""

    def loss_on(examples):
        C, W1, b1, W2, b2 = parameters
        h = torch.tanh(C[splits.train.contexts[examples]].view(-1, 30) @ W1 + b1)  # (N, H)
        return F.cross_entropy(h @ W2 + b2, splits.train.targets[examples])

    for parameter in parameters:
        parameter.requires_grad = True
    for _ in range(steps):
        batch = torch.randint(len(splits.train), (32,), generator=generator)
        gradients = torch.autograd.grad(loss_on(batch), parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.data -= 0.1 * gradient
    with torch.no_grad():
        return loss_on(torch.arange(len(splits.train))).item()


# %% [markdown]
# The 200 copies are trained for 1,000 steps. Afterwards, how many of units 2 to 200 will differ
# from unit 1?

# %%
checks.guess("units that differ from the first, of 199", None)

# %%
for start in ["all zeros", "one unit alone", "200 copies of it", "output zeros", "random"]:
    parameters, generator = starting_weights(start)
    loss = train(parameters, generator)
    W1 = parameters[1].detach()
    different = ((W1 - W1[:, :1]).abs().amax(0) > 0.001).sum().item()
    others = W1.shape[1] - 1
    print(f"{start:>16}: {loss:.2f} nats; {different} of {others} other units differ from unit 1")
    if start == "200 copies of it":
        copies_that_differ = different
checks.reveal("units that differ from the first, of 199", copies_that_differ, digits=0)

# %% [markdown]
# Units that start alike get the same gradient, so they stay alike. This is the **symmetry** that a
# start has to break. 200 copies can do no more than one unit, and did worse here: their equal
# steps add up. With all zeros, $h = \tanh 0 = 0$, so $W_2$ gets no gradient; $W_2 = 0$, so nothing
# gets past it to $W_1$. Only the output bias learns, and the net ends where counting symbols ends.
#
# One layer may be zero: with $W_2 = 0$ alone the units differ by their incoming weights, $W_2$
# learns in the first step, and all is well. So: random numbers, somewhere. How wide a spread?

# %% [markdown]
# ## Any spread? A sum grows
#
# One linear layer: inputs `x` of std 1, 30 of them, and weights of std 1. Each output is a sum of
# 30 products. The number of terms in that sum is the layer's **fan-in**. What is the std of the
# outputs?

# %%
checks.guess("std of a sum of 30 products", None)

# %%
generator = torch.Generator().manual_seed(seed)
x = torch.randn(1000, 30, generator=generator)
W = torch.randn(30, 200, generator=generator)
y = x @ W  # (1000, 30) @ (30, 200) -> (1000, 200)


def draw_before_and_after(x, y, title):
    """Histograms of a layer's inputs and outputs, side by side on the same axes."""
    _, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.0), sharey=True)
    plotting.draw_histogram(x, left, limits=(-20, 20), bins=80, colour=plotting.GREY)
    plotting.draw_histogram(y, right, limits=(-20, 20), bins=80, colour=plotting.ORANGE)
    left.set(title="Inputs x", xlabel="value")
    right.set(title=title, xlabel="value", ylabel="")


draw_before_and_after(x, y, "Outputs x @ W, much wider")
checks.reveal("std of a sum of 30 products", y.std().item(), digits=1)

# %% [markdown]
# Not 30 times wider. Let the fan-in vary.

# %%
for fan_in in (10, 100, 1000, 10_000):
    terms = torch.randn(1000, fan_in, generator=generator)
    outputs = terms @ torch.randn(fan_in, 100, generator=generator)
    print(f"fan-in {fan_in:>6}: output std {outputs.std():6.1f}, root {fan_in**0.5:6.1f}")

# %% [markdown]
# ## Why the root
#
# One output is $y = \sum_{i=1}^{n} x_i w_i$, with $n$ the fan-in. The weights are independent of
# each other and of $x$, with mean 0 and variance $\sigma_w^2$. Then the mean of $y$ is 0, the mixed
# terms of $y^2$ average to nothing, since $E[w_i w_j] = 0$ for $i \neq j$, and what is left is
#
# $$E[y^2] = \sum_{i=1}^{n} E[x_i^2]\, E[w_i^2] = n\, \sigma_w^2\, E[x^2].$$
#
# Variances add up, so the std grows with the root of the fan-in. Nothing was asked of $x$: it need
# not be Gaussian, nor have mean zero. What counts is its **mean square** $E[x^2]$, not its
# variance. Outputs as large as the inputs need $n \sigma_w^2 = 1$: weights of std $1/\sqrt{n}$.

# %%
y = x @ (W / 30**0.5)
draw_before_and_after(x, y, "Outputs x @ (W / √30), as wide as x")
print(f"std of x {x.std():.2f}, of x @ (W / √30) {y.std():.2f}")
print(f"weights of std 1/√30 = {30**-0.5:.3f}; lesson 01 found 0.2 by trying")

# %% [markdown]
# ## What an activation does to the spread
#
# After the sum comes tanh. It leaves small values alone and holds large ones below 1, so what comes
# out is narrower. Pre-activations of std 1 go in. With what std do they come out?

# %%
checks.guess("std of tanh of a unit Gaussian", None)

# %% [markdown]
# The answer is the root of the integral $E[\tanh^2 z] = \int \tanh^2(z)\, \varphi(z)\, dz$ with
# $\varphi$ the density of the standard normal. No formula solves it, so use **quadrature**: values
# on a fine grid, each weighted with its probability, summed up.

# %%
z = torch.linspace(-8, 8, 4001, dtype=torch.float64)  # the values of a standard normal ...
density = torch.exp(-(z**2) / 2)
density /= density.sum()  # ... and their probabilities
print(f"test: E[z] = {abs(density @ z):.4f}, E[z²] = {density @ z**2:.4f}")

mean_square = density @ torch.tanh(z) ** 2  # E[tanh² z]
drawn = torch.tanh(torch.randn(1_000_000, generator=generator))
checks.reveal("std of tanh of a unit Gaussian", mean_square.item() ** 0.5, digits=3)
print(f"std of a million draws: {drawn.std():.3f}")

# %% [markdown]
# To undo this, the next layer's weights are made larger by a factor, the **gain**:
#
# $$\sigma_w = \frac{\text{gain}}{\sqrt{\text{fan-in}}}, \qquad
# \text{gain} = \frac{1}{\sqrt{E[f(z)^2]}}$$
#
# for an activation $f$. This is **Kaiming init** (He et al. 2015, who did it for relu; Glorot and
# Bengio 2010 had the root, for linear units).

# %% [markdown]
# ### Exercise 1 · The gain of any activation
#
# ●○○ · 5 minutes. Return the gain of an activation function, to about one percent. The check also
# tries one that is in no textbook. Quadrature or a million random draws: your choice.
#
# <details><summary>Hint</summary>The mean of the square, not the square of the mean, and not the
# variance. If you draw, use your own <code>torch.Generator</code>.</details>


# %% nbgrader={"schema_version": 3, "grade_id": "activation-gain", "grade": false, "solution": true, "locked": false, "task": false}
def activation_gain(activation):
    """The gain that keeps the size behind `activation`, a function of tensors: a number."""
    ### BEGIN SOLUTION
    z = torch.linspace(-8, 8, 4001)
    density = torch.exp(-(z**2) / 2)
    mean_square = (density * activation(z) ** 2).sum() / density.sum()
    return 1 / mean_square**0.5
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "activation-gain-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2}
checks.activation_gain(activation_gain)

# %% [markdown]
# PyTorch keeps a table of gains. Beside it, the integral:

# %%
for name, f in {"linear": lambda x: x, "relu": torch.relu, "tanh": torch.tanh}.items():
    gain = 1 / (density @ f(z) ** 2) ** 0.5
    print(f"{name:>7}: {gain:.4f}, PyTorch {torch.nn.init.calculate_gain(name):.4f}")
tanh_gain = 1 / mean_square.item() ** 0.5
print(f"for tanh PyTorch is {(5 / 3) / tanh_gain - 1:.1%} higher")

# %% [markdown]
# relu keeps half of the square, the positive half: $E[\text{relu}(z)^2] = 1/2$, gain $\sqrt 2$. Its
# output has a mean above 0, and that does not matter, since the next sum only asks for the mean
# square. For tanh the value that keeps the size is 1.5925. PyTorch's 5/3 is a little above it; it is
# in wide use, and most of our experiments use it too.

# %% [markdown]
# ### Exercise 2 · A weight of the right spread
#
# ●○○ · 4 minutes. Standard normal draws come in as (fan-in, number of outputs). Scale them to
# Kaiming's spread for the given `gain`.
#
# <details><summary>Hint</summary>A factor on the draws is a factor on their std. The outputs are
# <code>x @ weight</code>: which dim of the weight is summed over?</details>


# %% nbgrader={"schema_version": 3, "grade_id": "kaiming", "grade": false, "solution": true, "locked": false, "task": false}
def kaiming(draws, gain):
    """The weight (fan-in, outputs) made of standard normal draws of that shape."""
    ### BEGIN SOLUTION
    fan_in = draws.shape[0]
    return draws * gain / fan_in**0.5
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "kaiming-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 1}
checks.kaiming(kaiming)

# %% [markdown]
# ## Twenty layers, predicted
#
# One layer with a wrong gain comes out a little too narrow or too wide. Twenty of them multiply.
# Write $q$ for the mean square of a layer's pre-activations. If the layer is wide, they are nearly
# Gaussian, each being a sum of many terms: $\sqrt q\, z$ with $z$ standard normal. Tanh follows, then
# the next layer's sum, which multiplies the mean square by $n \sigma_w^2 = \text{gain}^2$. So, one
# layer later:
#
# $$q \leftarrow \text{gain}^2 \cdot E[\tanh^2(\sqrt q\, z)]$$
#
# starting from $q = \text{gain}^2$, since the inputs have mean square 1.
# This predicts a network of any depth without a network. Suppose the gain is 1, and inputs have
# std 1. What std do the activations have after 20 layers?

# %%
checks.guess("activation std after 20 layers at gain 1", None)

# %% [markdown]
# ### Exercise 3 · The recursion, for any activation
#
# ●●○ · 8 minutes. Return $q$, the mean square of the **pre-activations**, for each layer of a deep
# net whose inputs have mean square 1. The grid is given.
#
# <details><summary>Hint</summary>The first layer's q needs no activation: its inputs are not
# activations. With gain √2 and relu, every q is 2: that is E[relu(z)²] = 1/2 at work.</details>


# %% nbgrader={"schema_version": 3, "grade_id": "variances", "grade": false, "solution": true, "locked": false, "task": false}
def variances(gain, activation, depth):
    """The pre-activations' mean square in each layer: a tensor (depth,)."""
    z = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    density = torch.exp(-(z**2) / 2)
    density /= density.sum()
    ### BEGIN SOLUTION
    found = [gain**2]
    while len(found) < depth:
        h = activation(found[-1] ** 0.5 * z)
        found.append(gain**2 * (density @ h**2).item())
    return torch.tensor(found)
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "variances-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2}
checks.variances(variances)

# %% [markdown]
# For tanh, and told as the std of the activations:

# %%
depth = 20


def predict_sizes(gain):
    """The activations' predicted std (root mean square) in each layer: depth numbers."""
    sizes = []
    q = gain**2  # the first layer's, since its inputs have mean square 1
    for _ in range(depth):
        mean_square = density @ torch.tanh(q**0.5 * z) ** 2
        sizes.append(mean_square.item() ** 0.5)
        q = gain**2 * mean_square
    return sizes


# %% [markdown]
# The same for gradients, last layer to first. A gradient at a layer's activations has been through
# the next layer: multiplied by the slope of its tanh, $1 - \tanh^2 = \operatorname{sech}^2$, then
# by its weights, again a sum. Per layer its mean square is multiplied by
#
# $$\text{gain}^2 \cdot E[\operatorname{sech}^4(\sqrt q\, z)].$$


# %%
def predict_gradients(gain):
    """The gradient's predicted std at each layer's activations, the last layer's being 1."""
    growths = []  # from layer 2 on: how much larger the gradient is one layer earlier
    q = gain**2
    for _ in range(depth - 1):
        h = torch.tanh(q**0.5 * z)
        q = gain**2 * (density @ h**2)
        slope = 1 - torch.tanh(q**0.5 * z) ** 2
        growths.append(gain * (density @ slope**2).item() ** 0.5)
    return [math.prod(growths[layer:]) for layer in range(depth)]


# %% [markdown]
# Now the measurement: a real network of 20 layers, 200 units wide, with random inputs and a random
# gradient sent in at its end. Nothing is trained.


# %%
def measure(gain, seed, activation=torch.tanh, width=200):
    """Root mean square of activations and of their gradients, two lists of length depth."""
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(200, width, generator=generator, requires_grad=True)
    activations = []
    for _ in range(depth):
        W = torch.randn(width, width, generator=generator) * gain / width**0.5
        h = activation(h @ W)  # (200, width)
        activations.append(h)
    at_the_end = torch.randn(h.shape, generator=generator)
    gradients = torch.autograd.grad(h, activations, at_the_end)
    sizes = [[x.square().mean().item() ** 0.5 for x in xs] for xs in (activations, gradients)]
    return sizes[0], sizes[1]


# %%
gains = [0.5, 1.0, 5 / 3, 3.0]
found = {}
print("      activation std in layer 20    gradient std, layer 1 / layer 20")
print("gain  predicted  measured           predicted  measured")
for gain in gains:
    runs = torch.tensor([measure(gain, seed) for seed in range(8)])  # (8, 2, depth)
    sizes, gradients = runs.mean(0)  # (depth,), (depth,)
    gradients = gradients / gradients[-1]
    predicted_sizes, predicted_gradients = predict_sizes(gain), predict_gradients(gain)
    found[gain] = (predicted_sizes, sizes), (predicted_gradients, gradients)
    print(f"{gain:.2f}  {predicted_sizes[-1]:<9.2g}  {sizes[-1]:<17.2g}  ", end="")
    print(f"{predicted_gradients[0]:<9.3g}  {gradients[0]:.3g}")
checks.reveal("activation std after 20 layers at gain 1", found[1.0][0][1][-1].item())

# %%
_, axes = plt.subplots(1, 2, figsize=(8.0, 3.3))
numbers = range(1, depth + 1)
for gain, colour in zip(gains, plotting.COLOURS[1:], strict=False):
    for ax, (predicted, measured) in zip(axes, found[gain], strict=True):
        ax.semilogy(numbers, predicted, color=colour, linewidth=1.5)
        ax.semilogy(numbers, measured, "o", color=colour, markersize=3.5, label=f"gain {gain:.3g}")
axes[1].legend(fontsize=9)
axes[0].set(xlabel="layer", ylabel="activation std", title="Forward: below 1 signals vanish")
axes[1].set(
    xlabel="layer", ylabel="gradient std, layer 20 = 1", title="Backward: above 1 gradients grow"
)
print("lines predicted, dots measured (mean of 8 networks)")

# %% [markdown]
# A few lines of arithmetic foresee activations over six orders of magnitude, and gradients over
# eight. Gain 0.5 a little more than halves everything at each layer, in both directions: after 20
# layers a millionth is left. Gain 3 keeps the activations large, and the gradient that arrives at
# layer 1 is hundreds of times the one that set out.

# %% [markdown]
# ## Two wishes, and tanh grants one
#
# We wish for two things. Activations that keep their size: call the gain at which pre-activations of
# std 1 stay at std 1 **size-preserving**. And gradients that neither grow nor vanish exponentially
# with depth: call such a gain **critical**. Follow both quantities through 1,000 layers, for every
# gain from 0.5 to 2.5.


# %%
def after_many_layers(gains, layer_count=1000):
    """Each gain's activation std in the last layer, and gradient growth per layer there."""
    coarse_z, coarse_density = z[::10], 10 * density[::10]
    q = gains**2
    for _ in range(layer_count):
        h = torch.tanh(q[:, None] ** 0.5 * coarse_z)  # (number of gains, 401)
        q = gains**2 * (h**2 @ coarse_density)
    return (h**2 @ coarse_density) ** 0.5, gains * ((1 - h**2) ** 2 @ coarse_density) ** 0.5


# %%
candidates = torch.linspace(0.5, 2.5, 81, dtype=torch.float64)
chosen, names = torch.tensor([1.0, tanh_gain]).double(), ["critical", "size-preserving"]
_, axes = plt.subplots(1, 2, figsize=(8.4, 3.2))
for ax, curve, dots, colour in zip(
    axes,
    after_many_layers(candidates),
    after_many_layers(chosen),
    (plotting.BLUE, plotting.ORANGE),
    strict=True,
):
    ax.plot(candidates, curve, color=colour)
    ax.plot(chosen, dots, "o", color=colour)
    for dot, name in zip(zip(chosen, dots, strict=True), names, strict=True):
        ax.annotate(name, dot, (8, -12), textcoords="offset points", fontsize=9)
axes[0].set(xlabel="gain", ylabel="activation std in layer 1000", title="Size lasts only above 1")
axes[0].set_ylim(bottom=-0.1)
axes[1].set(xlabel="gain", ylabel="gradient growth per layer", title="Exponential, except at 1")
for gain in (1.0, tanh_gain, 5 / 3):
    size, growth = after_many_layers(torch.tensor([gain], dtype=torch.float64))
    print(f"gain {gain:.4f}: std {size.item():.2f}, gradient × {growth.item():.3f} per layer")

# %% [markdown]
# Gain 1.5925 is size-preserving, and its gradients grow by 8.5% a layer; with 5/3 it is 10%. Above
# gain 1 no tanh gain is critical. Gain 1 is, but its activations shrink. How fast? And what happens
# to its gradients on the way?

# %%
for layers_deep in (20, 80, 320):
    q, gradient = torch.tensor(1.0), 1.0
    for layer in range(layers_deep):
        h = torch.tanh(q**0.5 * z)
        q = density @ h**2  # gain 1
        if layer > 0:  # from layer 2 back to layer 1, and so on
            gradient *= (density @ (1 - h**2) ** 2) ** 0.5
    law = (2 * layers_deep) ** -0.5
    print(f"{layers_deep:>3} layers: std {q**0.5:.3f}, 1/√(2 · depth) = {law:.3f};", end=" ")
    print(f"gradient in layer 1 over the last: {gradient:.2f}")

# %% [markdown]
# Both go down with the root of the depth: sixteen times the layers leave a quarter. That is slow,
# and not exponential.
#
# relu is linear on each side of 0, so gain $\sqrt 2$ keeps both sizes, at any depth. On average.
# A single network of finite width scatters, and relu more than tanh: nothing pulls back a size that has
# drifted, while tanh's limits do.

# %%
for name, gain, activation in (("tanh", 5 / 3, torch.tanh), ("relu", 2**0.5, torch.relu)):
    runs = torch.tensor([measure(gain, seed, activation, width=100) for seed in range(16)])
    last = runs[:, 0, -1]  # (16,)
    ratio = runs[:, 1, 0] / runs[:, 1, -1]
    print(f"{name}, gain {gain:.2f}, 16 networks of width 100:")
    print(f"    size in layer 20: {last.min():.2f} to {last.max():.2f}", end=", ")
    print(f"gradient in layer 1 over layer 20: {ratio.min():.1f} to {ratio.max():.1f}")

# %% [markdown]
# ## Play with it
#
# A live network before training. Make gain and depth large and small; watch the histograms of the
# layers, how many activations are saturated, and the gradients against the recursion. (Without a
# running kernel you see one picture.) Test the last section at
# depth 20: gain 1.6 fills the layers evenly, gain 1 comes nearest to level gradients.

# %%
widgets.init_explorer(splits.train)

# %% [markdown]
# ## Fan-in or fan-out, and PyTorch's layout
#
# Going back, a gradient at an input is a sum too: over all outputs, so the number of its terms is
# the **fan-out**. Where 30 inputs meet 200 outputs, one spread cannot serve both sums.

# %%
for fan, name in ((30, "fan-in"), (200, "fan-out")):
    x = torch.randn(2000, 30, generator=generator)
    W = torch.randn(30, 200, generator=generator) / fan**0.5
    gradient_y = torch.randn(2000, 200, generator=generator)
    y, gradient_x = x @ W, gradient_y @ W.T
    print(f"divided by √{name}: outputs have std {y.std():.2f}, gradients {gradient_x.std():.2f}")

# %% [markdown]
# In a chain of layers these ratios cancel: one layer's fan-out is the next one's fan-in, so either
# choice serves both directions up to a factor at the ends. Fan-in is the usual one.
#
# `torch.nn.init.kaiming_normal_` knows both, as `mode`. It expects PyTorch's layout, which is
# **(out, in)**, and reads the fan-in from dim 1. Our weights are (in, out), so that they read
# `x @ W`. What does it do to them?


# %%
def kaiming_std_of(*shape, **options):
    """The std that kaiming_normal_ gives to a weight of this shape, measured on 500 draws."""
    weights = torch.empty(500, *shape)
    for weight in weights:
        torch.nn.init.kaiming_normal_(weight, generator=generator, **options)
    return weights.std()


tanh = {"nonlinearity": "tanh"}
print(f"wanted for 30 inputs: (5/3)/√30 = {(5 / 3) / 30**0.5:.2f}")
print(f"(200, 30), read as (out, in): {kaiming_std_of(200, 30, **tanh):.2f}")
print(f"(30, 200), read as (out, in): {kaiming_std_of(30, 200, **tanh):.2f}")
print(f'(30, 200), mode="fan_out":    {kaiming_std_of(30, 200, mode="fan_out", **tanh):.2f}')
print(
    f"(200, 30), no nonlinearity:   {kaiming_std_of(200, 30):.2f}, √2/√30 = {(2 / 30) ** 0.5:.2f}"
)

# %% [markdown]
# Nothing raises: our layout was read as 200 inputs, and the weights came out too small. With
# `mode="fan_out"` they are right. And the default gain is relu's, whatever follows.
#
# Does `torch.nn.Linear` start with Kaiming's spread, then? Its source calls `kaiming_uniform_`, so
# one might think so. Measure.

# %%
linear = torch.nn.Linear(1000, 1000)
std = linear.weight.std().item()
print(f"nn.Linear: std · √fan_in = {std * 1000**0.5:.2f}, and 1/√3 = {3**-0.5:.2f}")
print(f"largest weight · √fan_in = {linear.weight.abs().max() * 1000**0.5:.2f}")
print(f"variance against He's 2/fan_in: {std**2 * 1000 / 2:.2f}, a sixth")

# %% [markdown]
# The call has an argument, `a=math.sqrt(5)`, and with it comes to uniform numbers within
# $\pm 1/\sqrt{\text{fan-in}}$, an older convention, kept so that old code behaves as it did
# (pytorch issues 57109 and 1667). That is a gain of $1/\sqrt 3$. Twenty layers with a gain near 0.5
# lost their signal above: for a deep plain net, call an initializer yourself.
#
# ### Exercise 4 · Fan-in in PyTorch's layout
#
# ●●○ · 6 minutes. Return the std that `weight` should have, for the weights of linear layers (out,
# in) and convolutions (out, in, kernel...).
#
# <details><summary>Hint</summary>How many products are summed up for one output number? A
# convolution's output sees every input channel at every place of the kernel.</details>


# %% nbgrader={"schema_version": 3, "grade_id": "kaiming-std", "grade": false, "solution": true, "locked": false, "task": false}
def kaiming_std(weight, gain):
    """Kaiming's std for a weight in PyTorch's layout, (out, in) or (out, in, *kernel)."""
    ### BEGIN SOLUTION
    fan_in = weight[0].numel()  # all that leads into one output
    return gain / fan_in**0.5
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "kaiming-std-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2}
checks.kaiming_std(kaiming_std)

# %% [markdown]
# ## What it buys on the names network
#
# Back to one hidden layer and 30 inputs. Three starts that differ in the hidden layer only: the
# hand-tuned 0.2 ("both fixed" in lesson 01), Kaiming with gain 5/3, and gain 1. First, how do they
# start?

# %%
print(f"weights of std 0.2 for 30 inputs are a gain of {0.2 * 30**0.5:.2f}")
schemes = {"both fixed": "hand-tuned 0.2", "kaiming": "Kaiming, 5/3", "gain 1": "gain 1"}
for scheme, name in schemes.items():
    stds, saturated = [], []
    for network in range(8):
        generator = torch.Generator().manual_seed(network)
        model = layers.name_mlp(27, generator=generator, **layers.SCHEMES[scheme])
        with torch.no_grad():
            pre_activation = model[:3](splits.train.contexts[:5000])  # (5000, 200)
        stds.append(pre_activation.std())
        saturated.append((torch.tanh(pre_activation).abs() > 0.97).float().mean())
    std, fraction = torch.stack(stds).mean(), torch.stack(saturated).mean()
    print(f"{name:>15}: pre-activation std {std:.2f}, {fraction:.0%} saturated (8 networks)")

# %% [markdown]
# Trying had found a gain near 1, which is right: 5/3 makes up for a tanh that shrank the layer's
# inputs, and these inputs are embeddings of std 1 that no tanh has touched. Here 5/3 overshoots,
# and starts with a fifth of the layer saturated. By lesson 01's view that should hurt. (It is what
# following the table's entry for tanh gives; below, "Kaiming" means this start.)
#
# After 20,000 steps, by how many nats will the validation loss of the 5/3 start exceed that of the
# hand-tuned one? (Negative if it is lower.)

# %%
checks.guess("Kaiming minus hand-tuned, learning rate decayed", None)

# %% [markdown]
# Eight seeds of each start take a while, so they were trained before: `evidence.load` reads a
# **study** from the course's folder and says when it was made. The same seed means the same draws
# and the same minibatches, so starts can be compared seed by seed. The schedule is lesson 01's, rate
# 0.1 and then 0.01; a second study keeps the rate at 0.1.


# %%
def compare(study):
    """Print each start's validation loss; return Kaiming minus hand-tuned, seed by seed: (seeds,)."""
    for scheme, name in schemes.items():
        losses = study.values(scheme)
        print(f"    {name:>14}: {losses.mean():.3f} ± {losses.std():.3f} nats")
    difference = study.values("kaiming") - study.values("both fixed")
    lower = (difference < 0).sum()
    print(
        f"    Kaiming minus hand-tuned: {difference.mean():+.3f} ± {difference.std():.3f} nats,",
        end="",
    )
    print(f" lower in {lower} of {len(difference)} seeds")
    return difference


decayed = evidence.load("schemes", dataset)
constant = evidence.load("constant_rate", dataset)
print("validation loss, mean ± std over seeds; rate 0.1, then 0.01:")
difference = compare(decayed)
print("rate 0.1 throughout:")
compare(constant)
naive = decayed.values("naive")
print(f"for scale: lesson 01's naive start, decayed, {naive.mean():.3f} ± {naive.std():.3f} nats")
checks.reveal(
    "Kaiming minus hand-tuned, learning rate decayed", difference.mean().item(), 3, "nats"
)

# %%
_, axes = plt.subplots(1, 2, figsize=(6.6, 2.8))
for ax, study in zip(axes, (decayed, constant), strict=True):
    table = torch.stack([study.values(scheme) for scheme in schemes])  # (3, seeds)
    ax.plot(range(len(schemes)), table, color=plotting.GREY, linewidth=0.8)
    ax.plot(range(len(schemes)), table, "o", color=plotting.BLUE, markersize=4)
    ax.set_xticks(range(len(schemes)), ["0.2 by hand", "gain 5/3", "gain 1"])
    ax.set(xlim=(-0.4, 2.4), ylabel="validation loss (nats)")
    ax.yaxis.set_major_formatter("{x:.3f}")
axes[0].set_title("With decay, 5/3 ends lowest;")
axes[1].set_title("at a constant rate, highest")
print("each line is a seed; the two panels have different scales")

# %% [markdown]
# So the order depends on the schedule. With decay the most saturated start ends lowest, at a
# constant rate it ends highest, each time by less than a hundredth of a nat on average. With
# decay, the naive start is more than ten times as far from any of these. That is a tie for all
# practical purposes. "Less saturation is better" fails with decay, "Kaiming is better" fails too. What
# the derivation buys on this net is not loss. Its gain of 1 lands beside the hand-tuned 0.2, and
# nobody had to try.
#
# What about depth? The same network with 5 and with 20 hidden layers of 100 units, trained for 3,000
# steps at rate 0.1, four seeds each:

# %%
study = evidence.load("depth_and_gain", dataset)
print(f"counting single symbols: {unigram_loss:.2f} nats")
for hidden_layers in (5, 20):
    for gain in (0.3, 0.5, 1.0, 5 / 3, 3.0):
        losses = study.values(f"depth {hidden_layers}, gain {gain:.2f}, plain")
        print(
            f"{hidden_layers:>2} layers, gain {gain:.2f}: {losses.mean():.2f} nats, "
            f"{losses.min():.2f} to {losses.max():.2f}"
        )

# %% [markdown]
# Here the gain decides. Five layers train with all of these gains, best with 5/3. Twenty layers with
# 0.5 or less learn what counting symbols knows, and with gain 3 hardly more. Critical and (nearly)
# size-preserving both train, 5/3 a little better in spite of its growing gradients.

# %% [markdown]
# ## Why modern networks forgive
#
# Few people compute gains today, and their networks train. Three inventions made the start matter
# less: a **residual** layer adds its result to its input, so that a path remains on which nothing
# is multiplied; **normalization** divides each unit's pre-activations by their own std, whatever
# the weights (lesson 03); the optimizer **Adam** divides each parameter's step by the size of its
# recent gradients, so that small gradients still make steps.
#
# Six layers with gain 0.4, too small for plain gradient descent, and each remedy on its own. Four
# networks are trained side by side: the first dim of every tensor says which.

# %%
width, hidden_layers, networks = 100, 6, 4


def deep_weights(gain):
    """C, six hidden weights, output weight, output bias; and the generator that drew them."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(networks, *shape, generator=generator)

    hidden = [draw(n, width) * gain / n**0.5 for n in [30] + [width] * (hidden_layers - 1)]
    output = draw(width, 27) * 0.01
    return [draw(27, 10), *hidden, output, torch.zeros(networks, 1, 27)], generator


# %%
def deep_forward(parameters, contexts, kind):
    """The last hidden activations (4, N, width) and the logits (4, N, 27)."""
    C, *hidden, output, bias = parameters
    h = C[:, contexts].flatten(2)  # (4, N, 30)
    for W in hidden:
        a = h @ W  # (4, N, width)
        if kind == "normalized":
            a = (a - a.mean(1, keepdim=True)) / a.std(1, keepdim=True)
        new = torch.tanh(a)
        h = h + new if kind == "residual" and h.shape == new.shape else new
    return h, h @ output + bias


# %%
def deep_losses(parameters, generator, kind):
    """Each network's minibatch loss, mean of the last 100 of `steps` steps: (4,)."""
    for parameter in parameters:
        parameter.requires_grad = True
    adam = kind == "Adam"
    optimizer = torch.optim.Adam(parameters, 0.001) if adam else torch.optim.SGD(parameters, 0.1)
    last = []
    for _ in range(steps):
        batch = torch.randint(len(splits.train), (32,), generator=generator)
        targets = splits.train.targets[batch].expand(networks, -1)  # (4, 32)
        logits = deep_forward(parameters, splits.train.contexts[batch], kind)[1]
        losses = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none").mean(1)
        optimizer.zero_grad()
        losses.sum().backward()
        optimizer.step()
        last = [*last[-99:], losses.detach()]
    return torch.stack(last).mean(0)


# %%
for gain, kind in (
    (5 / 3, "plain"),
    (0.4, "plain"),
    (0.4, "residual"),
    (0.4, "normalized"),
    (0.4, "Adam"),
    (0.3, "Adam"),
):
    parameters, generator = deep_weights(gain)
    h = deep_forward(parameters, splits.train.contexts[:1000], kind)[0]
    losses = deep_losses(parameters, generator, kind)
    print(
        f"gain {gain:.2f}, {kind:>10}: layer 6 starts with std {h.std():.2g}, "
        f"loss {losses.mean():.2f} (four networks: {losses.min():.2f} to {losses.max():.2f})"
    )

# %% [markdown]
# The plain net with gain 0.4 has hardly got beyond counting symbols. Each remedy on its own lets the
# same weights learn. Residual and normalized nets get their signal through at once, as the std in
# layer 6 shows. Adam starts from the same vanished signal and works its way out, sooner in one
# network, later in another. None of them beats the plain net with a good gain here: what they buy
# is **tolerance**, a start that need not be right.
#
# Tolerance has limits. We chose a gain and a depth at which all three remedies show, and tuned no
# learning rate. With gain 0.3 Adam's slowest network is later still: on the course's own corpus it
# has not left the counting loss.

# %% [markdown]
# ## Measure instead of computing
#
# A gain needs a known activation and inputs of known size. With data at hand you can do without
# both: send a batch through, look at a layer's std, divide, go on to the next layer. That is
# **LSUV**, layer-sequential unit-variance init (Mishkin and Matas 2016; they start from orthogonal
# matrices, we from any).
#
# The pre-activations need one division, since they are linear in the weights. The activations need
# several, since tanh is not: measure, divide, measure again. That may never end, so the number of
# divisions needs a **cap**.


# %% [markdown]
# ### Exercise 5 · One layer of LSUV
#
# ●●● · 10 minutes. Rescale one layer's weight until `activation(x @ weight)` has the std `target`,
# to one percent, or until you have rescaled it `cap` times.
#
# <details><summary>Hint</summary>Measure first, then decide whether to rescale: the factor is
# target over measured. A <code>for</code> loop over <code>range(cap)</code> cannot run for
# ever.</details>


# %% nbgrader={"schema_version": 3, "grade_id": "lsuv-weight", "grade": false, "solution": true, "locked": false, "task": false}
def lsuv_weight(x, weight, activation, target, cap):
    """The rescaled weight (fan_in, fan_out) for inputs x (N, fan_in)."""
    ### BEGIN SOLUTION
    for _ in range(cap):
        std = activation(x @ weight).std()
        if abs(std - target) < 0.01 * target:
            break
        weight = weight * target / std
    return weight
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "lsuv-weight-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 3}
checks.lsuv_weight(lsuv_weight)

# %% [markdown]
# Now layer by layer. `look` says what to measure: the pre-activations, or their tanh. Can you think
# of a target for which the cap is needed?


# %%
@torch.no_grad()
def lsuv_(weights, x, look, target, cap=20):
    """Rescale each weight in place until look(x @ W) has std `target`, to 1%; how often, each."""
    counts = []
    for W in weights:
        count = 0
        while count < cap and abs((std := look(x @ W).std()) / target - 1) > 0.01:
            W *= target / std
            count += 1
        counts.append(count)
        x = torch.tanh(x @ W)
    return counts


# %% [markdown]
# Five layers, each spoiled in its own way: spreads from 0.01 to 3, whatever the fan-in. The batch
# is 1,000 training contexts. Pre-activations of std 1 are one sensible target; activations of std
# 0.63 are another, for that is what tanh makes of a unit Gaussian. And what if we ask for
# activations of std 1.1?

# %%
spreads = [3.0, 0.01, 0.5, 1.0, 0.02]
shapes = [(30, 100)] + [(100, 100)] * 4
for name, look, target in (
    ("pre-activations", lambda a: a, 1.0),
    ("activations", torch.tanh, 0.63),
    ("activations", torch.tanh, 1.1),
):
    generator = torch.Generator().manual_seed(seed)
    C = torch.randn(27, 10, generator=generator)
    first = C[splits.train.contexts[:1000]].flatten(1)  # (1000, 30)
    weights = [
        torch.randn(shape, generator=generator) * spread
        for shape, spread in zip(shapes, spreads, strict=True)
    ]
    counts = lsuv_(weights, first, look, target)
    stds, h = [], first
    for W in weights:
        h = torch.tanh(h @ W)
        stds.append(f"{h.std():.2f}")
    gains = [f"{W.std() * len(W) ** 0.5:.1f}" for W in weights]
    print(f"{name} of std {target}: rescaled {counts} times")
    print(f"    activation std {' '.join(stds)}; std · √fan-in {' '.join(gains)}")

# %% [markdown]
# Without being told about tanh, LSUV found gains near 1 for the first layer, whose inputs are
# embeddings, and near 1.6 behind it. The last target is out of reach, since tanh stays below 1:
# without a cap the loop would run for ever. With it, every layer ends deep in saturation.

# %% [markdown]
# ## What you now know
#
# 1. Units that start alike stay alike: of 200 copies none came apart.
# 2. A sum of $n$ terms grows like $\sqrt n$, so weights of std gain/√fan-in keep its size. The gain
#    undoes the activation: 1.59 for tanh by quadrature (PyTorch says 5/3), $\sqrt 2$ for relu.
# 3. A four-line recursion foretold activations and gradients in 20 layers, for four gains.
# 4. Above gain 1, no tanh gain keeps both sizes and gradients still: 5/3 costs 10% a layer.
# 5. On the shallow names net gain 5/3 and the hand-tuned spread end within a hundredth of a nat of
#    each other, in an order that depends on the schedule. With 20 layers the gain decides whether
#    the net learns.

# %% [markdown]
# **Common mistakes** · std for variance, the root forgotten. $E[\text{relu}(z)^2]$ taken for 1, or
# for a variance. Fan-out for fan-in, or PyTorch's (out, in) read as (in, out). Believing that
# activations at gain 1 settle at some std (they go to 0), that less saturation always means a lower
# loss, that `nn.Linear` starts with He's spread.
#
# **Next, lesson 03:** batch normalization, which measures at every step what we computed once.

# %%
checks.guesses()
