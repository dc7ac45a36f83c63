# %% [markdown]
# # Lesson 8: training and evaluation
#
# You will learn
# - where the running statistics come from, and why TensorFlow's momentum is 1 minus PyTorch's;
# - four ways in which a well trained network fails in evaluation, or is spoilt by it, and what cures each of them;
# - what the modes do, how to freeze a layer, and how to make batch normalization disappear.
#
# In training, batch normalization (BN) uses the mean and variance of the mini-batch. In use one image comes, and its
# answer should not depend on other images. So section 3.1 of [the paper](https://arxiv.org/abs/1502.03167) fixes mean
# and variance once training is over: BN computes one thing in training and another in use.

# %%
from tutorials.lesson import (  # before NumPy: see tutorials/__init__.py
    BLACK, GREEN, ORANGE, PINK, WITH, WITHOUT, accuracy, batches, check, mlp, parse, parser, predict, readings, save,
    table, train_step,
)  # fmt: skip

import copy
from functools import partial

import matplotlib.pyplot as plt
import numpy as np

from layers import BatchNorm1d, Linear, Module, Sequential, Sigmoid, batch_norm, fold_batchnorm, update_bn
from minigrad import no_grad
from minigrad.optim import SGD
from tutorials.data import load_digits

args = parse(parser("Batch normalization in evaluation: how it fails, and what cures it."), "08_train_and_eval")
plt.rcParams["font.size"] = 12
data, rng, SEEDS = load_digits(), np.random.default_rng(args.seed), range(5 * args.seed, 5 * args.seed + 5)

# %% [markdown]
# ## One number, two names
# While it trains, a BN layer keeps running statistics for later, from the start values 0 (mean) and 1 (variance):
#
# $$\text{running} \leftarrow (1 - \text{momentum}) \cdot \text{running} + \text{momentum} \cdot \text{batch}$$
#
# That is PyTorch's convention, and this library's. TensorFlow writes
# $\text{decay} \cdot \text{running} + (1 - \text{decay}) \cdot \text{batch}$, and Keras calls *that* number `momentum`.

# %%
renamed = predict(
    "Keras' default is momentum=0.99. Which momentum is that in PyTorch?", ["0.99", "0.1", "0.01", "0.9"], right=2,
    because="1 - 0.99. It is ten times as slow as PyTorch's default, 0.1, which in Keras is 0.9.",
)  # fmt: skip

# %%
keras, running = 0.99, np.zeros(3)
followers = [BatchNorm1d(3, momentum=momentum).astype(np.float64) for momentum in (0.99, 0.1, 0.01, 0.9)]
for batch in rng.normal(5, 2, (100, 60, 3)):
    [follower(batch) for follower in followers]
    running = keras * running + (1 - keras) * batch.mean(axis=0)
renamed.confirm([np.allclose(follower.running_mean, running, rtol=1e-12) for follower in followers].index(True))

# %% [markdown]
# A large momentum forgets fast, so the statistics are those of the last few batches; a small one is smooth and late.
# PyTorch's `momentum=None` averages all batches since the start: smooth, and on time as long as the weights below stay.
#
# ## Failure 1: nobody runs the update
# In TensorFlow 1, `tf.layers.batch_normalization(x, training=True)` doesn't update its moving statistics. It puts the
# update on a list, the collection `UPDATE_OPS`, and whoever builds the training step has to run what is on it:
#
#     with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
#         train_op = optimizer.minimize(loss)
#
# Some programs have only the second line. Here is such a layer, whose update is left to the caller.

# %%
UPDATE_OPS = []


class CollectingBatchNorm(BatchNorm1d):
    def forward(self, x):
        if not self.training:
            return super().forward(x)
        UPDATE_OPS.append((self, x.numpy().mean(axis=0), x.numpy().var(axis=0)))
        return batch_norm(x, None, None, self.weight, self.bias, training=True)


def run_updates(decay: float = 0.9) -> None:
    for layer, mean, var in UPDATE_OPS:
        layer.running_mean[...] = decay * layer.running_mean + (1 - decay) * mean
        layer.running_var[...] = decay * layer.running_var + (1 - decay) * var


