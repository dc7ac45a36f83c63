# %% [markdown]
# # Lesson 1: the tape
#
# You will learn
# - how a computation, written down line by line, becomes a list from which its gradient can be read off;
# - why that list is read in reverse, and why the gradients of everything that is used twice are *added*;
# - what a gradient costs: a small multiple of the computation's time, however many inputs there are, and memory.
#
# The list is called a *tape*, or a Wengert list, after R. E. Wengert, *A simple automatic derivative evaluation
# program*, Communications of the ACM 7 (1964), whose program carried the derivatives forward, beside the values.
# Reading the list in reverse was the idea of S. Linnainmaa (1970, for rounding errors) and B. Speelpenning (1980, for
# programs); D. Rumelhart, G. Hinton and R. Williams made it known for neural networks, as *backpropagation* (1986). The
# history is told by A. Griewank, *Who invented the reverse mode of differentiation?*, Documenta Mathematica (2012).

# %%
from tutorials.lesson import BLACK, WITH, WITHOUT, check, parse, parser, predict, save, table  # before NumPy

import itertools
import math
import tracemalloc

import matplotlib.pyplot as plt
import numpy as np

import minigrad

args = parse(parser("A tape by hand, and minigrad's."), "01_the_tape")

# %% [markdown]
# ## A tape by hand
# Take the function
#
# $$f(x_1, x_2) = \ln x_1 + x_1 x_2 - e^{x_2}$$
#
# at the point $x_1 = 2$, $x_2 = 1$. To compute it, do one operation at a time and give each result a name. That is
# all there is to recording a tape.

# %%
x1, x2 = 2.0, 1.0
v1 = math.log(x1)
v2 = x1 * x2
v3 = math.exp(x2)
v4 = v1 + v2
f = v4 - v3
print(f"f = {f:.4f}")

# %% [markdown]
# ## Back along the list by hand
# Write $d_v$ for $\partial f / \partial v$: how much $f$ changes when $v$ changes by a little. It is easy to say for
# the last line: $d_f = 1$. Then go up, line by line. Each line knows the derivative of its own operation, and the
# chain rule multiplies it by the gradient that has arrived at its result. A change of $x_1$ reaches $f$ on two ways, by
# $v_1$ and by $v_2$, and so does one of $x_2$: both contributions count.

# %%
slope = predict(
    "With pencil and paper: what is the derivative of f with respect to x1 at this point?", right=1.5, within=0.01,
    because="1/x1 + x2 = 0.5 + 1: one contribution from the logarithm, one from the product, and they are added.",
)  # fmt: skip

# %%
d_f = 1.0
d_v4 = d_f  #        f = v4 - v3
d_v3 = -d_f
d_v1 = d_v4  #       v4 = v1 + v2
d_v2 = d_v4
d_x2 = d_v3 * v3  #  v3 = exp(x2)
d_x1 = d_v2 * x2  #  v2 = x1 * x2
d_x2 += d_v2 * x1
d_x1 += d_v1 / x1  # v1 = log(x1)
print(f"d_x1 = {d_x1:.4f}, d_x2 = {d_x2:.4f}")
slope.confirm(d_x1)

# %% [markdown]
# ## Watching the gradient travel
# A program can keep that list for you. Here is minigrad's: `requires_grad=True` is how a tensor asks for its gradient,
# and each entry has its rule in words. You see it as a table, as a figure, and as a page to step through in your
# browser, forward and then backward.

# %%
a, b = (minigrad.Tensor(value, requires_grad=True, name=name) for name, value in [("x1", 2.0), ("x2", 1.0)])
u1, u2, u3 = minigrad.log(a), a * b, minigrad.exp(b)
u4 = u1 + u2
result = u4 - u3
for name, tensor in {"v1": u1, "v2": u2, "v3": u3, "v4": u4, "f": result}.items():
    tensor.name = name
tape = result.tape()
print(tape)
figure, ax = plt.subplots(figsize=(10, 6.5), layout="constrained")
tape.draw(ax).set_title("Values go to the right, gradients come back to the left", fontsize=16)
print(f"The figure: {save(figure, args, '01_the_tape')}")
page = tape.to_html(args.out / "01_the_tape.html")
print(f"The page: {page}")
page  # noqa: B018  # in a notebook, a link

# %% [markdown]
# `steps()` reads the tape from the end, as `backward()` does, but stops after each entry, so that you can look: which
# gradient `g` arrived, what the entry sends to each of its inputs, and what these have received so far. Watch `x1` and
# `x2` get their second contribution.

# %%
for step in tape.steps():
    print(step)
print(f"\nx1.grad = {a.grad:.4f}, x2.grad = {b.grad:.4f}")

# %% [markdown]
# ## The tape, built
# Now build it yourself. Each operation computes its value, and *records* how a gradient gets back: an `Entry` with its
# inputs and, for each of them, a function from the gradient `g` of the result to the gradient of that input, the
# input's *vector-Jacobian product*, `vjp`. What it needs of the forward computation is `saved`.


