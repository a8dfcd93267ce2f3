# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 03 · Batch normalization
#
# Lesson 02 chose weights that give the hidden layer a good spread at the start. This lesson puts an
# operation into the network that holds the spread there, whatever the weights do. It works, it
# costs something, and much that is said about it is not so.
#
# **You will be able to** write the forward and the backward pass of batchnorm; say what is averaged
# over, for vectors and for images; name its price (examples that depend on each other); predict
# where it helps training and where it does not.
#
# **Time** 75 minutes, exercises included. **Builds on** lessons 01 and 02.

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
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

from helpers import checks, data, evidence, layers, plotting, training, widgets

# %% tags=["parameters"]
dataset = "world"  # or "makemore", the lecture's corpus, or the path of a file of names
seed = 2147483647
steps = 5_000

# %% [markdown]
# ## One unit, 32 examples
#
# The network of lesson 01, with the weights of lesson 02: std $\frac{5}{3}/\sqrt{30}$, so that the
# pre-activations should have a std near 5/3. The hidden layer has no bias this time; a later
# section says why.

# %%
splits = data.build_splits(data.load_names(dataset))
generator = torch.Generator().manual_seed(seed)
C = torch.randn(27, 10, generator=generator)
W1 = torch.randn(30, 200, generator=generator) * (5 / 3) / 30**0.5
W2 = torch.randn(200, 27, generator=generator) * 0.01
b2 = torch.randn(27, generator=generator) * 0

batch = torch.randint(len(splits.train), (32,), generator=generator)
contexts, targets = splits.train.contexts[batch], splits.train.targets[batch]
x = C[contexts].flatten(1)  # (32, 30)
pre_activation = x @ W1  # (32, 200)
saturated = (torch.tanh(pre_activation).abs() > 0.97).float().mean()
print(f"pre-activations {tuple(pre_activation.shape)}: std {pre_activation.std():.2f}")
means, stds = pre_activation.mean(0), pre_activation.std(0)  # (200,), one number per unit
print(f"per unit: means from {means.min():.1f} to {means.max():.1f},", end=" ")
print(f"stds from {stds.min():.1f} to {stds.max():.1f}; saturated {saturated:.2f}")

# %% [markdown]
# The whole matrix has the std that was promised. A single unit, one column of it, does not: some
# units sit far to one side, some vary four times as much as others. And the promise holds before
# training; nothing keeps it afterwards.
#
# **Batch normalization** (batchnorm, BN; Ioffe & Szegedy 2015) does not ask the weights for a good
# spread. It measures each unit's mean and std over the batch, subtracts and divides. These are
# differentiable operations, so they may stand in the middle of a network.
#
# What fraction of the activations is saturated once every unit has mean 0 and std 1?

# %%
checks.guess("saturated fraction after standardizing", None)

# %% [markdown]
# ### Exercise 1 · Standardize
#
# ●○○ · 4 minutes. Return `x` with every column shifted to mean 0 and scaled to standard deviation
# 1 over the batch. Take the **biased** variance: the mean of the $n$ squared distances, not their
# sum over $n - 1$.
#
# <details><summary>Hint</summary>A unit is a column, so its examples run down dim 0.
# <code>x.var(0, unbiased=False)</code> is the biased variance; the standard deviation is its
# root.</details>


# %% nbgrader={"schema_version": 3, "grade_id": "standardize", "grade": false, "solution": true, "locked": false, "task": false}
def standardize(x):
    """Each column of x (n, H) with mean 0 and biased standard deviation 1: (n, H)."""
    ### BEGIN SOLUTION
    centred = x - x.mean(0, keepdim=True)  # (n, H)
    var = centred.square().mean(0, keepdim=True)  # (1, H)
    return centred / var.sqrt()
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "standardize-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 1}
checks.standardize(standardize)

# %%
mean = pre_activation.mean(0, keepdim=True)  # (1, 200)
var = pre_activation.var(0, unbiased=False, keepdim=True)  # (1, 200)
standardized = (pre_activation - mean) / var.sqrt()  # (32, 200)
print(f"{tuple(pre_activation.shape)} -> mean {tuple(mean.shape)}, variance {tuple(var.shape)}")
saturated = (torch.tanh(standardized).abs() > 0.97).float().mean().item()
checks.reveal("saturated fraction after standardizing", saturated)

fig, ax = plt.subplots()
ax.scatter(means, stds, s=14, color=plotting.GREY, label="before, one dot per unit")
ax.scatter(0, 1, s=70, color=plotting.ORANGE, label="after, all 200")
ax.set(xlabel="mean over the batch", ylabel="std over the batch", ylim=(0, None))
ax.set_title("Standardizing puts all 200 units on one spot")
ax.legend(frameon=False)
worst_mean = standardized.mean(0).abs().max()
worst_std = (standardized.std(0, unbiased=False) - 1).abs().max()
print(f"after: means within {worst_mean:.3f} of 0, stds within {worst_std:.3f} of 1")

