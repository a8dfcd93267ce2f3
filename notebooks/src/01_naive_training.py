# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 01 · Naive training
#
# A small network learns to spell names. Its parameters start as random numbers, as naively as can
# be, and two things are wrong with it before the first step: one shows in the loss, the other
# hides. You will find both and repair them by hand.
#
# **You will be able to** say what loss an untrained network should have and notice when it has
# not; read a histogram of pre-activations and a saturation map; explain what saturation does to a
# gradient; fix both faults with a factor on each layer.
#
# **Time** 50 minutes, exercises included. **Builds on** Python, matrix products, the chain rule,
# and that variances of independent numbers add.

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

from helpers import checks, data, evidence, layers, plotting, training

# %% tags=["parameters"]
dataset = "world"  # or "makemore" (see the README), or the path of a file of names
seed = 2147483647
steps = 20_000

# %% [markdown]
# ## Names become examples
#
# The data is a list of first names from many countries, one per line, in the letters a to z. The
# model sees three symbols, the **context**, and predicts the next one. A dot marks where a name
# starts and ends, so there are 27 symbols.
#
# The names are shuffled and cut in three: 80% to train on, 10% to compare settings on (the
# **validation** set), 10% to keep for a last honest look (the **test** set).

# %%
names = data.load_names(dataset)
splits = data.build_splits(names)
vocabulary = splits.vocabulary
print(f"{len(names)} names, {len(vocabulary)} symbols")
print(f"examples: {len(splits.train)} train, {len(splits.val)} val, {len(splits.test)} test")
print()
for context, target in zip(splits.train.contexts[:8], splits.train.targets[:8], strict=True):
    print(vocabulary.decode(context.tolist()), "->", vocabulary.decode([target.item()]))

# %% [markdown]
# ## What a guess costs
#
# The **loss** of one example is $-\ln p$, where $p$ is the probability the model gave to the
# symbol that came. It is measured in **nats**. Certainty about the right symbol costs 0; $p = 1/2$
# costs 0.69; a $p$ near zero costs without limit. The loss of a model is the mean over examples.
#
# Suppose a model knows nothing and gives each of the 27 symbols the same probability. What it pays
# is the first number to know about any classifier.
#
# ### Exercise 1 · The loss of a uniform guess
#
# ●○○ · 3 minutes. Return the loss, in nats, of a model that gives each of `vocab_size` symbols the
# same probability.
#
# <details><summary>Hint</summary>Every symbol gets the same p. Write p down first, then put it into
# the definition of the loss. <code>math.log</code> is the natural logarithm.</details>


# %% nbgrader={"schema_version": 3, "grade_id": "uniform-loss", "grade": false, "solution": true, "locked": false, "task": false}
def uniform_loss(vocab_size):
    """The loss in nats of guessing `vocab_size` symbols uniformly: a number."""
    ### BEGIN SOLUTION
    probability = 1 / vocab_size
    return -math.log(probability)
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "uniform-loss-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 1}
checks.uniform_loss(uniform_loss)

# %%
print(f"a uniform guess over {len(vocabulary)} symbols pays {math.log(len(vocabulary)):.2f} nats")

# %% [markdown]
# ## A baseline to beat
#
# Before a network, count. For every pair of neighbouring symbols, how often does the second follow
# the first? Dividing each row by its sum turns counts into probabilities: a **bigram** model. One
# is added to every count, so that no pair has probability zero, which would cost infinitely much.

# %%
before, after = splits.train.contexts[:, -1], splits.train.targets
counts = torch.zeros(27, 27).index_put((before, after), torch.tensor(1.0), accumulate=True)
ax = plotting.draw_counts(counts, [vocabulary.decode([i]) for i in range(27)])
ax.set_title("Which symbol follows which: bright is often")
first_letters = vocabulary.decode(counts[0].topk(3).indices)
last_letters = vocabulary.decode(counts[:, 0].topk(3).indices)
print(f"names start most often with {', '.join(first_letters)}, end in {', '.join(last_letters)}")

