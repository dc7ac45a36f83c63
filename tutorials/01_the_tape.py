# %% [markdown]
# # Lesson 1: the tape
#
# You will learn
# - how a computation, written down line by line, becomes a list from which its gradient can be read off;
# - why that list is read in reverse, and why the gradients of everything that is used twice are *added*;
# - what a gradient costs: a small multiple of the computation itself, however many inputs there are.
#
# The list is called a *tape*, or a Wengert list, after R. E. Wengert, *A simple automatic derivative evaluation
# program*, Communications of the ACM 7 (1964). Run this file as a script, or cell by cell.

# %%
from tutorials.lesson import BLACK, WITH, WITHOUT, check, parse, parser, save, table  # before NumPy

import itertools
import math

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
# chain rule multiplies it by the gradient that has arrived at its result.
#
# Two names are used twice: $x_1$ in the lines of $v_1$ and $v_2$, $x_2$ in those of $v_2$ and $v_3$. A change of $x_1$
# reaches $f$ on both ways, so both contributions count: they are added.

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

# %% [markdown]
# You can check this with school calculus: $\partial f / \partial x_1 = 1/x_1 + x_2$ and
# $\partial f / \partial x_2 = x_1 - e^{x_2}$.
#
# ## The tape, built
# A program can keep that list for you. Each operation computes its value, and *records* how a gradient gets back: an
# `Entry` with its inputs and, for each of them, a function from the gradient `g` of the result to the gradient of that
# input. This is the input's *vector-Jacobian product*, `vjp`. What it needs of the forward computation is `saved`.


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
# several values starts with a gradient of 1 for each.

# %%
own_x1, own_x2 = Tensor(2.0), Tensor(1.0)
own_f = log(own_x1) + own_x1 * own_x2 - exp(own_x2)
backward(own_f)
for tensor in tape_of(own_f):
    print(f"{tensor.entry.number}: {tensor.entry.op} = {tensor.data:.4f}")
print(f"own_x1.grad = {own_x1.grad:.4f}, own_x2.grad = {own_x2.grad:.4f}")

# %% [markdown]
# ## minigrad's tape
# The heart of minigrad, `minigrad/autograd.py`, is this code under the same names. Around it are more operations,
# shapes that broadcast, errors that explain themselves, and `requires_grad=True`, by which a tensor asks for its
# gradient; no other gradient is computed. And each entry has its rule in words, so that you can print the tape.

# %%
a, b = (minigrad.Tensor(value, requires_grad=True, name=name) for name, value in [("x1", 2.0), ("x2", 1.0)])
u1, u2, u3 = minigrad.log(a), a * b, minigrad.exp(b)
u4 = u1 + u2
result = u4 - u3
for name, tensor in {"v1": u1, "v2": u2, "v3": u3, "v4": u4, "f": result}.items():
    tensor.name = name
tape = result.tape()
print(tape)

# %% [markdown]
# ## Watching the gradient travel
# `steps()` reads the tape from the end, as `backward()` does, but stops after each entry, so that you can look: which
# gradient `g` arrived, what the entry sends to each of its inputs, and what these have received so far. Watch `x1` and
# `x2` get their second contribution.

# %%
for step in tape.steps():
    print(step)
print(f"\nx1.grad = {a.grad:.4f}, x2.grad = {b.grad:.4f}")

# %% [markdown]
# The same as a figure, and as a page to click through in your browser.

# %%
figure = tape.draw().figure
path = save(figure, args, "01_the_tape")
page = tape.to_html(args.out / "01_the_tape.html")
print(f"The figure: {path}. The page: {page}")

# %% [markdown]
# ## Why in reverse?
# An entry multiplies the gradient of its result by a derivative and passes it on. So it may only be read when that
# gradient is complete, which is to say, after *all* entries that used its result. Recording put these users behind it;
# reading from the end puts them before it.
#
# Try all the orders in which your five entries can be read: `read` is `backward`, with whatever order you say.


# %%
def read(tape, order):
    """The gradients of the two leaves if the entries are read in this order."""
    arrived = {tape[-1]: 1.0}
    for tensor in (tape[position] for position in order):
        for x, vjp in zip(tensor.entry.inputs, tensor.entry.vjps, strict=True):
            arrived[x] = arrived.get(x, 0.0) + vjp(arrived.get(tensor, 0.0), *tensor.entry.saved)
    return arrived[own_x1], arrived[own_x2]