# %% [markdown]
# ## The paper's four steps
#
# For one unit with pre-activations $x_1 \dots x_n$ over the batch:
#
# $$\mu = \tfrac1n \sum_i x_i \qquad \sigma^2 = \tfrac1n \sum_i (x_i - \mu)^2 \qquad
# \hat x_i = \frac{x_i - \mu}{\sqrt{\sigma^2 + \epsilon}} \qquad y_i = \gamma \hat x_i + \beta$$
#
# With $H$ units, $x$, $\hat x$, $y$ are $(n, H)$; $\mu$, $\sigma^2$, the **gain** $\gamma$ (not
# lesson 02's gain, which spreads the weights at the start) and the **shift** $\beta$ have one
# number per unit. Gain and shift are learned from a start at 1 and 0; the next section is about
# them. (Some code divides by $n - 1$; with $n = 32$, $\hat x$ gets 1.6% smaller.)
#
# $\epsilon$, as a rule $10^{-5}$, stands **inside the root**. What is it for?

# %%
constant = torch.full((4, 1), 2.5)  # a unit that says the same for every example
for eps in (0.0, 1e-5):
    root = torch.sqrt(constant.var(0, unbiased=False) + eps)
    print(f"constant column, eps {eps:g}:", ((constant - constant.mean(0)) / root)[:, 0].tolist())

column = torch.tensor([[-1.0], [1.0]])  # std 1
for std in (1, 0.01, 0.001):
    narrow = std * column
    y = narrow / torch.sqrt(narrow.var(0, unbiased=False) + 1e-5)
    print(f"column of std {std:g}: std {y.std(unbiased=False):.2f} after normalizing")

# %% [markdown]
# Without $\epsilon$ a constant unit is 0/0, and one nan spreads through the whole network. The
# second half of the output is a side effect to know: a unit whose std is not well above
# $\sqrt{\epsilon} \approx 0.003$ does not come out with std 1.
#
# ### Exercise 2 · The forward pass
#
# ●●○ · 6 minutes. The four steps, as they run in training. Autograd must be able to go back
# through all of them.
#
# <details><summary>Hint</summary>Your <code>standardize</code> is three quarters of it.
# <code>gamma</code> and <code>beta</code> of shape (H,) broadcast along the rows by
# themselves. Do not detach anything.</details>


# %% nbgrader={"schema_version": 3, "grade_id": "batchnorm-forward", "grade": false, "solution": true, "locked": false, "task": false}
def batchnorm_forward(x, gamma, beta, eps=1e-5):
    """Batchnorm over the batch: x (n, H), gain and shift (H,) give y (n, H)."""
    ### BEGIN SOLUTION
    mean = x.mean(0)  # (H,)
    var = (x - mean).square().mean(0)  # (H,), biased
    x_hat = (x - mean) / torch.sqrt(var + eps)  # (n, H)
    return gamma * x_hat + beta
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "batchnorm-forward-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2}
checks.batchnorm_forward(batchnorm_forward)

# %% [markdown]
# ## Why gain and shift
#
# Standardizing decides two things for every unit: where it sits and how far it swings. A network
# may have had reasons for other values. Gain and shift hand the decision back: training may set
# them to anything, even to what undoes the normalization. Try $\gamma = \sigma$, $\beta = \mu$:


# %%
def normalize(pre_activation, statistics=None):
    """Standardized with the given (mean, variance), else with the batch's: (..., n, 200)."""
    mean, var = statistics or (
        pre_activation.mean(-2, keepdim=True),  # (..., 1, 200)
        pre_activation.var(-2, unbiased=False, keepdim=True),
    )
    return (pre_activation - mean) / torch.sqrt(var + 1e-5)


sigma, mu = torch.sqrt(var + 1e-5), mean  # (1, 200) each, of the batch above
undone = sigma * normalize(pre_activation) + mu  # gain sigma, shift mu
print(f"normalized, std {standardized.std():.2f}; undone, std {undone.std():.2f}")
print(f"largest difference from the pre-activations: {(undone - pre_activation).abs().max():.4f}")

# %% [markdown]
# So for a fixed batch the layer can still express everything it could before. What changes is who
# is in charge: the mean and the spread of a unit were a side effect of all weights before it; now
# they are two parameters of its own.
#
# ## A bias that does nothing
#
# In lesson 01 the hidden layer computed $xW_1 + b_1$. Add a bias back, put batchnorm after it, and
# look at the gradients.

# %%
b1 = torch.randn(200, generator=torch.Generator().manual_seed(seed)) * 0.01
gamma, beta = torch.ones(200), torch.zeros(200)
watched = {"W1": W1, "b1": b1, "gamma": gamma, "beta": beta}
for parameter in watched.values():
    parameter.requires_grad_()
h = torch.tanh(gamma * normalize(x @ W1 + b1) + beta)  # (32, 200)
F.cross_entropy(h @ W2 + b2, targets).backward()
for name, parameter in watched.items():
    size = parameter.grad.abs().max().item()
    print(f"{name:>5}: largest gradient", f"{size:.4f}" if size > 1e-8 else "below 1e-8")

# %% [markdown]
# The bias adds the same number to a whole column; the mean takes it out again. The loss does not
# depend on it, and its gradient is rounding noise. The shift $\beta$ does the bias's work, after
# the normalization. So the bias in front is left out: `bias=False` in PyTorch.
#
# How many parameters has the names network with batchnorm and without the useless bias? (The
# network of lesson 01 has 11,897.)

# %%
checks.guess("parameters with batchnorm, useless bias removed", None)

# %% [markdown]
# ### Exercise 3 · Count the parameters
#
# ●○○ · 5 minutes. Embedding, one hidden layer, output layer with bias. Without batchnorm the
# hidden layer has a bias; with it, gain and shift take the bias's place.
#
# <details><summary>Hint</summary>The hidden layer's input is <code>block_size</code> embeddings side
# by side. Each hidden unit has one gain and one shift.</details>