# %%
class Entry:
    def __init__(self, op, inputs, vjps, saved):
        self.op, self.inputs, self.vjps, self.saved, self.number = op, inputs, vjps, saved, next(clock)


class Tensor:
    def __init__(self, data):
        self.data, self.grad, self.entry = np.asarray(data, float), None, None

    def __add__(self, other):
        return record("add", self.data + other.data, (self, other), (lambda g: g, lambda g: g), ())

    def __sub__(self, other):
        return record("subtract", self.data - other.data, (self, other), (lambda g: g, lambda g: -g), ())

    def __mul__(self, other):
        a, b = self.data, other.data
        return record("multiply", a * b, (self, other), (lambda g, a, b: g * b, lambda g, a, b: g * a), (a, b))


def exp(x):
    y = np.exp(x.data)
    return record("exp", y, (x,), (lambda g, y: g * y,), (y,))


def log(x):
    return record("log", np.log(x.data), (x,), (lambda g, a: g / a,), (x.data,))


def record(op, value, inputs, vjps, saved):
    result = Tensor(value)
    result.entry = Entry(op, inputs, vjps, saved)
    return result


clock = itertools.count(1)

# %% [markdown]
# The entries hang on the results, and each knows its inputs, so the tape of a result is what you find by going from
# inputs to inputs, sorted by number. Backward walks through it in reverse. `arrived` holds, for each tensor, the sum of
# what was sent to it so far; what is left in the end belongs to the *leaves*, which no operation made.


# %%
def tape_of(result):
    found, todo = {}, [result]
    while todo:
        x = todo.pop()
        if x.entry and x.entry.number not in found:
            found[x.entry.number] = x
            todo += x.entry.inputs
    return [found[number] for number in sorted(found)]


def backward(result):
    arrived = {result: np.ones(result.data.shape)}
    for tensor in reversed(tape_of(result)):
        g = arrived.pop(tensor)
        for x, vjp in zip(tensor.entry.inputs, tensor.entry.vjps, strict=True):
            arrived[x] = arrived.get(x, 0) + vjp(g, *tensor.entry.saved)
    for leaf, g in arrived.items():
        leaf.grad = g if leaf.grad is None else leaf.grad + g


# %% [markdown]
# That is all of automatic differentiation. The operands of an operation must have equal shapes here, and a result of
# several values starts with a gradient of 1 for each. The heart of minigrad, `minigrad/autograd.py`, is this code under
# the same names; around it are more operations, shapes that broadcast, and errors that explain themselves.

# %%
own_x1, own_x2 = Tensor(2.0), Tensor(1.0)
w1, w2, w3 = log(own_x1), own_x1 * own_x2, exp(own_x2)
own_f = w1 + w2 - w3
backward(own_f)
print(f"own_x1.grad = {own_x1.grad:.4f}, own_x2.grad = {own_x2.grad:.4f}")

# %% [markdown]
# ## Why in reverse?
# An entry multiplies the gradient of its result by a derivative and passes it on. So it may only be read when that
# gradient is complete, which is to say, after *all* entries that used its result. Recording put these users behind it;
# reading from the end puts them before it.

# %%
ORDERS = ["v1 v2 v3 v4 f", "f v1 v2 v4 v3", "f v3 v4 v2 v1"]
order = predict(
    "The tape is v1 v2 v3 v4 f. Reading it in reverse is right; which of these orders is right, too?", ORDERS, right=2,
    because="f uses v3 and v4, and v4 uses v1 and v2: f must come before v3 and v4, and v4 before v1 and v2.",
)  # fmt: skip


# %%
def read(order):
    """The gradients of the two leaves if the entries are read in this order."""
    arrived = {own_f: 1.0}
    for tensor in order:
        for x, vjp in zip(tensor.entry.inputs, tensor.entry.vjps, strict=True):
            arrived[x] = arrived.get(x, 0.0) + vjp(arrived.get(tensor, 0.0), *tensor.entry.saved)
    return arrived[own_x1], arrived[own_x2]


named = dict(zip("v1 v2 v3 v4 f".split(), tape_of(own_f), strict=True))
by_order = {text: read([named[name] for name in text.split()]) for text in ORDERS}
order.confirm([np.allclose(gradients, (d_x1, d_x2)) for gradients in by_order.values()])
table(["read in the order", "x1", "x2"], [[text, *(f"{d:.4f}" for d in pair)] for text, pair in by_order.items()])

# %% [markdown]
# Read forwards, nothing arrives: no gradient has reached the first entries when they are read.
#
# ## What a gradient costs: operations
# You could also get the gradient by nudging each input a little and computing the function again: for $n$ inputs,
# $n + 1$ computations. (Carrying derivatives forward takes a pass for each input, too.) How does the tape compare?
# Take a function with $n$ inputs and about $4 n$ operations,
#
# $$x_1 + \sum_{i} \left(e^{x_i \, x_{i+1}}\right)^2,$$
#
# and count. Forward, each entry is one operation. Backward, count one for each gradient that an entry sends, and one
# for each addition where gradients meet: two gradients that are sent to one tensor take one addition.