same_loss = predict(
    "A network is trained with the updates, another one without. How do their training losses compare?",
    ["equal to the last bit", "slightly larger without", "much larger without"], right=0,
    because="In training the running statistics are written and never read. Only evaluation reads them.",
)  # fmt: skip
forgotten = predict(
    "And the test accuracy, in evaluation, of the network whose updates were never run?",
    ["about 10 %, like guessing", "60 to 90 %", "97 %, like the other"], right=0,
    because="With mean 0 and variance 1 as statistics, evaluation computes quite another function than training did.",
)  # fmt: skip
left_out = predict(
    "Another one leaves training=True out; the default is False. What becomes of its training?",
    ["it is an error", "as with BN, but evaluation is wrong", "as without BN: slow, but evaluation fits"], right=2,
    because="Training, too, now uses mean 0 and variance 1, so nothing is normalized.",
)  # fmt: skip


# %%
def network_of(norm, seed: int) -> Sequential:
    rng, layers = np.random.default_rng(seed), []
    for fan_in in (64, 100, 100):
        layers += [Linear(fan_in, 100, bias=False, rng=rng), norm(100), Sigmoid()]
    return Sequential(*layers, Linear(100, 10, rng=rng))


def test_accuracy(model: Module) -> float:
    """In percent; on a copy, because accuracy() leaves a model in training mode."""
    return 100 * accuracy(copy.deepcopy(model), data.x_test, data.y_test)


def train(network: Sequential, seed: int, after_step=UPDATE_OPS.clear, at=()) -> tuple:
    """Train for 300 steps in the present mode: the network, its losses, its test accuracies after the steps ``at``."""
    optimizer, losses, curve = SGD(network.parameters(), lr=0.1), [], []
    for step, (x, y) in enumerate(batches(data.x_train, data.y_train, 60, 300, seed), start=1):
        losses.append(train_step(network, optimizer, x, y))
        after_step()
        UPDATE_OPS.clear()
        if step in at:
            curve.append(test_accuracy(network))
    return network, losses, curve


AT, FIRST = readings(300), SEEDS[0]
kinds = {f"momentum {momentum}": partial(BatchNorm1d, momentum=momentum) for momentum in (0.1, 0.01, 0.001, None)}
runs = {name: train(network_of(norm, FIRST), FIRST, at=AT) for name, norm in kinds.items()}
runs["updates run"] = train(network_of(CollectingBatchNorm, FIRST), FIRST, run_updates)
runs["updates forgotten"] = train(network_of(CollectingBatchNorm, FIRST), FIRST, at=AT)
runs["training=True left out"] = train(network_of(BatchNorm1d, FIRST).eval(), FIRST, at=AT)
runs["without BN"] = train(mlp([64, 100, 100, 100, 10], batch_norm=False, rng=FIRST), FIRST)

same_losses = all(runs[name][1] == runs["updates run"][1] for name in (*kinds, "updates forgotten"))
loss = {name: np.mean(losses[-20:]) for name, (_, losses, _) in runs.items()}
same_loss.confirm(0 if same_losses else 1 + (loss["updates forgotten"] > 1.5 * loss["updates run"]))
forgotten.confirm(np.searchsorted([30, 90], test_accuracy(runs["updates forgotten"][0])))
left_out.confirm(1 + (loss["training=True left out"] > (loss["without BN"] + loss["updates run"]) / 2))
table(["after 300 steps", "loss", "test accuracy"], [
    [name, f"{loss[name]:.3f}", f"{test_accuracy(model):.1f} %"] for name, (model, _, _) in runs.items()
])  # fmt: skip

# %%
STYLES = ("-", WITH), ("--", ORANGE), (":", WITHOUT), ("-", GREEN), ("-.", BLACK), ("--", PINK)
figure, ax = plt.subplots(figsize=(12, 7), layout="constrained")
for name, (style, colour) in zip([name for name in runs if runs[name][2]], STYLES, strict=True):
    ax.plot(AT, runs[name][2], style, color=colour, lw=2.5, label=name)
ax.set(title="The same weights, five sets of running statistics; and training without statistics", ylim=(0, 102))
ax.set(xlabel="training steps", ylabel="test accuracy in evaluation (%)")
ax.legend(loc="center", bbox_to_anchor=(0.4, 0.65))
print(f"The figure: {save(figure, args, '08_train_and_eval')}")

# %% [markdown]
# A momentum that is too small fails like a forgotten update; `None` averages in what untrained layers gave. **The
# cure** is the paper's algorithm 2: after training, estimate the statistics afresh, as averages over many mini-batches.
# `update_bn(model, batches)` does that. From here on we take five networks, trained with momentum 0.1, and give mean
# and range of their accuracies; 355 test images, so one is 0.28 points.