# %% nbgrader={"schema_version": 3, "grade_id": "count-parameters", "grade": false, "solution": true, "locked": false, "task": false}
def count_parameters(vocab_size, block_size, embedding_size, hidden_size, batchnorm):
    """How many numbers the names network learns: an int."""
    ### BEGIN SOLUTION
    embedding = vocab_size * embedding_size
    hidden = block_size * embedding_size * hidden_size
    hidden += 2 * hidden_size if batchnorm else hidden_size
    output = hidden_size * vocab_size + vocab_size
    return embedding + hidden + output
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "count-parameters-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 1}
checks.count_parameters(count_parameters)

# %%
parameters = [C, W1, gamma, beta, W2, b2]
with_gain_and_shift = sum(p.numel() for p in parameters)
plain = with_gain_and_shift - gamma.numel() - beta.numel() + b1.numel()
print(f"with bias, no batchnorm      {plain:,}")
print(f"with bias, gain and shift    {with_gain_and_shift + b1.numel():,}")
print(f"gain and shift, no bias      {with_gain_and_shift:,}")
checks.reveal("parameters with batchnorm, useless bias removed", with_gain_and_shift, digits=0)

# %% [markdown]
# ## Training, nothing hidden
#
# The loop of lesson 01, with batchnorm in the forward pass. Afterwards a question that training never
# met: a validation example comes alone, so which mean and variance should it get? Here, those of the
# whole training set. Lesson 04 is about the alternatives.


# %%
def forward(contexts, statistics=None):
    """Contexts (..., n, 3) give logits (..., n, 27)."""
    x_hat = normalize(C[contexts].flatten(-2) @ W1, statistics)  # (..., n, 200)
    return torch.tanh(gamma * x_hat + beta) @ W2 + b2


for factor in (1, 100):  # 100 takes back the 0.01 in W2; b2 is 0
    loss = F.cross_entropy(factor * forward(contexts), targets).item()
    print(f"loss before training, output weights × {factor}: {loss:.2f} nats")

# %%
for parameter in parameters:
    parameter.requires_grad_()
losses = []
for step in range(steps):
    if step > 0:  # the first batch is the one above
        batch = torch.randint(len(splits.train), (32,), generator=generator)
    loss = F.cross_entropy(forward(splits.train.contexts[batch]), splits.train.targets[batch])
    for parameter in parameters:
        parameter.grad = None
    loss.backward()
    for parameter in parameters:
        parameter.data -= 0.1 * parameter.grad
    losses.append(loss.item())

for parameter in parameters:
    parameter.requires_grad_(False)
whole = C[splits.train.contexts].flatten(1) @ W1  # (N, 200)
statistics = whole.mean(0), whole.var(0)  # (200,) each
val_loss = F.cross_entropy(forward(splits.val.contexts, statistics), splits.val.targets)
print(f"first minibatch {losses[0]:.2f} nats, ln 27 is 3.30; validation {val_loss:.2f} nats")
print(f"learned gains {gamma.min():.1f} to {gamma.max():.1f}, shifts {beta.min():.1f} to", end=" ")
print(f"{beta.max():.1f}")

# %% [markdown]
# The gains and shifts have moved from 1 and 0: the network uses its freedom, moderately.
#
# And batchnorm on the hidden layer has not made the output layer's factor 0.01 superfluous: without
# it, the loss before training is far from $\ln 27$ again.

# %% [markdown]
# ## The gradient goes through mean and variance
#
# Moving one $x_i$ moves $\mu$ and $\sigma^2$, and with them every $y_j$ of the batch. Autograd
# follows those paths, as long as nobody cuts them. A frequent bug cuts them: statistics computed
# under `no_grad`, or detached.


# %%
def input_gradient(x, grad_y, detached):
    """The gradient at x (n, H) when the one at the normalized output is grad_y (n, H)."""
    x = x.detach().requires_grad_()
    mean, var = x.mean(0), x.var(0, unbiased=False)
    if detached:
        mean, var = mean.detach(), var.detach()
    x_hat = (x - mean) / torch.sqrt(var + 1e-5)
    return torch.autograd.grad(x_hat, x, grad_y)[0]


for n in (8, 32, 128):
    noise = torch.Generator().manual_seed(seed)
    x_n, grad_y = torch.randn(2, n, 200, generator=noise)  # (n, 200) each
    right, wrong = input_gradient(x_n, grad_y, False), input_gradient(x_n, grad_y, True)
    error = (wrong - right).norm() / right.norm()
    sums = right.sum(0).abs().max(), wrong.sum(0).abs().max()
    print(f"batch of {n:3}: off by {error:.0%}, √(2/n) is {(2 / n) ** 0.5:.0%};", end=" ")
    print(f"largest sum over the batch {sums[0]:.2f} right, {sums[1]:.0f} wrong")

# %% [markdown]
# The right gradient sums to 0 over the batch, unit by unit: it never asks to shift a whole column,
# because the mean would take the shift out again. The wrong one does ask. A column has $n$
# directions; the right gradient leaves out two of them, shift and stretch, so with random numbers
# the error is about $\sqrt{2/n}$.