# %%
price = predict(
    "With 512 inputs, nudging costs as much as 513 computations of the function. And the tape, forward and backward?",
    ["513, too", "about 200", "about 20 (the root of 512)", "3 or 4"], right=3,
    because="Each entry sends a gradient to its one or two inputs, once, however many inputs the function has.",
)  # fmt: skip


# %%
def chain(xs):
    total = xs[0]
    for left, right in itertools.pairwise(xs):
        h = exp(left * right)
        total = total + h * h
    return total


sizes = np.array([2, 8, 32, 128, 512])
forward, back = [], []
for n in sizes:
    long_tape = tape_of(chain([Tensor(value) for value in np.linspace(-1, 1, n)]))
    sent = [x for tensor in long_tape for x in tensor.entry.inputs]
    forward.append(len(long_tape))
    back.append(len(sent) + len(sent) - len(set(sent)))
forward, ratios = np.array(forward), np.array(back) / forward
cost = 1 + ratios[-1]
price.confirm([cost > 500, 100 < cost <= 500, 10 < cost <= 100, cost <= 10])
print(f"backward operations per forward operation, for {sizes} inputs: {ratios}")

# %% [markdown]
# ## What a gradient costs: memory
# A forward computation can let go of each result as soon as the next one has it. A tape can't: the vjps need what they
# saved, and the first entry's is needed last. Take a chain of tanh on an array of 10,000 numbers, and count how many
# arrays of that size are held at once.

# %%
memory = predict(
    "A chain of 100 operations: how many times the memory of forward alone do forward and backward take?",
    ["the same", "about 2 times", "about 50 times", "about 10,000 times"], right=2,
    because="Forward holds two arrays at a time, an operand and its result; the tape holds all 100 results.",
)  # fmt: skip


# %%
def arrays_held(length: int, with_tape: bool) -> float:
    x = minigrad.Tensor(np.linspace(-1, 1, 10_000), requires_grad=with_tape)
    tracemalloc.start()
    y = x
    for _ in range(length):
        y = minigrad.tanh(y)
    if with_tape:
        y.backward(np.ones(y.shape))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / x.data.nbytes


lengths = np.array([10, 20, 50, 100, 200])
alone, taped = (np.array([arrays_held(n, with_tape) for n in lengths.tolist()]) for with_tape in (False, True))
times = (taped / alone)[3]
memory.confirm([times < 1.5, 1.5 <= times < 5, 5 <= times < 500, times >= 500])
print(f"arrays held for {lengths[3]} operations: {alone[3]:.1f} forward, {taped[3]:.1f} forward and backward")

# %% [markdown]
# The way out is to keep only some of the results and to compute the others again when they are needed: *checkpointing*
# (A. Griewank 1992; for deep networks T. Chen and others 2016, [arXiv 1604.06174](https://arxiv.org/abs/1604.06174)).

# %%
plt.rcParams.update({"font.size": 13, "axes.grid": True, "grid.alpha": 0.3})
figure, axes = plt.subplots(1, 2, figsize=(15, 6.5), layout="constrained")
figure.suptitle("The price of a whole gradient: few operations, much memory", fontsize=18)
nudging, dots = {"color": WITHOUT, "mfc": "white", "lw": 2}, {"color": BLACK, "lw": 2}
axes[0].loglog(sizes, forward * (sizes + 1), "s--", label="nudging: (n + 1) times forward, extrapolated", **nudging)
axes[0].loglog(sizes, forward * (1 + ratios), "o-", color=WITH, lw=2, label="forward and backward, counted")
axes[0].loglog(sizes, forward, "^:", label="forward only, counted", **dots)
axes[0].set(xlabel="number of inputs n", ylabel="operations", title="a  Operations: a small multiple of forward")
axes[1].plot(lengths, taped, "o-", color=WITH, lw=2, label="forward and backward")
axes[1].plot(lengths, alone, "^:", label="forward only", **dots)
axes[1].set(xlabel="operations in the chain", ylabel="arrays held at once", title="b  Memory: every result is kept")
for ax in axes:
    ax.legend(frameon=False, loc="upper left")
print(f"The figure: {save(figure, args, '01_the_tape_2')}")

# %% [markdown]
# ## The claims
# The constant in the third claim depends on how one counts; W. Baur and V. Strassen, *The complexity of partial
# derivatives*, Theoretical Computer Science 22 (1983), prove such a bound for every function made of arithmetic.

# %%
check(
    {
        "the gradients by hand equal the tape's": np.allclose((d_x1, d_x2), (own_x1.grad, own_x2.grad), rtol=1e-14),
        "your tape gives what minigrad's gives, to the bit": (own_x1.grad, own_x2.grad) == (a.grad, b.grad),
        "backward takes at most 3 times the operations of forward, whatever the number of inputs": max(ratios) <= 3,
        "with 512 inputs, nudging takes 100 times as much as that or more": 513 / cost >= 100,
        "forward alone holds 2 arrays, however long the chain": max(alone) < 2.5,
        "forward and backward hold one for each operation, and a few more": all(np.abs(taped - lengths - 5) < 5),
    }
)