bigram = (counts + 1) / (counts + 1).sum(1, keepdim=True)  # (27, 27), each row sums to 1
val_pairs = bigram[splits.val.contexts[:, -1], splits.val.targets]  # (N,)
bigram_loss = -val_pairs.log().mean().item()
print(f"uniform guess {math.log(27):.3f}, bigram {bigram_loss:.3f} nats on the validation set")

# %% [markdown]
# ## The network, nothing hidden
#
# Each symbol gets a row of 10 numbers in a table $C$, its **embedding**. Three rows side by side
# make 30 inputs. A layer of 200 **hidden units** follows: a matrix product gives each unit's
# **pre-activation**, tanh squeezes it into $(-1, 1)$, which is the unit's **activation**. A second
# matrix product gives 27 **logits**. Softmax turns them into probabilities: it takes $e$ to the
# power of each logit and divides by their sum.
#
# Where do the parameters start? The naive answer: normally distributed random numbers with mean 0
# and standard deviation (std) 1, everywhere.

# %%
generator = torch.Generator().manual_seed(seed)
C = torch.randn(27, 10, generator=generator)
W1 = torch.randn(30, 200, generator=generator)
b1 = torch.randn(200, generator=generator)
W2 = torch.randn(200, 27, generator=generator)
b2 = torch.randn(27, generator=generator)
parameters = [C, W1, b1, W2, b2]
for parameter in parameters:
    parameter.requires_grad = True
print(sum(parameter.numel() for parameter in parameters), "parameters")


def forward(contexts):
    """Pre-activations (N, 200), activations (N, 200) and logits (N, 27)."""
    x = C[contexts].view(-1, 30)  # (N, 3, 10) -> (N, 30)
    pre_activation = x @ W1 + b1  # (N, 200)
    h = torch.tanh(pre_activation)  # (N, 200)
    logits = h @ W2 + b2  # (N, 27)
    return pre_activation, h, logits


# %% [markdown]
# This network has seen nothing yet. Guess its loss on the training set: better than 3.30, the same,
# worse? By how much?

# %%
checks.guess("loss before training", None)

# %%
with torch.no_grad():
    pre_activation, h, logits = forward(splits.train.contexts)
    first_loss = F.cross_entropy(logits, splits.train.targets).item()  # the mean of -ln p
    right = (logits.argmax(1) == splits.train.targets).float().mean()
checks.reveal("loss before training", first_loss, digits=1, unit="nats")
print(f"a uniform guess pays {math.log(27):.1f}; the logits have std {logits.std():.0f}")
print(f"the symbol it finds most probable is the right one for {right:.0%} of the examples")

# %% [markdown]
# ## Why being confident and wrong is expensive
#
# A logit adds up 200 products of an activation, a little below 1 in size, and a weight of std 1.
# Variances add, so its std comes near $\sqrt{200} \approx 14$. The largest of 27 such numbers is
# about two stds above their mean, and softmax gives nearly everything to the largest. The network
# is certain, knows nothing, and is wrong nearly every time: each time it pays the gap between the
# largest logit and the right one.
#
# Multiply the logits by a factor and see what the same ignorance costs with less confidence.

# %%
factors = torch.logspace(-3, 0, 13)
losses = [F.cross_entropy(logits * factor, splits.train.targets).item() for factor in factors]
fig, ax = plt.subplots()
ax.semilogx(factors, losses, "o-", color=plotting.ORANGE)
ax.axhline(math.log(27), color=plotting.GREY, linestyle="--")
ax.text(1e-3, math.log(27) + 0.7, "uniform guess, ln 27", color=plotting.GREY)
ax.set(xlabel="factor on the logits", ylabel="loss (nats)", ylim=(0, None))
ax.set_title("The loss of ignorance grows with confidence")
for index in (0, 4, 8, 12):
    top = torch.softmax(logits * factors[index], 1).max(1).values.mean()
    print(f"factor {factors[index]:.3f}: loss {losses[index]:5.2f}, mean top probability {top:.2f}")

