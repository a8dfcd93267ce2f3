# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 04 · Calibration versus running statistics
#
# Batchnorm trains on batches. Then someone asks the network about one name alone, and there is no
# batch. You will see what goes wrong, and find three answers: borrow a batch, measure the whole
# training set once, or keep a running average while training.
#
# **You will be able to** say what a batchnorm network computes in training and in use; choose a
# momentum in either convention and correct its start; calibrate statistics exactly; keep
# train()/eval() and no_grad apart; fold batchnorm away; save a network without losing half of it.
#
# **Time** 70 minutes, exercises included. **Builds on** lessons 01 to 03.

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
import copy
import io
import itertools
import math
import time

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import update_bn

from helpers import checks, data, diagnostics, evidence, layers, plotting, training, widgets

# %% tags=["parameters"]
dataset = "world"  # or "makemore", the lecture's corpus, or the path of a file of names
seed = 2147483647
steps = 5000

# %% [markdown]
# ## A network that needs company
#
# This is lesson 03's network, raw tensors again: 30 inputs, 200 hidden units, batchnorm before the
# tanh. Its **batch statistics** are the mean and the variance of each unit's pre-activation over the
# minibatch. They are arguments of `logits_of` here, because this lesson is about where they come
# from.

# %%
splits = data.build_splits(data.load_names(dataset))
vocabulary = splits.vocabulary
generator = torch.Generator().manual_seed(seed)
C = torch.randn(27, 10, generator=generator)
W1 = torch.randn(30, 200, generator=generator) * (5 / 3) / 30**0.5
W2 = torch.randn(200, 27, generator=generator) * 0.01
b2 = torch.randn(27, generator=generator) * 0
gamma, beta = torch.ones(200), torch.zeros(200)
parameters = [C, W1, gamma, beta, W2, b2]
for parameter in parameters:
    parameter.requires_grad = True


def pre_activations(contexts):
    return C[contexts].view(-1, 30) @ W1  # (N, 3) -> (N, 200)


def logits_of(x, mean, var, eps=1e-5):
    """Logits (N, 27) of pre-activations x (N, 200), normalized with mean and var (200,)."""
    x_hat = (x - mean) / torch.sqrt(var + eps)
    return torch.tanh(gamma * x_hat + beta) @ W2 + b2


# %% [markdown]
# The training loop has one new line: it writes down the mean and the variance of every minibatch.
# Training does not read them. We will need them later.
#
# Two variances are in use. The **biased** one divides the sum of squared deviations by $n$, the
# **unbiased** one by $n - 1$. As in PyTorch, the biased one normalizes, the unbiased one is written
# down.

# %%
batch_means, batch_vars = torch.empty(steps, 200), torch.empty(steps, 200)
for step in range(steps):
    batch = torch.randint(len(splits.train), (32,), generator=generator)
    x = pre_activations(splits.train.contexts[batch])  # (32, 200)
    mean, var = x.mean(0), x.var(0, unbiased=False)  # (200,) each
    loss = F.cross_entropy(logits_of(x, mean, var), splits.train.targets[batch])
    batch_means[step], batch_vars[step] = mean.detach(), var.detach() * 32 / 31  # the new line

    gradients = torch.autograd.grad(loss, parameters)
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter -= 0.1 * gradient
print(f"trained {steps} steps; the record of batch means is {tuple(batch_means.shape)}")

# %% [markdown]
# ## One name alone
#
# The network is trained. Take 1000 different contexts and ask about each of them alone, as a batch of
# one. How many different answers will it give?

# %%
checks.guess("different answers to 1000 contexts asked alone", None)


# %%
@torch.no_grad()
def ask_alone(context, divisor):
    """Probabilities (27,) for one context, normalized with the statistics of its batch of one."""
    x = pre_activations(context[None])  # (1, 200)
    mean = x.mean(0)
    var = ((x - mean) ** 2).sum(0) / divisor
    return torch.softmax(logits_of(x, mean, var), 1)[0]


contexts = splits.val.contexts.unique(dim=0)[:1000]
answers = torch.stack([ask_alone(context, divisor=1) for context in contexts])  # (1000, 27)
different = len(answers.unique(dim=0))
checks.reveal("different answers to 1000 contexts asked alone", different, digits=0)
top = vocabulary.decode(answers[0].topk(3).indices.tolist())
print(f"it always likes {', '.join(top)} best, whatever the context")
unbiased = ask_alone(contexts[0], divisor=0)  # n - 1 = 0
print(f"with the unbiased variance: {unbiased.isnan().sum()} of 27 probabilities are nan")

# %% [markdown]
# A single value is its own mean. What is left after subtracting it is 0, divided by
# $\sqrt{0 + \epsilon}$, and every context becomes the same hidden layer, $\tanh\beta$. With $n - 1$
# below the fraction it is 0/0. Of the two failures, nan is the better one: you notice it.
#
# ## First answer: borrow a batch
#
# Ask about the context together with others. But then the others have a say. Here is the context
# "mar", as in Maria, in 200 random batches of 32:

# %%
order = torch.randperm(len(splits.val), generator=torch.Generator().manual_seed(1))
mates = splits.val.contexts[order[: 200 * 31]].view(200, 31, 3)
context = torch.tensor([vocabulary.encode("mar")])  # (1, 3)
in_company = []
with torch.no_grad():
    for company in mates:
        x = pre_activations(torch.cat([context, company]))  # (32, 200)
        logits = logits_of(x, x.mean(0), x.var(0, unbiased=False))
        in_company.append(torch.softmax(logits, 1)[0])
in_company = torch.stack(in_company)  # (200, 27)
letter = in_company.mean(0).argmax().item()
low, high = in_company[:, letter].aminmax()
print(f"p({vocabulary.decode([letter])!r} after 'mar'): from {low:.2f} to {high:.2f}")

# %% [markdown]
# The answer changes with the company. And a small batch can have no spread at all: contexts repeat,
# because every name starts with three dots.

# %%
for size in (2, 4, 8):
    batches = splits.val.contexts[order[: len(order) // size * size]].view(-1, size, 3)
    same = (batches == batches[:, :1]).all(2).all(1)  # every row equal to the first
    print(f"batches of {size}: {same.sum()} of {len(batches)} hold one context only")
twice = pre_activations(torch.zeros(2, 3, dtype=torch.int64)).detach()  # (2, 200)
logits = logits_of(twice, twice.mean(0), twice.var(0, unbiased=False), eps=0)
print(f"such a pair without eps: {logits.isnan().float().mean():.0%} of its logits are nan")

# %% [markdown]
# Without $\epsilon$ one such batch makes the whole validation loss nan. With it, the loss is a
# number, but a bad one. Its **penalty** is what it costs above the same weights with the statistics
# of the whole training set, this lesson's reference. Guess the penalty in nats for batches of 32,
# the size trained with.

# %%
checks.guess("penalty of evaluating in batches of 32", None)

# %%
study = evidence.load("batch_statistics", dataset)
sizes = [2, 4, 8, 16, 32, 64, 128, 256]
calibrated = study.values("batchnorm", "calibrated")  # (seeds,)
penalties = torch.stack(
    [study.values("batchnorm", f"batch {size}") - calibrated for size in sizes]
)  # (sizes, seeds)
mean, std = penalties.mean(1), penalties.std(1)
fig, ax = plt.subplots()
ax.fill_between(sizes, penalties.amin(1), penalties.amax(1), color=plotting.BLUE, alpha=0.3)
ax.loglog(sizes, mean, "o-", color=plotting.BLUE)
ax.set_xticks(sizes, sizes)
ax.minorticks_off()
ax.set(xlabel="examples in the evaluation batch", ylabel="penalty (nats)")
ax.set_title(f"Twice the company, less than half the penalty (range of {penalties.shape[1]} seeds)")
for size, average, spread in zip(sizes, mean.tolist(), std.tolist(), strict=True):
    print(f"n = {size:3}: penalty {average:.4f} ± {spread:.4f} nats")
checks.reveal("penalty of evaluating in batches of 32", mean[4].item(), digits=3, unit="nats")

# %% [markdown]
# More company, smaller penalty. But no size makes an answer independent of the others.
#
# ## Second answer: calibration
#
# **Calibration** measures mean and variance once, over the whole training set, after training.
# From then on they are constants.

# %%
with torch.no_grad():
    x_train = pre_activations(splits.train.contexts)  # (N, 200)
    x_val = pre_activations(splits.val.contexts)
calibrated_mean, calibrated_var = x_train.mean(0), x_train.var(0)  # (200,) each
calibrated_std = calibrated_var.sqrt()


@torch.no_grad()
def val_loss(mean, var):
    """The validation loss in nats, normalizing with mean and var (200,)."""
    return F.cross_entropy(logits_of(x_val, mean, var), splits.val.targets).item()


best = val_loss(calibrated_mean, calibrated_var)
print(f"validation loss, calibrated: {best:.2f} nats")
with torch.no_grad():
    together = logits_of(x_val[:1000], calibrated_mean, calibrated_var)
    alone = torch.cat([logits_of(x[None], calibrated_mean, calibrated_var) for x in x_val[:1000]])
same = torch.allclose(together, alone, atol=1e-5)
print(f"1000 contexts asked alone and together get the same logits (to 1e-5): {same}")

# %% [markdown]
# That needed every pre-activation in memory at once. With more data they come in batches, and the
# shortcut that comes to mind is $\overline{x^2} - \bar x^2$ from two running sums. Look what float32
# does to it for values around 1000 with std 0.01:

# %%
wide = 1000 + 0.01 * torch.randn(100_000, generator=torch.Generator().manual_seed(1))
million = torch.tensor(1e6)
gap = torch.nextafter(million, 2 * million) - million
shortcut = (wide**2).mean() - wide.mean() ** 2
two_pass = ((wide - wide.mean()) ** 2).mean()
print(f"float32 numbers near 1000² are {gap:.4f} apart; the variance is {0.01**2:.4f}")
print(f"the shortcut is within half of the variance: {bool((shortcut - 1e-4).abs() < 5e-5)}")
print(f"the two-pass formula gives {two_pass:.1e}")

# %% [markdown]
# Two large numbers are subtracted that agree in every digit float32 has. Measure deviations from a
# mean instead: go over the data twice, or merge batch by batch. For two parts with counts $n_a, n_b$,
# means $\bar a, \bar b$ and summed squared deviations $S_a, S_b$ (Chan, Golub & LeVeque, 1979), the
# whole has
#
# $$S = S_a + S_b + (\bar b - \bar a)^2\, \frac{n_a n_b}{n_a + n_b}, \qquad
# \text{mean} = \bar a + (\bar b - \bar a)\, \frac{n_b}{n_a + n_b}.$$

# %% [markdown]
# ### Exercise 1 · Calibrate over batches
#
# ●●● · 12 minutes. Return mean and unbiased variance of each column over all rows of a list of
# batches, of any sizes. Do not concatenate them. The check tries mean 1000 with std 0.01.
#
# <details><summary>Hint</summary>Either two loops, the mean first and then the squared deviations
# from it; or one loop with the merge above, starting from count 0, mean 0, S 0. A batch of one is
# allowed: its S is 0.</details>


# %% nbgrader={"schema_version": 3, "grade_id": "calibrated-statistics", "grade": false, "solution": true, "locked": false, "task": false}
def calibrated_statistics(batches):
    """Mean (H,) and unbiased variance (H,) over all rows of a list of batches (n, H)."""
    ### BEGIN SOLUTION
    count, mean, squares = 0, 0.0, 0.0
    for x in batches:
        batch_mean = x.mean(0)  # (H,)
        distance = batch_mean - mean
        total = count + len(x)
        squares = squares + ((x - batch_mean) ** 2).sum(0) + distance**2 * count * len(x) / total
        mean = mean + distance * len(x) / total
        count = total
    return mean, squares / (count - 1)
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "calibrated-statistics-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 3}
checks.calibrated_statistics(calibrated_statistics)

# %% [markdown]
# ## Layer by layer
#
# In a deep network the statistics of a layer depend on how the layers before it were normalized. So
# measure them in order: calibrate the first batchnorm, let the data through it, calibrate the
# second. The wrong way looks almost the same: let the data through the network as it stands, collect
# all statistics, then set them all.
#
# The network is five layers deep and briefly trained. Its batchnorm layers keep their statistics in
# two **buffers**, tensors that belong to a layer but are not trained, and use them in **eval mode**.
# The buffers are put back to where they started, mean 0 and variance 1.

# %%
deep_generator = torch.Generator().manual_seed(seed)
deep = layers.name_mlp(27, hidden_size=100, depth=5, batchnorm=True, generator=deep_generator)
training.fit(deep, splits.train, 300, generator=deep_generator)
norms = [module for module in deep if isinstance(module, layers.BatchNorm1d)]
sample = splits.train.contexts[:10_000]


@torch.no_grad()
def calibrate_deep(model, in_order):
    """Set every batchnorm's statistics from one forward pass in eval mode."""
    x, measured = sample, []
    for module in model.eval():
        if isinstance(module, layers.BatchNorm1d):
            measured.append((module, x.mean(0), x.var(0)))
            if in_order:
                set_statistics(*measured[-1])  # before the data goes through it
        x = module(x)
    for entry in measured:
        set_statistics(*entry)


def set_statistics(norm, mean, var):
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(var)


# %%
layers.calibrate(deep, sample)  # the course's own, layer by layer
target = [(norm.running_mean.clone(), norm.running_var.sqrt()) for norm in norms]


def report(title):
    errors = [
        ((norm.running_mean - mean).abs() / std).mean().item()
        for norm, (mean, std) in zip(norms, target, strict=True)
    ]
    row = "  ".join(f"{error:5.2f}" for error in errors)
    print(f"{title:>13} {row}   {training.evaluate(deep, splits.val):12.2f}")


print("How far the means are off (in stds of the unit), and the validation loss (nats)")
print(f"{'layer':>13}     1      2      3      4      5           loss")
for norm in norms:
    set_statistics(norm, torch.zeros(100), torch.ones(100))
report("buffers start")
for number in range(1, 6):
    calibrate_deep(deep, in_order=False)
    report(f"at once, {number}")
for norm in norms:
    set_statistics(norm, torch.zeros(100), torch.ones(100))
calibrate_deep(deep, in_order=True)
report("in order, 1")

# %% [markdown]
# Collected all at once, one pass gets one more layer right: each was measured behind a layer that
# was still wrong. In order, a single pass is exact. `layers.calibrate(model, contexts)` does that,
# with the batch-wise merge, in double precision; how the data is cut does not matter to it.

# %% [markdown]
# ## Third answer: running statistics
#
# Calibration is a pass over the data after training, to be repeated after every change of the
# weights. While training, each minibatch's mean and variance are there for free. So keep a
# **running** average, which forgets:
#
# $$\text{running} \leftarrow (1 - m)\,\text{running} + m\,\text{batch}.$$
#
# $m$ is the **momentum** in PyTorch's convention, 0.1 by default. Other texts and frameworks call
# the other factor momentum, and write 0.9 for the same thing. Before using a number, look where it
# stands in the formula.

# %% [markdown]
# ### Exercise 2 · One update of the running statistics
#
# ●●○ · 6 minutes. Return the new running mean and variance after a batch, in PyTorch's convention.
# The variance tracked is the unbiased one.
#
# <details><summary>Hint</summary>With momentum 0 nothing changes; with momentum 1 the old values are
# forgotten. Return new tensors: with <code>+=</code> the caller's would change too.</details>


# %% nbgrader={"schema_version": 3, "grade_id": "running-update", "grade": false, "solution": true, "locked": false, "task": false}
def running_update(running_mean, running_var, x, momentum):
    """The running mean (H,) and variance (H,) after the batch x (n, H)."""
    ### BEGIN SOLUTION
    new_mean = (1 - momentum) * running_mean + momentum * x.mean(0)
    new_var = (1 - momentum) * running_var + momentum * x.var(0, unbiased=True)
    return new_mean, new_var
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "running-update-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2}
checks.running_update(running_update)

# %% [markdown]
# Training never reads the running statistics. That is why the record of the batch means and
# variances is enough: every momentum can be tried on it afterwards, on the same run.
#
# Here is the mean of the unit with the widest spread: grey dots are batches, lines the running
# averages, all starting at 0.


# %%
def running_path(batch_values, start, momentum):
    """The running average after each step: (steps, 200), from the value `start`."""
    running, path = torch.full_like(batch_values[0], start), []
    for value in batch_values:
        running = torch.lerp(running, value, momentum)  # (1 - m) running + m value
        path.append(running)
    return torch.stack(path)


momenta = [0.1, 0.01, 0.001]
mean_paths = {m: running_path(batch_means, 0.0, m) for m in momenta}
var_paths = {m: running_path(batch_vars, 1.0, m) for m in momenta}
unit = calibrated_var.argmax().item()
fig, ax = plt.subplots()
shown = range(0, steps, 25)
ax.plot(shown, batch_means[shown, unit], ".", markersize=2, color=plotting.GREY, alpha=0.5)
for momentum, colour in zip(momenta, plotting.COLOURS[1:], strict=False):
    path = mean_paths[momentum][shown, unit]
    ax.plot(shown, path, color=colour, linewidth=1.5, label=f"momentum {momentum:g}")
ax.plot([0, steps], [calibrated_mean[unit]] * 2, "--k", linewidth=1, label="calibrated, at the end")
ax.set(xlabel="step", ylabel=f"mean of unit {unit}'s pre-activation")
ax.set_title("Small momentum: smooth but late. Large momentum: prompt but noisy")
plotting.label_line_ends(ax)
print(f"calibrated {calibrated_mean[unit]:.2f};", end=" ")
print("; ".join(f"momentum {m:g}: {mean_paths[m][-1, unit]:.2f}" for m in momenta))

# %% [markdown]
# The slow climb at the left is mostly the start at 0; we take it out below. Apart from it, two
# errors pull in opposite directions. **Noise**: the average remembers about $(2 - m)/m$ batches,
# so its std is that of a batch mean times $\sqrt{m/(2 - m)}$. **Lag**: it still holds batches seen
# by older weights. Below, "noise alone" is the formula, "mean off" what this run has: an average
# over units of the distance to the calibrated mean, in stds of the unit. A momentum of 0.9, meant
# in the other convention, stands in the last line.

# %%
print("momentum   batches   noise alone   mean off   std off   penalty (nats)")
for momentum in [0.001, 0.01, 0.1, 0.9]:
    mean = running_path(batch_means, 0.0, momentum)[-1]
    var = running_path(batch_vars, 1.0, momentum)[-1]
    memory = (2 - momentum) / momentum
    noise = math.sqrt(2 / math.pi / (32 * memory))  # E|z| = sqrt(2 / pi) for a normal z
    mean_off = ((mean - calibrated_mean).abs() / calibrated_std).mean()
    std_off = (var.sqrt() / calibrated_std - 1).abs().mean()
    row = f"{momentum:8g} {memory:9.0f} {noise:13.3f} {mean_off:10.3f} {std_off:9.3f}"
    print(f"{row} {round(val_loss(mean, var) - best, 4) + 0.0:16.4f}")

# %% [markdown]
# At 0.1 the error is about the noise, and costs a thousandth of a nat. At 0.001 there is hardly any
# noise, so what is left is mostly lag; a slight lag costs nothing here. At 0.9 the "average" is about the
# last batch.
#
# ## The start
#
# A running average starts at mean 0 and variance 1, which nobody measured. Each step multiplies the
# weight of that start by $1 - m$. With momentum 0.001, what weight has it left after 1000 steps?

# %%
checks.guess("weight left on the start after 1000 steps at 0.001", None)

# %%
print(" steps" + "".join(f"{f'momentum {m:g}':>16}" for m in momenta))
for n in (100, 1000, 5000, 20_000):
    print(f"{n:6}" + "".join(f"{(1 - m) ** n:16.2%}" for m in momenta))
checks.reveal("weight left on the start after 1000 steps at 0.001", (1 - 0.001) ** 1000)

# %% [markdown]
# After $n$ steps the running value is $(1-m)^n$ times the start plus $1 - (1-m)^n$ times an average
# of batches. The start and its weight are known, so they can be taken out again. This is **bias
# correction**; Adam does the same to its moments.
#
# ### Exercise 3 · Take the start out
#
# ●●○ · 6 minutes. Return the average of the batches alone, from a running value that began at
# `start`. Mind that the variance starts at 1, not at 0.
#
# <details><summary>Hint</summary>Write running = weight · start + (1 − weight) · average, and solve
# for the average.</details>


# %% nbgrader={"schema_version": 3, "grade_id": "bias-corrected", "grade": false, "solution": true, "locked": false, "task": false}
def bias_corrected(running, start, momentum, steps):
    """The running value (H,) after `steps` updates, with its number `start` taken out."""
    ### BEGIN SOLUTION
    weight = (1 - momentum) ** steps  # what is left on the start
    return (running - weight * start) / (1 - weight)
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "bias-corrected-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2}
checks.bias_corrected(bias_corrected)

# %%
left = 0.999 ** torch.arange(1, steps + 1)  # the weight on the start after each step
running_std = var_paths[0.001][:, unit].sqrt()
corrected_std = ((var_paths[0.001][:, unit] - left) / (1 - left)).sqrt()
fig, ax = plt.subplots()
dots = batch_vars[shown, unit].sqrt()
ax.plot(shown, dots, ".", markersize=2, color=plotting.GREY, alpha=0.5)
ax.plot(running_std, color=plotting.ORANGE, label="running, 0.001")
ax.plot(corrected_std, color=plotting.BLUE, label="bias-corrected")
ax.plot([0, steps], [calibrated_std[unit]] * 2, "--k", linewidth=1, label="calibrated, at the end")
ax.set(xlabel="step", ylabel=f"std of unit {unit}'s pre-activation")
ax.set_title("With the start taken out, the average follows from early on")
plotting.label_line_ends(ax)
for n in (steps // 50, steps // 5, steps):
    recent = batch_vars[max(0, n - 1000) : n, unit].mean().sqrt()
    row = f"step {n:4}: running {running_std[n - 1]:.2f}, corrected {corrected_std[n - 1]:.2f}"
    print(f"{row}, from the last {min(n, 1000)} batches {recent:.2f}")

# %% [markdown]
# ## Which momentum, for how many steps?
#
# One run has shown the two errors. How large are they elsewhere? Twelve settings, eight seeds each:
# three momenta, trained for 100 to 20,000 steps at a constant learning rate of 0.1. Which momentum
# has the smaller penalty at 20,000 steps, 0.001 or 0.1, and how large is that of 0.001 after only
# 1000?

# %%
checks.guess("penalty of momentum 0.001 after 1000 steps", None)

# %%
study = evidence.load("momentum", dataset)
lengths = [100, 1000, 5000, 20_000]


def penalty_map(kind):
    """The penalty by momentum, steps and seed: (3, 4, seeds), the smallest momentum first."""
    labels = [f"momentum {m:g}, {n} steps" for m in reversed(momenta) for n in lengths]
    penalties = [study.values(c, kind) - study.values(c, "calibrated") for c in labels]
    return torch.stack(penalties).view(len(momenta), len(lengths), -1)


# %%
fig, axes = plt.subplots(1, 2, figsize=(8.6, 2.8), sharey=True)
for ax, kind in zip(axes, ["running", "corrected"], strict=True):
    means = penalty_map(kind).mean(2)
    ax.imshow(means.clamp(1e-3, 0.3).log10(), vmin=-3, vmax=-0.5, cmap="cividis", aspect="auto")
    for row, column in itertools.product(range(3), range(4)):
        value = round(means[row, column].item(), 3) + 0.0  # no -0.000
        colour = "black" if value > 0.01 else "white"
        ax.text(column, row, f"{value:.3f}", ha="center", va="center", color=colour)
    ax.set_xticks(range(4), lengths)
    ax.set_yticks(range(3), [f"{m:g}" for m in reversed(momenta)])
    ax.grid(False)
    ax.set(xlabel="steps of training", title=f"penalty (nats), {kind}")
fig.suptitle("A small momentum is costly in a short run, and the cost is the start")
axes[0].set_ylabel("momentum")
measured = penalty_map("running").mean(2)[0, 1].item()
checks.reveal("penalty of momentum 0.001 after 1000 steps", measured, 3, "nats")

# %%
print("penalty (nats), mean ± std over seeds, and in how many seeds it is above 0")
print(f"{'':>16}" + "".join(f"{f'{n} steps':>20}" for n in lengths))
for kind in ["running", "corrected"]:
    for m, rows in zip(reversed(momenta), penalty_map(kind), strict=True):
        means, stds, above = rows.mean(1), rows.std(1), (rows > 0).sum(1)
        cells = [
            f"{round(mean, 3) + 0.0:7.3f} ± {std:.3f} ({count})"
            for mean, std, count in zip(*(x.tolist() for x in (means, stds, above)), strict=True)
        ]
        print(f"{kind:>9}, {m:<5g}" + "".join(f"{cell:>20}" for cell in cells))
spread = study.values("momentum 0.1, 20000 steps", "calibrated").std()
print(f"std over seeds of the validation loss itself, at 20,000 steps: {spread:.3f}")

# %% [markdown]
# A small momentum looks like the careful choice. In a short run it is the expensive one: nearly
# all of its penalty is the start, and correcting the start removes nearly all of it. After 20,000
# steps the start is gone, and still the smaller momenta cost a little more than calibration, in at
# least 7 of 8 seeds; lag is the likely reason. The default 0.1 costs nothing measurable at any
# length.
#
# Keep the size in mind: once the start is gone, all of these penalties are below the std of the
# validation loss itself from seed to seed. With smaller batches noise weighs more; try that in the
# panel further down.

# %% [markdown]
# ## Averaging stds, or variances
#
# The lecture's network tracks the std; PyTorch tracks the variance. The root of an average is not
# the average of roots: it is larger (Jensen's inequality). And the biased variance is too small by
# the factor $(n-1)/n$ on average. Here all four choices, on the trained weights, from 3000 random
# batches; the penalty is that of the std put in the place of the calibrated one.

# %%
averaging = torch.Generator().manual_seed(2)
print(" n   averaged               std / calibrated   penalty (nats)")
for n in (4, 32):
    batches = torch.randint(len(x_train), (3000, n), generator=averaging)
    stds = {kind: [] for kind in ("biased", "unbiased")}
    for batch in batches:
        x = x_train[batch]  # (n, 200)
        stds["unbiased"].append(x.std(0))
        stds["biased"].append(stds["unbiased"][-1] * math.sqrt((n - 1) / n))
    for kind, values in stds.items():
        values = torch.stack(values)  # (3000, 200)
        for what, std in {"stds": values.mean(0), "variances": (values**2).mean(0).sqrt()}.items():
            ratio = (std / calibrated_std).mean()
            penalty = round(val_loss(calibrated_mean, std**2) - best, 4) + 0.0
            print(f"{n:2}   {f'{kind} {what}':20} {ratio:21.2f} {penalty:16.4f}")

# %% [markdown]
# Only the average of unbiased variances is right at any $n$. The worst choice, biased stds at
# $n = 4$, is a fifth too small, and yet costs four thousandths of a nat; at 32 none of them costs
# anything. This network forgives a wrong std, and a std slightly too small even helps it by a few
# ten-thousandths. Calibration makes the statistics right; that is not the same as making the
# validation loss smallest.

# %% [markdown]
# ### Exercise 4 · The std behind many small batches
#
# ●●○ · 6 minutes. Someone saved the biased std of every batch of $n$ examples. Return the best
# estimate of the std of the whole.
#
# <details><summary>Hint</summary>Which of the four averages was right? Go there from biased stds:
# square, correct, average, root.</details>


# %% nbgrader={"schema_version": 3, "grade_id": "pooled-std", "grade": false, "solution": true, "locked": false, "task": false}
def pooled_std(batch_stds, n):
    """The std (H,) of the whole from the biased stds (B, H) of B random batches of n."""
    ### BEGIN SOLUTION
    unbiased_variances = batch_stds**2 * n / (n - 1)  # (B, H)
    return unbiased_variances.mean(0).sqrt()
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "pooled-std-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2}
checks.pooled_std(pooled_std)

# %% [markdown]
# ## The same as a layer
#
# `layers.BatchNorm1d` does all of this: `model.train()` makes it use and track batch statistics,
# `model.eval()` makes it use the buffers, which hold the running statistics. Same seed, same steps:

# %%
generator = torch.Generator().manual_seed(seed)
model = layers.name_mlp(27, batchnorm=True, momentum=0.1, generator=generator)
norm = model.batchnorm1
with diagnostics.record_batches(norm) as recorder:  # as our loop did; for the panel below
    training.fit(model, splits.train, steps, generator=generator)
by_hand = mean_paths[0.1][-1], var_paths[0.1][-1]
for name, ours, theirs in zip(
    ["mean", "var"], by_hand, [norm.running_mean, norm.running_var], strict=True
):
    off = ((ours - theirs) / by_hand[1].sqrt()).abs().max()
    print(f"running {name}, by hand and in the layer: equal to 1e-3: {bool(off < 1e-3)}")
running_loss = training.evaluate(model, splits.val)
layers.calibrate(model, splits.train.contexts)
print(f"validation loss: running {running_loss:.3f}, by hand {val_loss(*by_hand):.3f}", end="; ")
print(f"calibrated {training.evaluate(model, splits.val):.3f}, by hand {best:.3f}")
try:
    model.train()(splits.val.contexts[:1])
except ValueError as error:
    print(f"one context in train mode: {error}")

# %% [markdown]
# The panel holds the record of that run. Each dot is a unit: its calibrated value across, its
# running value up. Move the momentum from right to left: from noise, through a calm stretch, into
# the start that was never forgotten. Then take the start out, as in exercise 3. Smaller batches
# (the first few examples of each recorded batch) add noise and leave the start as it is. The
# penalty's curve is cut off at the bottom, at a ten-thousandth of a nat.

# %%
widgets.running_statistics_panel(model, recorder.record(), splits.train, splits.val)

# %% [markdown]
# ## PyTorch's own calibration, and its traps
#
# `torch.optim.swa_utils.update_bn(batches, model)` resets every batchnorm, sends the batches through
# in train mode and takes the plain average of their statistics (that is what `momentum=None` means
# in PyTorch). It knows PyTorch's layers only, so the twin below has `nn.BatchNorm1d` in the layer's
# place.

# %%
exact_mean, exact_std = norm.running_mean.clone(), norm.running_var.sqrt()


def twin_of(model):
    """A copy of the model with PyTorch's batchnorm."""
    twin = copy.deepcopy(model)
    twin.batchnorm1 = nn.BatchNorm1d(200)
    twin.load_state_dict(model.state_dict())
    return twin.eval()


def compare(title, norm):
    mean_off = ((norm.running_mean - exact_mean).abs() / exact_std).mean()
    ratio = (norm.running_var.sqrt() / exact_std).mean()
    print(f"{title}: means off by {mean_off:.3f} of a std; std / exact std {ratio:.3f}")


# %%
contexts = splits.train.contexts
shuffled = contexts[torch.randperm(len(contexts), generator=torch.Generator().manual_seed(3))]
ordered = contexts[contexts[:, -1].argsort(stable=True)]  # by the letter before the next
for title, order in [("shuffled", shuffled), ("in file order", contexts), ("sorted", ordered)]:
    twin = twin_of(model)
    update_bn(order[: len(order) // 32 * 32].split(32), twin)
    loss = training.evaluate(twin, splits.val)
    compare(f"{title:>13}, penalty {round(loss - best, 3) + 0.0:.3f}", twin.batchnorm1)

# %% [markdown]
# **Trap 1: order.** An average of the batches' variances misses the spread between the batches. In
# sorted data the std comes out a quarter too small. In file order the error is small and has the
# other sign, probably because neighbours come from the same few names, each with a start, a middle
# and an end, and differ a little more than random examples do. Shuffle. (`calibrate` merges
# instead of averaging, so order does not matter to it.)
#
# **Trap 2: the last batch.** The number of examples is rarely a multiple of the batch size. Choose a
# size that leaves one:

# %%
size = next(size for size in range(24, 10_000) if len(contexts) % size == 1)
twin = twin_of(model)
print(f"{len(contexts)} examples in batches of {size} leave {len(contexts) % size}")
print(f"before: train mode {twin.training}, momentum {twin.batchnorm1.momentum}")
try:
    update_bn(shuffled.split(size), twin)
except ValueError as error:
    print(f"ValueError: {error}")
print(f"after: train mode {twin.training}, momentum {twin.batchnorm1.momentum}")

# %% [markdown]
# **Trap 3: what it leaves behind.** The error came through with the network still in train mode and
# its momentum gone. Whoever catches it and goes on, goes on with that. And **trap 4**: a batchnorm
# class it does not know is passed over without a word.

# %%
before = norm.running_mean.clone()
norm.running_mean += 1
update_bn(shuffled[:3200].split(32), model)
print(f"our layer, after update_bn: still off by {(norm.running_mean - before).mean():.1f}")
layers.calibrate(model, contexts)
compare("layers.calibrate puts it right", norm)

# %% [markdown]
# ## Two switches
#
# `model.eval()` chooses the running statistics. `torch.no_grad()` stops recording the graph for
# gradients. They are independent. Four combinations, three questions:

# %%
print("                    buffers move   mates matter   graph is kept")
for mode in ("train", "eval"):
    for gradients in (True, False):
        probe = copy.deepcopy(model).train(mode == "train")
        before = probe.batchnorm1.running_mean.clone()
        with torch.set_grad_enabled(gradients):
            first = probe(splits.val.contexts[:32])[0]
            second = probe(splits.val.contexts[[0, *range(100, 131)]])[0]
        moved = not torch.equal(before, probe.batchnorm1.running_mean)
        mates = not torch.allclose(first, second, atol=1e-4)
        name = f"{mode}()" if gradients else f"{mode}(), no_grad"
        print(f"{name:18} {moved!s:>12} {mates!s:>14} {first.requires_grad!s:>15}")

# %% [markdown]
# Under `no_grad`, in train mode, the buffers move. So a look at the network can change it. Say you
# want to see with which letters names start, and ask for eight first letters, twenty times over,
# under `no_grad`, with `eval()` forgotten. Guess the validation loss afterwards; it was near 2.4.

# %%
checks.guess("validation loss after twenty looks in train mode", None)


# %%
@torch.no_grad()
def first_letters(model, count, generator):
    """First letters of names, drawn in whatever mode the model is."""
    probabilities = torch.softmax(model(torch.zeros(count, 3, dtype=torch.int64)), 1)
    drawn = torch.multinomial(probabilities, 1, generator=generator)  # (count, 1)
    return vocabulary.decode(drawn[:, 0].tolist())


for mode in ("eval", "train"):
    probe = copy.deepcopy(model).train(mode == "train")
    sampling = torch.Generator().manual_seed(seed)
    loss_before = training.evaluate(probe, splits.val)
    letters = [first_letters(probe, 8, sampling) for _ in range(20)]
    leaked = training.evaluate(probe, splits.val)
    print(f"in {mode:>5} mode: {letters[-1]}, validation loss {loss_before:.2f} -> {leaked:.2f}")
checks.reveal("validation loss after twenty looks in train mode", leaked, unit="nats")

# %% [markdown]
# No gradient, no update, and the network is worse. Each look moved the buffers a tenth of the way
# to a batch of eight equal contexts, with variance 0. (The letters were wrong as well: a batch of
# equals is as blind as one context alone.)
#
# Measuring validation data in train mode moves the buffers too: its statistics end up in the
# network that it should judge. `training.evaluate` switches to eval mode and puts every module's
# mode back, whatever happens.

# %% [markdown]
# ## Folding batchnorm away
#
# With constant statistics batchnorm is a factor and a shift per unit, after a layer that is linear
# itself. Two linear maps are one:
#
# $$\gamma\,\frac{xW + b - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta = xW' + b'.$$
#
# ### Exercise 5 · Fold
#
# ●●○ · 8 minutes. Return $W'$ and $b'$ as a tuple.
#
# <details><summary>Hint</summary>Call the factor γ/√(σ² + ε), shape (H,). W has shape (fan_in, H),
# so each of its columns takes one factor; b and μ take it too.</details>


# %% nbgrader={"schema_version": 3, "grade_id": "fold", "grade": false, "solution": true, "locked": false, "task": false}
def fold(W, b, gamma, beta, mean, var, eps):
    """W' (fan_in, H) and b' (H,): one linear layer for linear and batchnorm in eval mode."""
    ### BEGIN SOLUTION
    factor = gamma / torch.sqrt(var + eps)  # (H,)
    return W * factor, (b - mean) * factor + beta
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "fold-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2}
checks.fold(fold)

# %%
folded = layers.fold_batchnorm(model)
with torch.no_grad():
    before, after = model.eval()(splits.val.contexts), folded(splits.val.contexts)
    difference = ((before - after).abs().max() / before.abs().max()).item()
print("with batchnorm:", ", ".join(name for name, _ in model.named_children()))
print("folded:        ", ", ".join(name for name, _ in folded.named_children()))
print(f"logits equal to 1e-6 of the largest logit: {difference < 1e-6}")


# %% tags=["nbval-ignore-output", "timing"]
def microseconds(net, contexts, repeats=300):
    """The median time of one forward pass."""
    times = []
    with torch.inference_mode():
        for _ in range(repeats):
            start = time.perf_counter()
            net(contexts)
            times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2] * 1e6


for size in (1, 32, 1024):
    contexts = splits.val.contexts[:size]
    kept, gone = microseconds(model, contexts), microseconds(folded, contexts)
    print(f"{size:5} contexts: {kept:5.0f} µs with batchnorm, {gone:5.0f} µs folded")

# %% [markdown]
# Folding saves operations: for a few contexts that is mostly the time of calling them.
#
# ## Saving and loading
#
# The running statistics are not parameters, but the network needs them. They survive a save because
# buffers are part of the `state_dict`. A home-made layer that keeps them as plain attributes loses
# them. Load such a network again: which validation loss?

# %%
checks.guess("validation loss of the network that forgot", None)


# %%
class ForgetfulBatchNorm1d(layers.BatchNorm1d):
    """The same layer, its running statistics plain attributes instead of buffers."""

    def __init__(self, num_features):
        super().__init__(num_features)
        del self.running_mean, self.running_var
        self.running_mean, self.running_var = torch.zeros(num_features), torch.ones(num_features)


def saved_and_loaded(layer):
    """The trained network with this class of batchnorm, saved and loaded into a new one."""
    trained, new = copy.deepcopy(model), copy.deepcopy(model)
    trained.batchnorm1, new.batchnorm1 = layer(200), layer(200)
    trained.load_state_dict(model.state_dict(), strict=False)
    set_statistics(trained.batchnorm1, norm.running_mean, norm.running_var)
    file = io.BytesIO()
    torch.save(trained.state_dict(), file)
    file.seek(0)
    new.load_state_dict(torch.load(file))
    return trained, new


# %%
for layer in (layers.BatchNorm1d, ForgetfulBatchNorm1d):
    trained, new = saved_and_loaded(layer)
    losses = [training.evaluate(net, splits.val) for net in (trained, new)]
    kept = [name.split(".")[1] for name in trained.state_dict() if "running" in name]
    print(f"{layer.__name__}: state_dict has {', '.join(kept) or 'no running statistics'};")
    print(f"    validation loss {losses[0]:.2f} when saved, {losses[1]:.2f} when loaded")
checks.reveal("validation loss of the network that forgot", losses[1], unit="nats")

# %% [markdown]
# No error, no warning: the file and the new network agree on every name they both have.
#
# ## What you now know
#
# 1. Alone, a name gets the same answer as every other, or nan: the 1000 contexts showed one answer.
# 2. Borrowed batch statistics cost 0.02 nats at n = 32 and less than half at each doubling; they make
#    an answer depend on its company.
# 3. Calibration, layer by layer, makes the statistics constants, exactly. With momenta up to 0.1
#    running statistics came within 0.003 nats of it, on average over eight seeds, once the start's
#    weight $(1-m)^n$ was gone or taken out.
# 4. Average unbiased variances: the table of four had only them right at n = 4.
# 5. eval() chooses statistics, no_grad() only gradients; constant statistics fold into the weights.

# %% [markdown]
# **Common mistakes** · Reading 0.9 in one convention and passing it to the other. Averaging stds.
# Counting on `no_grad` for evaluation. Calibrating and then evaluating without using it. Leaving a
# last batch of one. Keeping statistics outside the `state_dict`.
#
# **Next, lesson 05:** the instruments: activations, gradients and updates of every layer.

# %%
checks.guesses()