# %%
networks = [runs["momentum 0.1"][0]] + [train(network_of(BatchNorm1d, seed), seed)[0] for seed in SEEDS[1:]]
trained, cases = [test_accuracy(network) for network in networks], {}


def compare(failure: str, broken: list[Module], cured: list[Module]) -> None:
    """Note and print the test accuracies of five broken models and of their cured ones."""
    cases[failure] = [[test_accuracy(model) for model in models] for models in (broken, cured)]
    for name, values in zip(("broken", "cured"), cases[failure], strict=True):
        print(f"{failure}, {name}: {np.mean(values):.1f} % ({min(values):.1f} to {max(values):.1f})")


def restored(checkpoint: dict[str, np.ndarray]) -> Module:
    model = network_of(BatchNorm1d, 0)
    model.load_state_dict(checkpoint, strict=False)
    return model


never = [train(network_of(CollectingBatchNorm, seed), seed)[0] for seed in SEEDS]
afresh = [restored(model.state_dict()) for model in never]
for model in afresh:
    update_bn(model, batches(data.x_train, data.y_train, 60, 24, rng))
compare("updates forgotten", never, afresh)

# %% [markdown]
# ## Failure 2: not in the checkpoint
# Moving statistics are no parameters: no gradient trains them. TensorFlow's `Saver(tf.trainable_variables())` leaves
# them out ([skflow, issue 117](https://github.com/tensorflow/skflow/issues/117)). Here and in PyTorch `state_dict()`
# has them, as buffers; and `load_state_dict` complains if they are missing, unless `strict=False` tells it not to.

# %%
only_parameters = [{name: p.numpy() for name, p in network.named_parameters()} for network in networks]
compare("not in checkpoint", [restored(p) for p in only_parameters], [restored(n.state_dict()) for n in networks])

# %% [markdown]
# ## Four modes
# What a layer does depends on `training` (set by `train()` and `eval()`) *and* on whether it keeps statistics.

# %%
fourth = predict(
    "BatchNorm1d(2, track_running_stats=False).eval(): with what does it normalize?",
    ["with nothing", "with mean 0 and variance 1", "with the batch"], right=2,
    because="It has nothing else. PyTorch's rule is: bn_training = training, or running statistics absent.",
)  # fmt: skip


# %%
def experiment(training: bool, tracking: bool) -> list[str]:
    """With what the layer normalized, and what became of its statistics."""
    layer = BatchNorm1d(2, affine=False, track_running_stats=tracking).astype(np.float64)
    layer(rng.normal(3, 2, (50, 2)))  # some past, for the running statistics
    past, x = layer.state_dict(), rng.normal(size=(8, 2))
    with_batch = np.allclose(layer.train(training)(x).numpy(), (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5))
    moved = any(not np.array_equal(past[key], now) for key, now in layer.state_dict().items())
    return ["the batch" if with_batch else "running statistics", ("moved" if moved else "same") if tracking else "none"]


modes = {(on, kept): experiment(on, kept) for on in (True, False) for kept in (True, False)}
PYTORCH = [["the batch", "moved"], ["the batch", "none"], ["running statistics", "same"], ["the batch", "none"]]
fourth.confirm(["nothing", "running statistics", "the batch"].index(modes[False, False][0]))
table(["training", "track_running_stats", "normalizes with", "running statistics"],
      [[str(training), str(tracking), *found] for (training, tracking), found in modes.items()])  # fmt: skip
network = networks[0].eval()
with no_grad():
    logits, alone = network(data.x_test).numpy(), network(data.x_test[:1]).numpy()
alone_error = np.abs(alone - logits[:1]).max()

# %% [markdown]
# ## Failure 3: statistics that move although no step is taken
# To time the trained network, somebody sends 20 batches of ones through it within `no_grad()`, and forgets `eval()`.

# %%
timing = predict(
    "What has this changed in the network?", ["nothing", "the statistics", "statistics and weights"], right=1,
    because="The update happens in forward, in training mode. no_grad() doesn't prevent it: no gradient is involved.",
)  # fmt: skip


# %%
careful, careless = ([copy.deepcopy(network).train(mode) for network in networks] for mode in (False, True))
with no_grad():
    for model in (*careful, *careless) * 20:
        model(np.ones((60, 64), np.float32))
after = careless[0].state_dict()
moved = {key.split(".")[-1] for key, old in network.state_dict().items() if not np.array_equal(old, after[key])}
timing.confirm(0 if not moved else 1 + bool(moved & {"weight", "bias"}))
compare("timed without eval()", careless, careful)