# %% [markdown]
# ### Exercise 4 · The backward pass
#
# ●●● · 15 minutes. From `grad_y`, the loss's gradient at $y$, compute the one at $x$. No autograd.
#
# <details><summary>Hint</summary>Start with the gradient at x̂: g = gamma · grad_y. If mean and
# variance were constants, the answer would be g / √(σ² + ε). The path through the mean subtracts
# from g its batch mean. The path through the variance subtracts x̂ · mean(g · x̂). Both inside the
# bracket, before the division.</details>


# %% nbgrader={"schema_version": 3, "grade_id": "batchnorm-backward", "grade": false, "solution": true, "locked": false, "task": false}
def batchnorm_backward(grad_y, x, gamma, eps=1e-5):
    """The loss's gradient at x (n, H) from the one at y (n, H); gamma (H,)."""
    ### BEGIN SOLUTION
    mean, var = x.mean(0), x.var(0, unbiased=False)  # (H,) each
    root = torch.sqrt(var + eps)
    x_hat = (x - mean) / root  # (n, H)
    g = gamma * grad_y  # (n, H), the gradient at x_hat
    return (g - g.mean(0) - x_hat * (g * x_hat).mean(0)) / root
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "batchnorm-backward-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 3}
checks.batchnorm_backward(batchnorm_backward)

# %% [markdown]
# With $g = \gamma\,\partial L/\partial y$ and a bar for the mean over the batch,
#
# $$\frac{\partial L}{\partial x_i} = \frac{1}{\sqrt{\sigma^2 + \epsilon}}
# \left( g_i - \bar g - \hat x_i\, \overline{g \hat x} \right)$$
#
# Two parts of $g$ are taken out: the common shift, and the common stretch along $\hat x$. A batch
# cannot lower its loss by either.
#
# What does the bug do in training? The paper's own thought experiment puts a bias before batchnorm
# and detaches the mean. Here it is, with the variance detached as well.