# %% [markdown]
# Small logits are not a good answer, but they are an honest one: the loss is $\ln 27$, and the
# first steps of training need not be spent on unlearning confidence. So the **first check of any
# classifier**: is the loss before training near $\ln(\text{number of classes})$?
#
# ### Exercise 2 · Cross-entropy that survives large logits
#
# ●●○ · 10 minutes. Return the mean loss in nats, without `F.cross_entropy`, `log_softmax` or
# `logsumexp`. The check tries logits of 1000, where `exp` gives infinity.
#
# <details><summary>Hint</summary>Softmax stays the same when a constant is subtracted from a row, so
# subtract the row's maximum. Then ln softmax(x) = x − ln Σ exp(x): write the logarithm of the
# quotient as a difference, and no zero is ever put into a logarithm. Rows and targets are picked
# together as in <code>table[rows, columns]</code>, as in the bigram cell.</details>


# %% nbgrader={"schema_version": 3, "grade_id": "cross-entropy", "grade": false, "solution": true, "locked": false, "task": false}
def cross_entropy(logits, targets):
    """The mean loss in nats: logits (N, V) and int64 targets (N,) give a scalar."""
    ### BEGIN SOLUTION
    logits = logits - logits.max(1, keepdim=True).values  # (N, V), the largest is 0
    log_probabilities = logits - logits.exp().sum(1, keepdim=True).log()  # (N, V)
    return -log_probabilities[torch.arange(len(targets)), targets].mean()
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "cross-entropy-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2}
checks.cross_entropy(cross_entropy)

# %% [markdown]
# ## The whole training loop
#
# **Stochastic gradient descent**: draw 32 examples (a **minibatch**), compute their mean loss, ask
# autograd for its gradient, move every parameter against it. The factor on the gradient is the
# **learning rate**: 0.1 for the first half, then 0.01. With smaller moves the parameters rattle
# less around where they have got to, and the loss drops at once: expect a step in the curve.
#
# About ten seconds. Running the cell again goes on from where it stopped.

# %%
minibatch_losses = []
for step in range(steps):
    batch = torch.randint(len(splits.train), (32,), generator=generator)
    _, _, batch_logits = forward(splits.train.contexts[batch])
    loss = F.cross_entropy(batch_logits, splits.train.targets[batch])

    for parameter in parameters:
        parameter.grad = None
    loss.backward()
    learning_rate = 0.1 if step < steps // 2 else 0.01
    for parameter in parameters:
        parameter.data -= learning_rate * parameter.grad
    minibatch_losses.append(loss.item())

with torch.no_grad():
    val_loss = F.cross_entropy(forward(splits.val.contexts)[2], splits.val.targets).item()
print(f"first minibatch {minibatch_losses[0]:.2f}, validation afterwards {val_loss:.2f} nats")
print(f"the bigram model, by counting, has {bigram_loss:.2f}")

# %%
naive_by_hand = training.History(torch.tensor(minibatch_losses), torch.tensor([]))
ax = plotting.draw_learning_curves({"naive": naive_by_hand}, width=100)
ax.axhline(math.log(27), color=plotting.BLUE, linestyle="--", linewidth=1)
ax.text(steps, math.log(27) + 0.2, "uniform guess, ln 27", ha="right", color=plotting.BLUE)
ax.set_title("A hockey stick: the first fall only reaches the uniform guess")
smooth = naive_by_hand.smoothed(100)
reached = (smooth < math.log(27)).nonzero()[0].item() * 100
print(f"mean loss of steps 0-99: {smooth[0]:.1f} nats; below ln 27 after about {reached} steps")

# %% [markdown]
# Many steps go by before the network is as good as a uniform guess, and at the end it is hardly
# better than counting pairs. Something else is wrong with it.

# %% [markdown]
# ## A fault that the loss does not show
#
# Go back to the start (`pre_activation` and `h` still hold it) and look at the hidden layer. A
# pre-activation adds up 30 products and a bias, all of size 1, so its std is near
# $\sqrt{31} \approx 5.6$. At 5.6 tanh is flat.
#
# An activation with absolute value above 0.97 is called **saturated**: its unit is saturated on
# that example. At 0.97 the slope of tanh is 0.06, beyond it less.
#
# What fraction of all activations is saturated, between 0 and 1?

# %%
checks.guess("saturated fraction of the naive net", None)

