# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 05 · Diagnostics
#
# A network that trains badly raises no error. You will look inside one with four views: what the
# layers put out, what gradient comes back to them, what the weights get of it, and how far each
# step moves them. Then the clinic opens: eight networks, each with one fault, for you to name and
# cure.
#
# **You will be able to** measure and read the four views; say what a ratio of update to weight
# tells and what it does not; watch a run while it goes on at little cost; find a fault of
# initialization, learning rate or batchnorm from its symptoms.
#
# **Time** 80 minutes, the clinic included. **Builds on** lessons 01 to 04.

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
import time

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

from helpers import checks, clinic, data, diagnostics, evidence, layers, plotting, training, widgets

# %% tags=["parameters"]
dataset = "world"  # or "makemore", the lecture's corpus, or the path of a file of names
seed = 2147483647
steps = 1000
log_dir = None  # or a folder: the live view then also writes for TensorBoard

# %% [markdown]
# ## Five layers, opened up
#
# The network of this lesson has five hidden layers of 100 units, with tanh and gain 5/3. Autograd
# forgets the gradients of everything that is not a parameter, unless a tensor is told to
# `retain_grad`. We tell the activations.

# %%
splits = data.build_splits(data.load_names(dataset))
generator = torch.Generator().manual_seed(seed)
C = torch.randn(27, 10, generator=generator)
hidden = []  # (W, b) of each layer
for fan_in in (30, 100, 100, 100, 100):
    W = torch.randn(fan_in, 100, generator=generator) * (5 / 3) / fan_in**0.5
    hidden.append((W, torch.randn(100, generator=generator) * 0))
W_out = torch.randn(100, 27, generator=generator) * 0.01
weights = [C, *(W for W, _ in hidden), W_out]
for weight in weights:
    weight.requires_grad = True

contexts, targets = splits.train.contexts[:1000], splits.train.targets[:1000]
h, activations = C[contexts].view(-1, 30), []
for W, b in hidden:
    h = torch.tanh(h @ W + b)  # (1000, 100)
    h.retain_grad()
    activations.append(h)
loss = F.cross_entropy(h @ W_out, targets)
loss.backward()
print(f"loss before training: {loss.item():.2f} nats")

# %% [markdown]
# ## First view: activations
#
# What is a healthy layer? Its activations have the same spread in every layer, and few of them are
# **saturated**, beyond 0.97 in size. The inputs are embeddings of std 1; from the second layer on
# they are tanh outputs.
#
# The gain 5/3 is made for tanh outputs. What fraction of the first layer is saturated, between 0
# and 1?

# %%
checks.guess("saturated fraction of layer 1", None)

# %%
print("layer   mean    std   saturated")
for number, h in enumerate(activations, 1):
    beyond = (h.abs() > 0.97).float().mean()
    mean = round(h.mean().item(), 2) + 0.0  # no -0.00
    print(f"{number:5} {mean:6.2f} {h.std():6.2f} {beyond:11.2f}")
saturated = (activations[0].abs() > 0.97).float().mean().item()
checks.reveal("saturated fraction of layer 1", saturated)

# %% [markdown]
# The same net comes from `layers.name_mlp`. `diagnostics.record` watches the forward and the
# backward pass inside its block with **hooks**, functions that PyTorch calls with every output, and
# takes them out again. It keeps, layer by layer, what we kept by hand.


# %%
def new_net(gain=5 / 3, batchnorm=False):
    """Five layers of 100 units, and the generator that drew them."""
    generator = torch.Generator().manual_seed(seed)
    settings = {"hidden_size": 100, "depth": 5, "hidden_bias_scale": 0.0}
    net = layers.name_mlp(
        27, hidden_gain=gain, batchnorm=batchnorm, generator=generator, **settings
    )
    return net, generator


def look(net, **options):
    """A recording of one forward and backward pass of 1000 examples."""
    with diagnostics.record(net, **options) as recording:
        F.cross_entropy(net(contexts), targets).backward()
    return recording