def users_first(tape, order):
    """Whether every entry is read after all the entries that used its result."""
    uses = [(j, i) for i, x in enumerate(tape) for j, user in enumerate(tape) if x in user.entry.inputs]
    return all(order.index(user) < order.index(used) for user, used in uses)


own_tape = tape_of(own_f)
orders = list(itertools.permutations(range(len(own_tape))))
right = [order for order in orders if np.allclose(read(own_tape, order), (d_x1, d_x2))]
allowed = [order for order in orders if users_first(own_tape, order)]
print(f"{len(right)} of {len(orders)} orders give the right gradients; in {len(allowed)} orders, users come first")
forwards = read(own_tape, range(len(own_tape)))
print(f"read forwards, the gradients of x1 and x2 are {forwards[0]:.1f} and {forwards[1]:.1f}")

# %% [markdown]
# Read forwards, nothing arrives: when the first entries are read, no gradient has reached them yet. Plain reverse is
# always among the right orders, and it needs no thinking.
#
# ## What a gradient costs
# You could also get the gradient by nudging each input a little and computing the function again: for $n$ inputs,
# $n + 1$ computations. How does the tape compare? Take a function with $n$ inputs and about $4 n$ operations,
#
# $$x_1 + \sum_{i} \left(e^{x_i \, x_{i+1}}\right)^2,$$
#
# and count. Forward, each entry is one operation. Backward, count one for each gradient that an entry sends, and one
# for each addition where gradients meet: two gradients that are sent to one tensor take one addition.


# %%
def chain(xs):
    total = xs[0]
    for left, right in itertools.pairwise(xs):
        h = exp(left * right)
        total = total + h * h
    return total


sizes = np.array([2, 8, 32, 128, 512])
rng = np.random.default_rng(args.seed)
forward, back = [], []
for n in sizes:
    long_tape = tape_of(chain([Tensor(value) for value in rng.normal(size=n)]))
    sent = [x for tensor in long_tape for x in tensor.entry.inputs]
    forward.append(len(long_tape))
    back.append(len(sent) + len(sent) - len(set(sent)))
forward, ratios = np.array(forward), np.array(back) / forward

figure, ax = plt.subplots(figsize=(11, 6.5), layout="constrained")
ax.loglog(sizes, forward * (sizes + 1), "s--", color=WITHOUT, lw=2, label="nudging every input, one after the other")
ax.loglog(sizes, forward * (1 + ratios), "o-", color=WITH, lw=2, label="forward and backward: the whole gradient")
ax.loglog(sizes, forward, "^:", color=BLACK, lw=2, label="forward only: the value")
ax.set_title("A tape gives the whole gradient for the price of a few computations", fontsize=15)
ax.set_xlabel("number of inputs", fontsize=13)
ax.set_ylabel("operations", fontsize=13)
ax.tick_params(labelsize=12)
ax.legend(frameon=False, fontsize=13)
ax.grid(alpha=0.3)
print(f"The figure: {save(figure, args, '01_the_tape_2')}")

# %% [markdown]
# ## What was measured

# %%
table(
    ["inputs", "computations by nudging", "backward operations per forward operation"],
    [[f"{n}", f"{n + 1}", f"{ratio:.2f}"] for n, ratio in zip(sizes, ratios, strict=True)],
)
table(
    ["gradient of", "by hand", "your tape", "minigrad", "calculus"],
    [
        ["x1", *(f"{d:.6f}" for d in (d_x1, own_x1.grad, a.grad, 1 / x1 + x2))],
        ["x2", *(f"{d:.6f}" for d in (d_x2, own_x2.grad, b.grad, x1 - math.exp(x2)))],
    ],
)

# %% [markdown]
# ## The claims
# The constant in the third claim depends on how one counts; W. Baur and V. Strassen, *The complexity of partial
# derivatives*, Theoretical Computer Science 22 (1983), prove such a bound for every function made of arithmetic.

# %%
check(
    {
        "the gradients by hand equal the tape's": np.allclose((d_x1, d_x2), (own_x1.grad, own_x2.grad), rtol=1e-14),
        "your tape gives what minigrad's gives, to the bit": (own_x1.grad, own_x2.grad) == (a.grad, b.grad),
        "the gradient of a name used twice is the sum over its uses": math.isclose(a.grad, 1 / x1 + x2),
        "an order gives the right gradients exactly if users come first": 0 < len(right) < len(orders)
        and right == allowed,
        "backward takes at most 3 times the operations of forward, whatever the number of inputs": max(ratios) <= 3,
        "with 512 inputs, nudging takes 100 times as much as that or more": 513 / (1 + ratios[-1]) >= 100,
    }
)