# %%
def train_with_bias(detached, steps=1000):
    """Std of a bias before batchnorm after training, and the mean loss of the second half."""
    draw = torch.Generator().manual_seed(seed)
    model = layers.name_mlp(27, generator=draw)  # with a bias, without batchnorm
    leaves, losses = list(model.parameters()), []
    for _ in range(steps):
        batch = torch.randint(len(splits.train), (32,), generator=draw)
        pre = model[:3](splits.train.contexts[batch])  # embedding, flatten, linear1
        mean, var = pre.mean(0), pre.var(0, unbiased=False)
        if detached:
            mean, var = mean.detach(), var.detach()
        logits = model[3:]((pre - mean) / torch.sqrt(var + 1e-5))  # tanh1, output
        loss = F.cross_entropy(logits, splits.train.targets[batch])
        for leaf, gradient in zip(leaves, torch.autograd.grad(loss, leaves), strict=True):
            leaf.data -= 0.1 * gradient
        losses.append(loss.item())
    return model.linear1.bias.std().item(), sum(losses[steps // 2 :]) / (steps // 2)


for detached in (False, True):
    bias_std, loss = train_with_bias(detached)
    name = "detached" if detached else "attached"
    print(f"{name}: bias std from 0.010 to {bias_std:.3f}, loss {loss:.2f} nats")

# %% [markdown]
# Detached, the bias drifts, chasing an effect that the mean removes each time. Attached, it stays.
# Note the losses: here the bug costs almost nothing. It does not announce itself; the sum over the
# batch does.

# %% [markdown]
# ## Examples that depend on each other
#
# Until now, what the network said about one name had nothing to do with the other 31 in the batch.
# Now it has. The panel shows one unit's values in a batch of 8, drawn at random. Drag one example: its
# own normalized value moves, and so does everybody else's. Then change the batch size.

# %%
unit = 1 + 2 * torch.randn(32, generator=torch.Generator().manual_seed(seed))  # (32,)
widgets.batch_explorer(unit)

# %% [markdown]
# How strong is this **coupling**? Put one example into 40 random batches and watch its logits. As a
# measure: their std over batch mates, divided by the std that logits have from example to example.
# 0 would be no coupling; 1 would mean that the mates matter as much as the example.
#
# Guess the ratio for batches of 32.

# %%
checks.guess("coupling at batch size 32", None)

# %%
draw = torch.Generator().manual_seed(6)
chosen = splits.val.contexts[torch.randint(len(splits.val), (40,), generator=draw)]  # (40, 3)
alone = forward(chosen, statistics)  # (40, 27), what each gets with fixed statistics
sizes, coupling = [2, 4, 8, 16, 32, 64, 128], []
for n in sizes:
    per_example = []
    for context in chosen:
        mates = torch.randint(len(splits.train), (40, n - 1), generator=draw)
        batches = torch.cat([context.expand(40, 1, 3), splits.train.contexts[mates]], 1)
        per_example.append(forward(batches)[:, 0])  # (40, 27), the chosen example in 40 batches
    logits = torch.stack(per_example)  # (40 examples, 40 batches, 27)
    ratio = (logits.var(1).mean() / alone.var(0).mean()).sqrt().item()
    flipped = (logits.argmax(2) != alone.argmax(1, keepdim=True)).float().mean()
    coupling.append(ratio)
    print(f"n = {n:3}: ratio {ratio:.2f}, times √n {ratio * n**0.5:.1f};", end=" ")
    print(f"likeliest letter changed in {flipped:.0%}")
checks.reveal("coupling at batch size 32", coupling[4])

# %%
fig, ax = plt.subplots()
ax.loglog(sizes, coupling, "o-", color=plotting.ORANGE, label="measured")
ax.loglog(sizes, [n**-0.5 for n in sizes], "--", color=plotting.GREY, label="1 / √n")
ax.minorticks_off()
ax.set_xticks(sizes, [str(n) for n in sizes])
ax.set_yticks([0.05, 0.1, 0.2, 0.5, 1.0], ["0.05", "0.1", "0.2", "0.5", "1"])
ax.set(xlabel="batch size n", ylabel="std over mates / std over examples")
ax.set_title("Coupling falls with the root of the batch size")
ax.legend(frameon=False)
print(f"from n = 2 to n = 128: {coupling[0] / coupling[-1]:.0f} times smaller; √64 is 8")

# %% [markdown]
# The mean of $n$ random values is off by about $\sigma/\sqrt n$; the normalized values inherit
# that error. So batchnorm **adds** noise that depends on the batch. Whether the gradients of
# minibatches get noisier or quieter is another question, not measured here.
#
# Noise makes it harder to fit the training examples one by one: **regularization**. It should show
# in the gap between validation and training loss. Eight seeds, 20,000 steps with decay:


# %%
def summary(values):
    """Mean ± std over seeds, in nats."""
    return f"{values.mean():.3f} ± {values.std():.3f}"


schemes = evidence.load("schemes", dataset)
for scheme in ("kaiming", "batchnorm"):
    train, val = schemes.values(scheme, "train"), schemes.values(scheme, "val")
    print(f"{scheme:>9}: train {summary(train)}, val {summary(val)}, gap {summary(val - train)}")
smaller = val - train < schemes.values("kaiming") - schemes.values("kaiming", "train")
print(f"gap smaller with batchnorm in {smaller.sum()} of {len(smaller)} seeds")

# %% [markdown]
# With batchnorm the gap is smaller in every seed, and both losses are higher. At this length of
# training the smaller gap comes with a higher loss; the noise may be why, but no run here
# separates it from the rest; part of the smaller gap is that less was learned.

# %% [markdown]
# ## How small is too small
#
# With one example the mean *is* the example, and nothing is left. With two, one is above the mean
# and one below, always by the same amount.

# %%
for values in ([0.3], [5.0], [0.3, 0.4], [-20.0, 90.0]):  # one unit, one or two examples
    x_hat = normalize(torch.tensor(values)[:, None])[:, 0]  # (n,)
    print(f"{values} -> {[round(value, 1) for value in x_hat.tolist()]}")
for norm in (layers.BatchNorm1d(1), nn.BatchNorm1d(1)):
    try:
        norm(torch.tensor([[5.0]]))
    except ValueError as error:
        print(f"{type(norm).__module__}: {str(error).split(';')[0]}")

# %% [markdown]
# A batch of one always gives the shift $\beta$, whatever the example, so a layer in training mode
# refuses it. (It happens when the size of the data set leaves a remainder of 1.) A batch of two
# keeps one bit per unit.
#
# And between 2 and 32? Eight seeds, 3,000 steps at learning rate 0.1, without batchnorm (plain, the
# kaiming start) and with it:


# %%
def compare(study, settings):
    """Validation losses (nats) by kind, each (settings, seeds), and a line per setting."""
    kinds = {}
    for kind in ("plain", "batchnorm"):
        kinds[kind] = torch.stack([study.values(f"{name}, {kind}") for name in settings])
    for name, plain, normed in zip(settings, *kinds.values(), strict=True):
        print(f"{name:>19}: plain {summary(plain)}, batchnorm {summary(normed)}")
    return kinds


small = evidence.load("small_batches", dataset)
kinds = compare(small, [f"batch {n}" for n in (2, 4, 8, 32)])

# %% [markdown]
# Both are worse with batches of 2 or 4 than with 32, since their gradients are noisier. With 32
# the two are about even. With 8 batchnorm is ahead, and with 4 by far more than the seeds differ.
# With 2 that is over.
#
# "No batchnorm below 16" is therefore not what this network shows; large image networks do show it
# (Wu & He 2018). Why batchnorm copes better here we have not tested.

# %% [markdown]
# ## Normalizing without neighbours
#
# **Layer normalization** takes mean and variance over the units of one example, dim 1 instead of
# dim 0. **Group normalization** does so over groups of units. Neither looks at other examples.


# %%
def over_units(x, groups=1):
    """x (n, 200) standardized within each example and group of units."""
    x = x.unflatten(1, (groups, -1))  # (n, groups, units)
    mean, var = x.mean(2, keepdim=True), x.var(2, unbiased=False, keepdim=True)
    return ((x - mean) / torch.sqrt(var + 1e-5)).flatten(1)


first, mates, others = pre_activation[:1], pre_activation[1:8], pre_activation[8:15]
norms = {"batch": normalize, "layer": over_units, "group": lambda x: over_units(x, groups=8)}
for name, norm in norms.items():
    with_mates, with_others = (norm(torch.cat([first, rest]))[0] for rest in (mates, others))
    change = (with_mates - with_others).square().mean().sqrt()  # root mean square over units
    print(f"{name}: new mates change the first example by {change:.2f};", end=" ")
    print(f"in a batch of one it has std {norm(first).std():.2f}")
same = torch.allclose(over_units(first), F.layer_norm(first, (200,)), atol=1e-4)
same_groups = torch.allclose(over_units(first, 8), F.group_norm(first, 8), atol=1e-4)
print(f"the same as torch's layer_norm: {same}, group_norm with 8 groups: {same_groups}")

# %% [markdown]
# No coupling, no trouble with a batch of one, the same computation in training and evaluation. The
# price: units are now tied to each other within an example, and a bias before it is no longer
# useless. Transformers use layer normalization (Ba et al. 2016); image networks with small batches,
# group normalization (Wu & He 2018). Lesson 07 goes deeper.

# %% [markdown]
# ## As a layer
#
# `layers.BatchNorm1d` holds what we wrote: gain (`weight`), shift (`bias`), and two **buffers**,
# tensors that are saved with the model but not learned: running averages of mean and variance, for
# evaluation. Lesson 04 takes them apart. Two comparisons: our loop against `fit` with the layer,
# and our layer against PyTorch's.

# %%
draw = torch.Generator().manual_seed(seed)
model = layers.name_mlp(27, batchnorm=True, generator=draw)
print(model)
history = training.fit(model, splits.train, 100, 0.1, generator=draw, progress=False)
for step in (0, 99):
    print(f"step {step:2}: by hand {losses[step]:.3f}, fit {history.losses[step]:.3f} nats")

ours, theirs = layers.BatchNorm1d(200), nn.BatchNorm1d(200)
difference = (ours(pre_activation) - theirs(pre_activation)).abs().max().item()
print("ours and torch.nn's give the same:", difference < 1e-5)
print("state:", ", ".join(theirs.state_dict()))

# %% [markdown]
# ## Images: what is averaged over
#
# A batch of images is $(N, C, H, W)$: examples, channels, rows, columns. A convolution applies the
# same weights at every position, so a channel plays the part of a unit, and each position of each
# image the part of an example. `BatchNorm2d` averages over $N$, $H$ and $W$: one mean and one
# variance per channel, from $N \cdot H \cdot W$ values.

# %%
images = torch.rand(8, 3, 5, 7, generator=torch.Generator().manual_seed(seed))  # (N, C, H, W)
mean = images.mean((0, 2, 3), keepdim=True)
values = images[:, 0].numel()
print(f"{tuple(images.shape)} -> mean {tuple(mean.shape)}, each from {values} values")
norm = nn.BatchNorm2d(3)
y = norm(images)
rounded = [f"{value + 0:.2f}" for value in y.std((0, 2, 3), unbiased=False).tolist()]
print(f"std per channel after BatchNorm2d: {', '.join(rounded)}; gains: {tuple(norm.weight.shape)}")

# %% [markdown]
# Many positions also mean that a batch of few images is not as small as it looks, though
# neighbouring positions are alike and count for less than $H \cdot W$ independent values.
#
# ### Exercise 5 · Batchnorm for images
#
# ●●○ · 6 minutes. Batchnorm in training mode for `x` of shape $(N, C, H, W)$.
#
# <details><summary>Hint</summary><code>mean</code> and <code>var</code> take a tuple of dims and
# <code>keepdim=True</code>. A gain of shape (C,) would broadcast along the last axis; give it the
# shape (C, 1, 1) first.</details>


# %% nbgrader={"schema_version": 3, "grade_id": "batchnorm2d-forward", "grade": false, "solution": true, "locked": false, "task": false}
def batchnorm2d_forward(x, gamma, beta, eps=1e-5):
    """Batchnorm per channel: x (N, C, H, W), gain and shift (C,) give y (N, C, H, W)."""
    ### BEGIN SOLUTION
    mean = x.mean((0, 2, 3), keepdim=True)  # (1, C, 1, 1)
    var = x.var((0, 2, 3), unbiased=False, keepdim=True)  # (1, C, 1, 1)
    x_hat = (x - mean) / torch.sqrt(var + eps)
    return gamma.view(-1, 1, 1) * x_hat + beta.view(-1, 1, 1)
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "batchnorm2d-forward-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2}
checks.batchnorm2d_forward(batchnorm2d_forward)

# %% [markdown]
# ## Where to put it
#
# After a multiplication by weights (linear, convolution). The paper puts it **before** the
# nonlinearity; **after** it is used as well. Does it matter here? Four seeds, 1,000 steps:


# %%
def with_order(names, seed):
    """A trained names model with its layers in the given order; its validation loss, nats."""
    draw = torch.Generator().manual_seed(seed)
    parts = layers.name_mlp(27, batchnorm=True, generator=draw)
    model = nn.Sequential(*(parts.get_submodule(name) for name in names.split()))
    training.fit(model, splits.train, 1000, 0.1, generator=draw, progress=False)
    return training.evaluate(model, splits.val)


before, after = (
    torch.tensor([with_order(f"embedding flatten linear1 {pair} output", k) for k in range(4)])
    for pair in ("batchnorm1 tanh1", "tanh1 batchnorm1")
)
print(f"before tanh {summary(before)}, after tanh {summary(after)} nats")
print(f"before is lower in {(before < after).sum()} of 4 seeds, by {summary(after - before)}")

# %% [markdown]
# The difference is about as large as the one between two seeds: four seeds of one network after
# this many steps make it a thing to try, not a law.
#
# **Dropout** sets random activations to 0 in training and scales the others up. It keeps the mean
# and changes the variance, in training only. Put *before* batchnorm, it makes the variance at
# evaluation another one than the variance that was learned (Li et al. 2019):

# %%
draw = torch.Generator().manual_seed(seed)
column = torch.randn(100_000, 1, generator=draw)
mask = torch.bernoulli(torch.full_like(column, 0.5), generator=draw)
norm = layers.BatchNorm1d(1, momentum=None)  # its running variance is this batch's variance
in_training = norm(column * mask / 0.5)
norm.eval()
in_evaluation = norm(column)  # dropout is off
print(f"behind dropout 0.5: std {in_training.std():.2f} in training,", end=" ")
print(f"{in_evaluation.std():.2f} in evaluation")

# %% [markdown]
# So dropout goes after batchnorm, if both are used at all. In short: linear with `bias=False`,
# batchnorm, nonlinearity, dropout.

# %% [markdown]
# ## What it buys: one hidden layer
#
# Back to the eight seeds with 20,000 steps: kaiming against the same start with batchnorm. By how
# many nats is batchnorm's validation loss lower? (Negative, if it is higher.)

# %%
checks.guess("nats saved by batchnorm, one hidden layer", None)

# %%
saved = schemes.values("kaiming") - schemes.values("batchnorm")  # (seeds,), nats
print(
    f"batchnorm is lower in {(saved > 0).sum()} of {len(saved)} seeds; saved {summary(saved)} nats"
)
checks.reveal("nats saved by batchnorm, one hidden layer", saved.mean().item(), 3, "nats")

# %% [markdown]
# Batchnorm's loss is the higher one. The kaiming start had left nothing to repair: one hidden
# layer, whose input is an embedding of moderate size, gets a good spread from the weights alone.
# What remains of batchnorm may be its noise; no run here separates the two.
#
# Had the effect been smaller, a single pair of runs could have shown the opposite sign. Here the
# sign is the same in every seed.
#
# ## Five layers: tolerance
#
# Now five hidden layers of 100 units, 3,000 steps, and the learning rate varied over a factor of
# 300. The question is not only who reaches the lowest loss, but over what range of settings a
# network learns at all.


# %%
def draw_seeds(ax, positions, kinds):
    """A dot per seed and a line through the medians, plain and with batchnorm."""
    for (kind, losses), colour in zip(kinds.items(), plotting.COLOURS, strict=False):
        losses = losses.nan_to_num(99.0)  # a run that diverged
        ax.plot(positions, losses, ".", color=colour, alpha=0.4)
        ax.plot(positions, losses.quantile(0.5, dim=1), color=colour, label=kind)
    ax.set(xscale="log", ylabel="validation loss (nats)", ylim=(2.2, 3.1))
    ax.set_xticks(positions, [f"{position:.3g}" for position in positions])
    ax.minorticks_off()


# %%
rates = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
kinds = compare(evidence.load("learning_rate", dataset), [f"rate {rate:g}" for rate in rates])
fig, ax = plt.subplots()
draw_seeds(ax, rates, kinds)
ax.set(xlabel="learning rate", title="Five layers: batchnorm tolerates larger rates")
seeds = kinds["plain"].shape[1]
ax.legend(frameon=False, loc="upper left", title=f"{seeds} seeds and their median")
for kind, values in kinds.items():
    values = values.nan_to_num(99.0)  # a run that diverged
    means, lost = values.mean(1), values > 3.3  # lost: worse than a uniform guess
    fine = [
        f"{rate:g}" for rate, mean in zip(rates, means, strict=True) if mean < means.min() + 0.1
    ]
    print(f"{kind}: best {means.min():.2f}; within 0.1 of it at rates {', '.join(fine)};", end=" ")
    print(f"seeds lost at rate 1: {lost[-2].sum()}, at rate 3: {lost[-1].sum()}")

# %% [markdown]
# Plain is slightly better up to 0.1, and at rate 1 every seed ends worse than a uniform guess, off
# the scale of the figure. Batchnorm works there, and at rate 3 for most seeds; two of eight are
# lost. What it buys here is **tolerance**, not a lower loss.
#
# The same with the gain of the weights, in five layers and in twenty. (Lesson 02 says what gains do
# to a deep network without batchnorm.)

# %%
gains = (0.3, 0.5, 1.0, 5 / 3, 3.0)
study = evidence.load("depth_and_gain", dataset)
fig, axes = plt.subplots(1, 2, figsize=(8.6, 3.4), sharey=True)
for ax, depth in zip(axes, (5, 20), strict=True):
    kinds = compare(study, [f"depth {depth}, gain {gain:.2f}" for gain in gains])
    draw_seeds(ax, gains, kinds)
    ax.set(xlabel="gain of the hidden layers")
axes[0].set_title("Five: gain matters less with batchnorm")
axes[1].set(title="Twenty: batchnorm rescues the ends", ylabel="")
seeds = kinds["plain"].shape[1]
axes[0].text(0.3, 2.25, f"{seeds} seeds and their median", fontsize=10)
plotting.label_line_ends(axes[1])

# %% [markdown]
# Five layers: every gain trains with batchnorm; without it the small ones lag. Twenty layers: plain at
# 0.3 and 0.5 stays near 2.88, the loss of a model that knows only how often each letter occurs; at 3
# it is not much better. Batchnorm rescues gain 3 fully, the small ones in part. At 1 and 5/3, plain
# trains about as well: with the right start, twenty layers do without batchnorm.
#
# One thing is odd. If batchnorm divides by the spread, why does the gain of the weights matter at
# all?

# %% [markdown]
# ## A forward pass blind to scale
#
# Multiply all weights before batchnorm by 10. What happens to the logits, and by what factor does
# the gradient of those weights change? And their ratio **grad:data**, the std of the gradient over
# the std of the weights?

# %%
checks.guess("gradient after W × 10, relative to before", None)

# %%
x = C[contexts].flatten(1)  # (32, 30), the first batch, with the trained embedding
logits, gradients = {}, {}
for factor in (1, 10):
    W = (W1 * factor).requires_grad_()
    logits[factor] = torch.tanh(gamma * normalize(x @ W) + beta) @ W2 + b2  # (32, 27)
    (gradients[factor],) = torch.autograd.grad(F.cross_entropy(logits[factor], targets), W)
print(f"largest change of a logit: {(logits[10] - logits[1]).abs().max():.3f}")
ratio = (gradients[10].std() / gradients[1].std()).item()
checks.reveal("gradient after W × 10, relative to before", ratio, digits=3)
print(f"grad:data relative to before: {ratio / 10:.3f}")
cosines = F.cosine_similarity(W1, gradients[1], dim=0)  # (200,), per unit
print(f"gradient against weights, largest |cosine| of 200 units: {cosines.abs().max():.2f}")

# %% [markdown]
# The forward pass does not see the scale: $\hat x$ is the same. The backward pass does. The
# gradient shrinks by 10 while the weights grow by 10, so a step moves them 100 times less in
# proportion. What counts is the **effective learning rate**, $\eta / \lVert W \rVert^2$ with
# $\eta$ the learning rate.
#
# And the gradient is perpendicular to each unit's weights (cosine 0): making them longer or shorter
# changes nothing, so no gradient points there. A step at a right angle always makes a vector longer,
# and the longer it is, the smaller the next step counts. Do large rates brake themselves?

# %%
for rate in (0.1, 1.0, 2.0):
    draw = torch.Generator().manual_seed(seed)
    model = layers.name_mlp(27, batchnorm=True, generator=draw)
    first_norm = model.linear1.weight.norm().item()
    training.fit(model, splits.train, 1000, rate, generator=draw, progress=False)
    growth = model.linear1.weight.norm().item() / first_norm
    print(f"rate {rate}: norm of W1 grows by {growth - 1:.0%},", end=" ")
    print(f"effective rate falls by {1 - growth**-2:.0%}")

# %% [markdown]
# They do, a little. And the odd thing has an explanation: for weights that batchnorm follows, the
# gain of the start acts as a learning rate. Gain 0.3 instead of 5/3 is an effective rate 31 times
# larger; gain 3 is one 3 times smaller. To try yourself: at gain 0.3, twenty layers should do
# better with a smaller rate.
#
# The output layer has no batchnorm behind it. It keeps the scale and the rate that it is given.
#
# The panel is lesson 02's, with batchnorm on, and grad:data on the right. Move the gain: the
# activations stay, grad:data falls with its square. Then switch batchnorm off.

# %%
widgets.init_explorer(splits.train, ["activations", "weights"], depth=10, batchnorm=True)

# %% [markdown]
# ## Why it helps: what is established
#
# **Covariate shift.** The paper's motive: each layer's inputs shift while the layers before it
# learn, and batchnorm holds them still. Santurkar et al. (2018) added changing random shifts and
# scales *after* batchnorm; the networks trained about as well as with batchnorm alone. So the
# stillness is not what helps. The story is told on.
#
# **Smoothing.** The same authors measured that loss and gradient change less along a step with
# batchnorm, and proved bounds for simple cases. A measured fact; whether it is the cause or goes
# along with it is argued.
#

# %% [markdown]
# **Effective learning rate** (van Laarhoven 2017). Arithmetic, and shown above. It fits the tolerance
# in this lesson; nobody has shown that it is the whole story in large networks.
#
# **Regularization by noise.** The noise is measured above. Whether it helps depends on how much
# there is to overfit; here it did not.
#
# A good habit: when someone says *why* batchnorm works, ask which experiment would have come out
# otherwise.

# %% [markdown]
# ## What you now know
#
# 1. Batchnorm takes one mean and one variance per unit over the batch, (32, 200) → (1, 200), and
#    gives gain and shift back; $\gamma = \sigma, \beta = \mu$ undid it.
# 2. A bias before it had no gradient: 12,097 parameters, not 12,297.
# 3. The gradient goes through mean and variance and sums to 0 over the batch; cut, it was wrong, and
#    the loss did not tell.
# 4. It couples examples, about $1/\sqrt n$; layer and group normalization did not.
# 5. One layer: no lower loss. Five layers: a wider range of rates and gains. The weights' scale
#    drops out of the forward pass and divides the gradient.

# %% [markdown]
# **Common mistakes** · Statistics under `no_grad`. $\sigma$ without the root, $\epsilon$ outside it.
# A bias left in front. Dropout in front. Averaging over the wrong axis, or over the batch only in
# images. "Batchnorm reduces batch noise": it adds some to the outputs. "Batchnorm makes
# initialization irrelevant": the output layer kept its 0.01, and at 20 layers the gain mattered.
# "Internal covariate shift" as an established cause.
#
# **Next, lesson 04:** one name alone has no batch. Whose mean and variance does it get?

# %%
checks.guesses()