# %% [markdown]
# ## Failure 4: half a freeze
# The trained network, without its last layer, becomes the body of another one with a new task: is the digit in an
# *inverted* image, $1 - x$, odd? The body shall stay as it is, since the old task still needs it.

# %%
frozen = predict(
    "body.requires_grad_(False), then 200 steps on the new task in training mode. The accuracy in the old task ...",
    ["stays, since no weight of it moves", "falls by a few points at most", "falls by more than 10 points"], right=2,
    because="The weights stay, and the statistics become those of inverted images.",
)  # fmt: skip


# %% [markdown]
# `requires_grad_(False)` stops the weights, `eval()` the statistics; `apply` reaches every BN and leaves dropout alone.
# `whole.train()`, which many training loops call in every epoch, undoes `eval()`: freeze after it.


# %%
def stop_statistics(module: Module) -> None:
    if isinstance(module, BatchNorm1d):
        module.eval()


def new_task(network: Sequential, seed: int, freeze) -> Sequential:
    """The old task's network after its body has been trained, more or less frozen, on the new one."""
    body = copy.deepcopy(network[:-1])
    whole = Sequential(body, Linear(100, 2, rng=seed)).train()
    freeze(body)
    optimizer = SGD(whole.parameters(), lr=0.1)
    for x, y in batches(1 - data.x_train, data.y_train % 2, 60, 200, seed):
        train_step(whole, optimizer, x, y)
    return Sequential(body, network[-1])


freezes = {
    "nothing": lambda body: None,
    "requires_grad_(False)": lambda body: body.requires_grad_(False),
    "apply(stop_statistics)": lambda body: body.apply(stop_statistics),
    "both": lambda body: body.requires_grad_(False).apply(stop_statistics),
}
tasks = {name: [new_task(networks[i], SEEDS[i], freeze) for i in range(5)] for name, freeze in freezes.items()}
old = {name: np.array([test_accuracy(model) for model in models]) for name, models in tasks.items()}
frozen.confirm(np.searchsorted([1, 10], np.mean(trained) - old["requires_grad_(False)"].mean()))
compare("frozen without eval()", tasks["requires_grad_(False)"], tasks["both"])
print("old task, mean of 5, frozen by", ", ".join(f"{name}: {values.mean():.1f} %" for name, values in old.items()))

# %% [markdown]
# ## Folding
# In evaluation, mean and variance are constants, so BN is one multiply-add (algorithm 2, line 11; TensorFlow's
# `tf.nn.batch_normalization` computes it in this form), and the linear layer before it is one as well: two are one.
#
# $$y = \text{scale} \cdot x + \text{shift}, \qquad \text{scale} = \frac{\gamma}{\sqrt{\mathrm{Var}[x] + \epsilon}},
# \qquad \text{shift} = \beta - \text{scale} \cdot E[x]$$

# %%
folded = fold_batchnorm(network)
with no_grad():
    folding_error = np.abs(folded(data.x_test).numpy() - logits).max() / np.abs(logits).max()

# %% [markdown]
# ## The claims

# %%
never_run, timed = cases["updates forgotten"], cases["timed without eval()"]
claims = {
    "the momentum, and whether updates are run, change no loss, not by a bit": same_losses,
    "with mean 0 and variance 1, at most 30 % are right": max(*never_run[0], *cases["not in checkpoint"][0]) <= 30,
    "update_bn brings each of five networks within 2 points": np.abs(np.subtract(never_run[1], trained)).max() <= 2,
    "state_dict() restores them exactly": cases["not in checkpoint"][1] == trained,
    "the four modes are PyTorch's": list(modes.values()) == PYTORCH,
    "in evaluation, an image's logits are the same alone and in a batch, to 1e-5": alone_error < 1e-5,
    "a timing in training mode costs 10 points or more, in evaluation mode nothing":
        np.mean(timed[0]) <= np.mean(trained) - 10 and timed[1] == trained,
 "frozen by one means only, the old task loses 10 points or more":
        max(values.mean() for name, values in old.items() if name != "both") <= np.mean(trained) - 10,
    "frozen by both, it stays as it was": old["both"].tolist() == trained,
    "folded, 10 layers are 7, and equal to 1e-5": (len(network), len(folded)) == (10, 7) and folding_error < 1e-5,
}  # fmt: skip
check(claims)