recording = look(new_net()[0])
for number, (layer, h) in enumerate(zip(recording.layers, activations, strict=True), 1):
    same = torch.allclose(layer.activation, h, atol=1e-5)
    same_gradient = ((layer.gradient - h.grad).abs().max() < 1e-3 * h.grad.std()).item()
    print(f"layer {number}: activations as by hand {same}, gradients {same_gradient}")

# %%
ax = plotting.draw_activations(recording.layers)
ax.set_title("Gain 5/3: the layers behind the first have the same spread")
for number, layer in enumerate(diagnostics.layer_statistics(recording), 1):
    print(f"layer {number}: std {layer.std:.2f}, saturated {layer.saturated:.2f}")

# %% [markdown]
# The peaks at both ends are saturation. The first layer has most of it, since 5/3 overshoots for
# inputs that no tanh has shrunk.
#
# ## Second view: the gradient at the activations
#
# The gradient of the loss at an activation says how much the loss would change with it. It comes
# from behind: layer 5 gets it from the output, layer 1 through all the others. Its std should not
# change by orders of magnitude on the way.

# %%
ax = plotting.draw_gradients(recording.layers)
ax.set_title("The gradient arrives at layer 1 a little wider than it left layer 5")
stds = [layer.gradient_std for layer in diagnostics.layer_statistics(recording)]
print("gradient std, layer 1 to 5:", " ".join(f"{std:.2g}" for std in stds))
print(f"layer 1 / layer 5: {stds[0] / stds[-1]:.2f}")

# %% [markdown]
# ## Third view: the gradient at the weights
#
# What moves a weight is its own gradient. Whether that is much depends on how large the weight is,
# so divide: **grad:data** is the std of a weight matrix's gradient over the std of its elements.

# %%
statistics = diagnostics.weight_statistics(recording)
ax = plotting.draw_grad_data(statistics)
ax.set_title("One matrix stands apart: the output layer's")
print("weight                 std   gradient std   grad:data")
for weight in statistics:
    row = f"{weight.name:17} {weight.std:8.3f} {weight.gradient_std:14.1e}"
    print(f"{row} {weight.std_ratio:11.1e}")

# %% [markdown]
# The output layer has the largest grad:data by far: its weights are the smallest, and the
# gradients of all others come to them through those small weights. It moves fast at first. Is 0.9
# too much, is 0.002 too little? The ratio alone cannot say: a gradient is not a step. The step is
# the gradient times the learning rate.

# %% [markdown]
# ## Fourth view: update to data, over time
#
# **update:data** puts the step above the weight: learning rate × std of the gradient, over the std
# of the weight. It is shown as its logarithm to base 10, at every step. A rule of thumb says it
# should be near −3: a step changes a weight by a thousandth of its size.
#
# At the learning rate 0.1 we have always used, where will it be, averaged over the hidden layers?

# %%
checks.guess("log10 update:data at learning rate 0.1", None)

# %% [markdown]
# ### Exercise 1 · The update ratio
#
# ●○○ · 4 minutes. Return log10 of update:data for one weight, after one step of plain gradient
# descent.
#
# <details><summary>Hint</summary>The std of a tensor times a number is its std times that number.
# <code>torch.log</code> is the natural logarithm: it puts a thousandth at −6.9.</details>


# %% nbgrader={"schema_version": 3, "grade_id": "log-update-ratio", "grade": false, "solution": true, "locked": false, "task": false}
def log_update_ratio(weight, gradient, learning_rate):
    """log10 of the update's std over the weight's: tensors of one shape give a scalar."""
    ### BEGIN SOLUTION
    update = learning_rate * gradient
    return torch.log10(update.std() / weight.std())
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "log-update-ratio-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 1}
checks.log_update_ratio(log_update_ratio)

# %%
net, generator = new_net()
with diagnostics.record_run(net, activations_every=25) as recorder:
    training.fit(net, splits.train, steps, generator=generator, on_step=recorder.on_step)