# %% [markdown]
# ### Exercise 3 · Count the saturated
#
# ●○○ · 4 minutes. Return the fraction, between 0 and 1, of activations with absolute value above
# 0.97: one number for the whole tensor. Try it on `h`.
#
# <details><summary>Hint</summary>tanh has two flat ends. A bool tensor has no mean until it is
# turned into floats.</details>


# %% nbgrader={"schema_version": 3, "grade_id": "saturated-fraction", "grade": false, "solution": true, "locked": false, "task": false}
def saturated_fraction(activations):
    """The fraction (0-1) of `activations`, any shape, with absolute value above 0.97."""
    ### BEGIN SOLUTION
    return (activations.abs() > 0.97).float().mean()
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "saturated-fraction-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 1}
checks.saturated_fraction(saturated_fraction)

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.2))
plotting.draw_histogram(pre_activation, left, limits=(-20, 20))
left.set(title="Pre-activations are spread wide", xlabel="pre-activation")
plotting.draw_histogram(h, right, limits=(-1, 1), colour=plotting.ORANGE)
right.set(title="so tanh sits at its two ends", xlabel="activation, tanh(pre-activation)")
naive_saturated = (h.abs() > 0.97).float().mean().item()
print(f"pre-activation std {pre_activation.std():.1f}")
checks.reveal("saturated fraction of the naive net", naive_saturated)

# %% [markdown]
# A histogram adds all units up. A map keeps them apart: each row is an example, each column a
# unit, dark where the unit is saturated on the example.

# %%
ax = plotting.draw_saturation_map(h[:40, :100])
ax.set_title("Dark: saturated. Most cells pass hardly any gradient back")
per_unit = (h.abs() > 0.97).float().mean(0)  # (200,)
print(f"saturated fraction per unit: lowest {per_unit.min():.2f}, highest {per_unit.max():.2f}")

# %% [markdown]
# ## What saturation does to the gradient
#
# On its way back, the gradient that arrives at an activation is multiplied by the slope of tanh at
# that point. The weights that feed the unit get what is left. What is the slope of tanh, when all
# you have is its output $h$?
#
# ### Exercise 4 · The gradient through tanh
#
# ●●○ · 5 minutes. Given the activations `h` and the gradient of the loss at `h`, return the gradient
# at the pre-activations. No autograd.
#
# <details><summary>Hint</summary>The derivative of tanh x can be written with tanh x alone, and
# tanh x is <code>h</code>. Then the chain rule, element by element.</details>


# %% nbgrader={"schema_version": 3, "grade_id": "tanh-backward", "grade": false, "solution": true, "locked": false, "task": false}
def tanh_backward(h, grad_h):
    """The loss's gradient at the pre-activations, from h and its gradient: all (N, H)."""
    ### BEGIN SOLUTION
    return (1 - h**2) * grad_h
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "tanh-backward-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 1}
checks.tanh_backward(tanh_backward)

# %%
slope = 1 - h**2  # (N, 200)
x = torch.linspace(-6, 6, 241)
fig, ax = plt.subplots()
ax.plot(x, torch.tanh(x), color=plotting.ORANGE, label="tanh x")
ax.plot(x, 1 - torch.tanh(x) ** 2, color=plotting.BLUE, label="slope, 1 − tanh² x")
for side in (-1, 1):  # tanh 2.09 = 0.97
    ax.axvspan(side * 2.09, side * 6, color=plotting.GREY, alpha=0.15)
ax.set(xlabel="pre-activation x", ylabel="value", title="In the grey zones |tanh x| > 0.97")
ax.set_xlim(-6, 6)
plotting.label_line_ends(ax)
print(f"slope over all units and examples: mean {slope.mean():.2f}, median {slope.median():.4f}")
print(f"fraction of slopes below 0.06: {(slope < 0.06).float().mean():.2f}")

# %% [markdown]
# For half of all pairs of unit and example, less than three thousandths of the gradient gets
# through. A unit learns mainly from the minority of examples on which it is not saturated.

# %% [markdown]
# ## Two repairs
#
# Both faults are sums that came out too large, so both have the same cure, a factor on the weights
# and the bias of the layer. Try factors of your own: when is the loss near 3.30, and the saturated
# fraction below 0.1?

# %%
output_factor, hidden_factor = 0.01, 0.2

generator = torch.Generator().manual_seed(seed)
C, W1, b1, W2, b2 = (torch.randn(p.shape, generator=generator) for p in parameters)
W2, b2 = W2 * output_factor, b2 * 0
W1, b1 = W1 * hidden_factor, b1 * 0.01
_, repaired_h, repaired_logits = forward(splits.train.contexts)
repaired_loss = F.cross_entropy(repaired_logits, splits.train.targets)
repaired_saturated = (repaired_h.abs() > 0.97).float().mean()
print(f"loss {repaired_loss:.4f}, saturated fraction {repaired_saturated:.2f}")

# %% [markdown]
# With an output factor of 0 the loss is $\ln 27$ exactly, but then no gradient reaches the hidden
# layer in the first step; small is better than zero.
#
# From here on the network comes from `layers.name_mlp`, which draws the same numbers in the same
# order, and the loop from `training.fit`, the loop you have read, with a progress bar. Three
# starting points:
#
# - **naive**: everything with std 1;
# - **output fixed**: `W2 * 0.01`, `b2 * 0`;
# - **both fixed**: also `W1 * 0.2`, `b1 * 0.01`.


# %%
def make_model(scheme):
    """The names model with one of the starting points, and the generator for its minibatches."""
    generator = torch.Generator().manual_seed(seed)
    model = layers.name_mlp(27, generator=generator, **layers.SCHEMES[scheme])
    return model, generator


@torch.no_grad()
def starting_point(model):
    """Loss (nats), pre-activation std and saturated fraction on the training set."""
    pre_activation = model[:3](splits.train.contexts)  # embedding, flatten, linear1
    loss = training.evaluate(model, splits.train)
    saturated = (torch.tanh(pre_activation).abs() > 0.97).float().mean().item()
    return loss, pre_activation.std().item(), saturated


schemes = ["naive", "output fixed", "both fixed"]
print(f"by hand: naive {first_loss:.4f}, repaired {repaired_loss:.4f}")
for scheme in schemes:
    loss, std, saturated = starting_point(make_model(scheme)[0])
    print(f"{scheme:>12}: loss {loss:.4f}, pre-activation std {std:.2f}, saturated {saturated:.2f}")

# %% [markdown]
# After training, the three will have different validation losses. Guess how many nats the two
# repairs gain together.

# %%
checks.guess("gain of both repairs", None)