run = recorder.record()
ax = plotting.draw_update_ratio(run, width=20)
ax.set_title("The hidden layers settle near −2.5, above the rule of thumb, dashed")
print(f"mean of the last {steps // 2} steps:")
for name, ratio in zip(run.weights, run.update_ratio[steps // 2 :].mean(0), strict=True):
    print(f"    {name:17} {ratio:.1f}")
hidden_ratio = run.update_ratio[steps // 2 :, 1:-1].mean().item()
checks.reveal("log10 update:data at learning rate 0.1", hidden_ratio, digits=1)

# %% [markdown]
# At first the hidden layers move less: their gradient comes through the small output layer. Most
# of the rise comes in the first hundred steps; after some hundreds the lines run nearly level. The
# output layer, small itself, moves ten times as far for its size.
#
# ## Four gains, side by side
#
# What do the views show when the gain is wrong? 0.5 is too small, 1 is critical (lesson 02), 5/3 is
# ours, 3 is too large.

# %%
gains = {"0.5": 0.5, "1": 1.0, "5/3": 5 / 3, "3": 3.0}
recordings = {name: look(new_net(gain)[0]) for name, gain in gains.items()}
fig, axes = plt.subplots(2, 2, figsize=(8.0, 4.6))
says = ["the signal dies", "it fades", "it holds", "it saturates"]
for ax, (name, recording), what in zip(axes.flat, recordings.items(), says, strict=True):
    plotting.draw_activations(recording.layers, ax, bins=30)
    ax.set(title=f"Gain {name}: {what}", yscale="log", ylim=(1e-3, 2))


def table(recordings):
    """Print the views of each recording as one row."""
    print("        activation std     saturated      gradient std      grad:data")
    print("gain    layer 1 layer 5   layer 1 last   layer 1 layer 5   linear1  linear5")
    for name, recording in recordings.items():
        first, *_, last = diagnostics.layer_statistics(recording)
        weights = diagnostics.weight_statistics(recording)
        print(
            f"{name:>4} {first.std:10.2f} {last.std:7.2f} {first.saturated:9.2f} "
            f"{last.saturated:4.2f} {first.gradient_std:10.1e} {last.gradient_std:7.1e} "
            f"{weights[1].std_ratio:9.1e} {weights[5].std_ratio:8.1e}"
        )


table(recordings)

# %% [markdown]
# Gain 0.5: the activations shrink to a twentieth from layer 1 to layer 5, and the gradient nearly as
# much on its way back. Both ends starve. Gain 3: nearly half of the net is saturated, and yet the
# gradient grows on its way back, because the weights are large. Saturation alone does not kill a
# gradient.
#
# ## The same gains with batchnorm

# %%
normed = {name: look(new_net(gain, batchnorm=True)[0]) for name, gain in gains.items()}
table(normed)
small, large = (diagnostics.weight_statistics(normed[name])[3].std_ratio for name in ("1", "3"))
print(f"grad:data of linear3, gain 1 over gain 3: {small / large:.1f}")

# %% [markdown]
# Batchnorm makes the forward pass blind to the gain: the activation columns are the same. The weights
# still feel it. A weight three times as large gets a gradient a third as large, so grad:data falls by
# nine. With batchnorm the activations look healthy whatever the weights are; look at grad:data
# instead.
#
# There is one more thing to look at behind a linear layer: a healthy batchnorm subtracts the batch
# mean, so adding the same number to a unit's pre-activations changes nothing. Then their gradients
# must sum to zero over the batch.

# %%
for name, batchnorm in (("plain", False), ("batchnorm", True)):
    linear3 = look(new_net(batchnorm=batchnorm)[0], kinds=diagnostics.LINEARS).layers[2]
    sums, sizes = linear3.gradient.sum(0).abs(), linear3.gradient.abs().sum(0)  # (100,) each
    ratio = (sums.mean() / sizes.mean()).item()
    print(f"{name:>9}: |sum of gradients| / sum of |gradients| = {ratio:.3f}")

# %% [markdown]
# ## A whole run in one picture
#
# The first view shows one moment. To see a run, count the sizes of the activations at every 25th
# step and lay the counts side by side. Across: steps. Up: the size of the activations, on a log
# scale. Colour: how many. Here is layer 5 of two nets, one with our gain, one whose signal
# nearly vanishes at first.

# %%
faint, generator = new_net(gain=0.5)
with diagnostics.record_run(faint, activations_every=25) as recorder:
    training.fit(faint, splits.train, steps, generator=generator, on_step=recorder.on_step)
faint_run = recorder.record()
fig, axes = plt.subplots(2, 1, figsize=(6.2, 4.2), sharex=True)
for ax, record in zip(axes, (run, faint_run), strict=True):
    plotting.draw_run_map(record, ax, layer=4, limits=(1e-3, 2))
axes[0].set_title("Gain 5/3: layer 5 hardly changes")
axes[1].set_title("Gain 0.5: layer 5 wakes up")
axes[0].set_xlabel("")
for name, record in (("5/3", run), ("0.5", faint_run)):
    edges, counts = record.bin_edges, record.counts[:, 4]  # (bins + 1,), (samples, bins + 2)
    middle = (counts.cumsum(1) >= counts.sum(1, keepdim=True) / 2).int().argmax(1)  # median's bin
    first, last = edges[middle - 1][[0, -1]].tolist()
    print(f"gain {name}: median size {first:.1g} in the first step, {last:.1g} at the end")
    print(f"    {int(counts.sum())} values counted, {len(counts)} steps x 32 examples x 100 units")

# %% [markdown]
# Every value is counted, also what is too small or too large for the picture. A histogram with a
# fixed range does not do that. Here is a histogram of some pre-activations, drawn from −3 to 3:

# %%
wide = C.detach()[contexts].view(-1, 30) @ torch.randn(30, 200, generator=generator)
counts = torch.histc(wide, bins=40, min=-3, max=3)
fig, ax = plt.subplots(figsize=(5.0, 2.6))
ax.stairs(counts, torch.linspace(-3, 3, 41), fill=True, color=plotting.BLUE)
ax.set(xlabel="pre-activation", ylabel="values", title="How much of it do you see?")
print(f"{wide.numel()} values went in, {counts.sum() / wide.numel():.0%} are in the picture")
print(f"their std is {wide.std():.1f}")

# %% [markdown]
# Most of it is outside, dropped without a word. A fixed range hides an explosion. Either
# count what falls outside or do not trust the picture.
#
# ### Exercise 2 · Lose nothing
#
# ●●○ · 8 minutes. Count the absolute values in bins with the given edges, and also how many lie
# below the first edge and how many above the last. A value on an edge belongs to the bin above it.
#
# <details><summary>Hint</summary><code>torch.bucketize(x, edges, right=True)</code> gives 0 for
# what lies below all edges. <code>torch.bincount</code> has a <code>minlength</code>. Or compare
# with each edge and subtract.</details>


# %% nbgrader={"schema_version": 3, "grade_id": "magnitude-counts", "grade": false, "solution": true, "locked": false, "task": false}
def magnitude_counts(values, edges):
    """Counts (B + 2,) of |values|, any shape: below edges (B + 1,), in each bin, above."""
    ### BEGIN SOLUTION
    bins = torch.bucketize(values.abs().flatten(), edges, right=True)
    return torch.bincount(bins, minlength=len(edges) + 1)
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "magnitude-counts-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2}
checks.magnitude_counts(magnitude_counts)

# %% [markdown]
# ## Is −3 right?
#
# A rule of thumb can be tested. The five-layer net was trained with learning rates from 0.01 to 1,
# with and without batchnorm, 3000 steps at a constant rate, eight seeds each. At the end the ratio
# was measured. Where was it at the rate that gave the lowest validation loss, without batchnorm?

# %%
checks.guess("log10 update:data at the best learning rate", None)

# %%
study = evidence.load("learning_rate", dataset)
rates = (0.01, 0.03, 0.1, 0.3, 1.0)
fig, ax = plt.subplots()
best = {}
for kind, colour in (("plain", plotting.ORANGE), ("batchnorm", plotting.BLUE)):
    print(f"{kind}: rate, log10 update:data, validation loss (nats), mean ± std of 8 seeds")
    points = []
    for rate in rates:
        ratio = study.values(f"rate {rate:g}, {kind}", "update_ratio")
        loss = study.values(f"rate {rate:g}, {kind}")
        points.append((ratio.mean().item(), loss.mean().item(), loss.std().item()))
        print(f"{rate:9g} {points[-1][0]:8.2f} {loss.mean():14.3f} ± {loss.std():.3f}")
    x, y, error = zip(*points, strict=True)
    ax.errorbar(x, y, error, fmt="o-", color=colour, label=kind)
    best[kind] = min(points, key=lambda point: point[1])[0]
    for rate in (0.01, 0.03):
        worse = study.values(f"rate {rate:g}, {kind}") - study.values(f"rate 0.1, {kind}")
        print(
            f"    {rate:g} against 0.1: {worse.mean():+.3f}, worse in {(worse > 0).sum()} of 8 seeds"
        )
ax.axvline(-3, color=plotting.INK, linestyle="--", linewidth=1)
ax.set(ylim=(2.40, 2.62), xlabel="log10 update:data at the end", ylabel="validation loss (nats)")
ax.set_title("The lowest losses are to the right of −3 (n = 8)")
ax.legend(frameon=False)
checks.reveal("log10 update:data at the best learning rate", best["plain"], digits=1)

# %% [markdown]
# (Plain at rate 1 lies far above the picture.)
#
# The best rates have a ratio near −2.3, five times the rule's. The two rates to either side of −3
# are worse than 0.1 in every seed. And with batchnorm the ratio says less: it rises by 0.4 while the rate
# rises tenfold, from 0.1 to 1, and the loss rises far less than the plain net's. A likely reason:
# weights that take large steps grow there, and the ratio divides by them.

# %% [markdown]
# So −3 is not an optimum. It is an order of magnitude: in this sweep −3.3 was too slow, and −1.5
# ruined the plain net. More cannot be read from it, and a sweep over rates is the better
# instrument.

# %% [markdown]
# ## Norms and stds
#
# A std measures the spread around the mean; a **norm** (Euclidean: the root of the sum of squares)
# measures size. For weight matrices with mean near zero the ratio is the same with either.

# %% [markdown]
# ### Exercise 3 · grad:data by norms
#
# ●○○ · 3 minutes. Return grad:data as a ratio of Euclidean norms.
#
# <details><summary>Hint</summary>The root of the sum of squares. Nothing is subtracted first.</details>


# %% nbgrader={"schema_version": 3, "grade_id": "grad-data-ratio", "grade": false, "solution": true, "locked": false, "task": false}
def grad_data_ratio(weight, gradient):
    """The gradient's Euclidean norm over the weight's: tensors of one shape give a scalar."""
    ### BEGIN SOLUTION
    return (gradient**2).sum().sqrt() / (weight**2).sum().sqrt()
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "grad-data-ratio-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 1}
checks.grad_data_ratio(grad_data_ratio)

# %% [markdown]
# Batchnorm's gain $\gamma$ starts as 100 equal numbers, its shift $\beta$ as zeros. What are their
# ratios?

# %%
net, _ = new_net(batchnorm=True)
F.cross_entropy(net(contexts), targets).backward()
parameters = dict(net.named_parameters())
print("parameter            ratio of stds   ratio of norms")
for name in ("linear3.weight", "batchnorm3.weight", "batchnorm3.bias"):
    data_, grad = parameters[name].detach(), parameters[name].grad
    print(f"{name:18} {grad.std() / data_.std():15.1e} {grad.norm() / data_.norm():16.1e}")

# %% [markdown]
# $\gamma$ has std 0, so the ratio of stds is infinite; the ratio of norms is a number. A shift that
# starts at zero has no size at all, and both ratios are infinite. The course's records use stds for
# weight matrices, as the lecture does. For vectors use norms, and expect infinity at zero.

# %% [markdown]
# ## Watching while it trains
#
# A fault is best found before the run is over. The live view looks at every 20th step and draws
# when drawing is cheap: loss, saturated fraction, update:data. It moves while the cell runs, and its
# last picture stays. Set `log_dir` in the parameters cell to a folder to have the same three numbers
# written for TensorBoard, which you install yourself (`pip install tensorboard`).

# %%
net, generator = new_net(gain=3)
with widgets.live_view(net, steps, log_dir=log_dir) as live:
    training.fit(net, splits.train, steps, generator=generator, on_step=live.on_step)
scalars = live.scalars
print(f"loss {scalars.loss[0]:.1f} -> {sum(scalars.loss[-10:]) / 10:.1f} nats")
print(f"saturated {scalars.saturated[0]:.1f} -> {sum(scalars.saturated[-10:]) / 10:.1f}")
print(f"log10 update:data, last 200 steps: {sum(scalars.update_ratio[-10:]) / 10:.1f}")

# %% [markdown]
# What does it cost? The same 800 steps with and without, in turns:


# %% tags=["nbval-ignore-output", "timing"]
def seconds(watched):
    """The time of 800 steps of a new net, with the live view or without."""
    net, generator = new_net()
    with diagnostics.record_scalars(net) as scalars:
        on_step = widgets.LiveView(scalars, 800).on_step if watched else None
        start = time.perf_counter()
        training.fit(net, splits.train, 800, generator=generator, progress=False, on_step=on_step)
        return time.perf_counter() - start


ratios = sorted(seconds(True) / seconds(False) for _ in range(3))
print(f"time with the live view / without: {ratios[1]:.2f} (median of 3)")

# %% [markdown]
# The view limits its own drawing; most of the cost is measuring. The panel below shows
# the four views before training and for one step, for settings of your own. Can you bring all of
# update:data to the dashed line with one learning rate? Switch batchnorm on, move the gain, and
# watch which views move.

# %%
widgets.init_explorer(splits.train, ["activations", "gradients", "weights", "updates"])

# %% [markdown]
# ## The clinic
#
# Eight networks wait. Each is our five-layer net with one fault, made by one line of code that you
# do not see. Patients 1 to 4 have no batchnorm, 5 to 8 have it. Each comes as an untrained model and
# a learning rate; `clinic.examine` looks at it once before training and then trains a copy for 200
# steps on the course's own corpus, **in the mode in which the model comes**.
#
# First, what do healthy ones look like? Dark is layer 1, the lightest dot and line the output layer.
# The healthy ranges were taken from eight seeds, with some room.


# %%
def show(examination, title):
    """The four views of an examination, and its findings beside the healthy ranges."""
    weights = diagnostics.weight_statistics(examination.before)[1:]  # without the embedding
    widgets.show_four_views(examination.tanhs, weights, examination.run, title)
    for name, value in examination.findings.items():
        low, high = clinic.HEALTHY[name]
        text = str(value) if isinstance(value, int) else f"{value:.2f}"
        text = "over 10" if value > 10 and "loss" in name else text
        print(f"{name:>31}: {text:>7}   healthy {low:g} to {high:g}")


show(clinic.examine(*clinic.healthy()), "Healthy, without batchnorm")

# %%
show(clinic.examine(*clinic.healthy(batchnorm=True)), "Healthy, with batchnorm")

# %% [markdown]
# The numbers under the views name what is hard to see: parameters whose gradient is rounding and
# nothing else; the std of what batchnorm puts out; the ratio |sum of gradients| / sum of
# |gradients| from the section on batchnorm; and how far batchnorm's running means are from
# calibrated ones (lesson 04), in stds of the unit. An update:data of −inf means that in some step
# some weight got no gradient at all; the pictures draw it at the lower edge.
#
# ### Ward A
#
# Read the views of each patient and write down a suspicion before you go on to the next.


# %%
def visit(number):
    """One patient: what its owner says, its views and findings."""
    patient = clinic.patient(number)
    print(f"patient {number}, learning rate {patient.learning_rate:g}: {patient.complaint}")
    show(clinic.examine(patient.model, patient.learning_rate), f"Patient {number}")


visit(1)

# %%
visit(2)

# %%
visit(3)

# %%
visit(4)

# %% [markdown]
# These are the names to choose from, for both wards. Some belong to nobody here.

# %%
print("\n".join(clinic.NAMES))

# %% [markdown]
# ### Exercise 4 · Cure ward A
#
# ●●○ · 15 minutes. For each of patients 1 to 4 return the fault's name, the cured model and the
# learning rate. The check compares the name, then trains your patient and looks at all findings. You
# may treat one patient after the other: leave `raise NotImplementedError` for the rest.
#
# <details><summary>Hint</summary>Weights are changed inside <code>with torch.no_grad():</code>, for
# example <code>model.linear1.weight *= 2</code>. What factor takes the std or the ratio you saw to
# the healthy one?</details>


# %% nbgrader={"schema_version": 3, "grade_id": "ward-a", "grade": false, "solution": true, "locked": false, "task": false}
def ward_a(number, model, learning_rate):
    """(name of the fault, cured model, learning rate) of patient 1, 2, 3 or 4."""
    ### BEGIN SOLUTION
    if number == 1:
        return "learning rate too small", model, 100 * learning_rate
    if number == 2:
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if name.startswith("linear") and name.endswith("weight"):
                    weight *= (5 / 3) / 3
        return "hidden gain too large", model, learning_rate
    if number == 3:
        with torch.no_grad():
            model.output.weight *= 0.01
        return "output layer not scaled down", model, learning_rate
    return "learning rate too large", model, learning_rate / 100
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "ward-a-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 4}
checks.ward_a(ward_a)

# %% [markdown]
# ### Ward B
#
# These four have batchnorm. Expect little help from their losses.

# %%
visit(5)

# %%
visit(6)

# %%
visit(7)

# %%
visit(8)

# %% [markdown]
# ### Exercise 5 · Cure ward B
#
# ●●● · 20 minutes. As before, for patients 5 to 8.
#
# <details><summary>Hint</summary>Which finding is out of range is different for each of them. A layer
# can be replaced: <code>model.batchnorm1 = layers.BatchNorm1d(100)</code>; a bias is removed with
# <code>model.linear1.bias = None</code>. <code>model.get_submodule("linear1")</code> finds a layer by
# its name.</details>


# %% nbgrader={"schema_version": 3, "grade_id": "ward-b", "grade": false, "solution": true, "locked": false, "task": false}
def ward_b(number, model, learning_rate):
    """(name of the fault, cured model, learning rate) of patient 5, 6, 7 or 8."""
    ### BEGIN SOLUTION
    for layer in range(1, 6):
        if number == 5:
            model.get_submodule(f"batchnorm{layer}").momentum = 0.1
        if number == 7:
            model.get_submodule(f"linear{layer}").bias = None
        if number == 8:
            setattr(model, f"batchnorm{layer}", layers.BatchNorm1d(100))
    names = {
        5: "momentum in the other convention",
        6: "batchnorm left in eval mode",
        7: "a bias in front of batchnorm",
        8: "batchnorm's statistics detached",
    }
    return names[number], model.train(), learning_rate
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "ward-b-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 4}
checks.ward_b(ward_b)

# %% [markdown]
# ## What you now know
#
# 1. Activations, their gradients, grad:data and update:data are four views, three of one
#    pass and one of a run; the gain table showed how the first three answer to a wrong gain.
# 2. Batchnorm hides the gain from the first view and not from the third: grad:data fell by nine.
# 3. The best rates had log10 update:data near −2.3, in eight seeds; −3 is an order of magnitude,
#    not an optimum.
# 4. Histograms with a fixed range drop what explodes, ratios of stds are infinite for constants.
# 5. Five of the eight patients had losses in the healthy range, before training and after it. The
#    faults showed elsewhere.

# %% [markdown]
# **Common mistakes** · ln for log10 in the update ratio. Comparing grad:data with 1e-3: the learning
# rate is missing. Counting saturation without the absolute value. Reading a std ratio of a vector
# that starts constant. Clipping histograms. Tuning the learning rate to −3 instead of to the loss.
#
# This was the last lesson. **Next:** put `diagnostics.record` around one pass of a network of your
# own, and see which view you cannot explain.

# %%
checks.guesses()