# %%
schedule = training.step_decay(0.1, 0.01, at=steps // 2)
models, histories = {}, {}
for scheme in schemes:
    models[scheme], generator = make_model(scheme)
    histories[scheme] = training.fit(
        models[scheme], splits.train, steps, schedule, generator=generator
    )
val_losses = {scheme: training.evaluate(models[scheme], splits.val) for scheme in schemes}
for scheme in schemes:
    train_loss = training.evaluate(models[scheme], splits.train)
    print(f"{scheme:>12}: train {train_loss:.2f}, val {val_losses[scheme]:.2f} nats")
by_hand, by_fit = minibatch_losses[99], histories["naive"].losses[99]
print(f"step 99 of the naive net: by hand {by_hand:.2f}, with fit {by_fit:.2f}: the same loop")
gain = round(val_losses["naive"], 2) - round(val_losses["both fixed"], 2)
checks.reveal("gain of both repairs", gain, unit="nats")

# %% [markdown]
# ## One run is an anecdote
#
# Another seed draws other weights and other minibatches. How much of these differences is luck?
# Eight seeds of each starting point were trained in advance, 20,000 steps each with the same
# schedule. `evidence.load` says when that was done and with which version of the code.

# %%
study = evidence.load("schemes", dataset)
curves = {scheme: study.curves(scheme) for scheme in schemes}
ax = plotting.draw_seed_bands(curves, width=evidence.CURVE_WIDTH, limits=(2.1, 3.1))
ax.set_title("Training loss: each repair lowers the curve")
for scheme in schemes:
    val = study.values(scheme)
    print(f"{scheme:>12}: val {val.mean():.3f} ± {val.std():.3f} nats (mean and std of 8 seeds)")
for worse, better in (("naive", "output fixed"), ("output fixed", "both fixed")):
    gains = study.values(worse) - study.values(better)  # (8,), seed by seed
    print(f"{worse} -> {better}: gains {gains.min():.3f} to {gains.max():.3f}")

# %% [markdown]
# The bands go from the lowest seed to the highest. Both repairs help in 8 of 8 seeds. The hidden
# layer's, added to the output layer's, gains about a third as much; that is still several times the
# ± of the two repaired nets. The naive net has the widest ±: its run above was one of its worse.
#
# From here on, a claim that one setting is better than another comes with its seeds.

# %% [markdown]
# ## Dead units
#
# A unit that is saturated on **every** example gets hardly any gradient from any of them, and
# little is left to bring it back. It is called **dead**. Does the naive start kill units?

# %% [markdown]
# ### Exercise 5 · Find the dead
#
# ●●○ · 5 minutes. Return one bool per unit: is it saturated (absolute value above 0.97) on
# every example?
#
# <details><summary>Hint</summary>Columns are units, so the question "on every example?" runs down
# dim 0.</details>


# %% nbgrader={"schema_version": 3, "grade_id": "dead-units", "grade": false, "solution": true, "locked": false, "task": false}
def dead_units(activations):
    """Which units are saturated on every example: activations (N, H) give bool (H,)."""
    ### BEGIN SOLUTION
    return (activations.abs() > 0.97).all(0)
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "dead-units-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 1}
checks.dead_units(dead_units)

# %%
with torch.no_grad():
    h_after = models["naive"][:4](splits.train.contexts)  # (N, 200), after training
for when, activations in {"before training": h, "after training": h_after}.items():
    saturated = activations.abs() > 0.97
    dead = saturated.all(0).sum().item()
    free = (~saturated).float().mean(0).min().item()
    print(f"{when}: {saturated.float().mean():.0%} saturated, {dead} of 200 units dead;")
    print(f"    each unit is unsaturated on at least {free:.1%} of the {len(saturated)} examples")

# %% [markdown]
# No unit is dead, before or after, in this run. The layer is about as saturated as it was, though:
# all that training has not freed it, and the most saturated unit is left with few examples to learn
# from. What saturation costs here is not units but loss: the gap between the two repaired nets.

# %% [markdown]
# ## Names
#
# What did the training buy? Six names from each of four networks. (Sampling stops at 20 letters.)

# %%
for title, model in {
    "naive, untrained": make_model("naive")[0],
    "both fixed, untrained": make_model("both fixed")[0],
    "naive, trained": models["naive"],
    "both fixed, trained": models["both fixed"],
}.items():
    sampling = torch.Generator().manual_seed(seed)
    sampled = training.sample_names(model, vocabulary, 6, sampling)
    print(f"{title}:", ", ".join(sampled))

# %% [markdown]
# The naive untrained net repeats itself: being certain, it takes the same turns again and again.
# The repaired one draws letters at random. Training makes names of both.

# %% [markdown]
# ## What you now know
#
# 1. A classifier that knows nothing should pay $\ln(\text{classes})$, 3.30 nats here. The naive net
#    paid many times that, and the excess was confidence, as the factor plot showed.
# 2. The output layer's scale sets the confidence; ×0.01 brought the first loss to 3.30.
# 3. Pre-activations of std 5.5 saturated most of the hidden layer; ×0.2 freed it.
# 4. A saturated unit multiplies its gradient by less than 0.06. None was dead.
# 5. Each repair lowered the validation loss in 8 of 8 seeds, the output layer's by more.

# %% [markdown]
# **Common mistakes** · Reading one minibatch's loss as a result, when the next one differs by more
# than what you compare. Calling every saturated unit dead. Taking a large first loss for a hard
# problem. Comparing one run of each variant.
#
# The factors 0.01 and 0.2 were given to you. **Next, lesson 02:** where such a factor comes from.

# %%
checks.guesses()
