# %% [markdown]
# # Lesson 1: the tape
#
# You will learn
# - how a computation, written down line by line, becomes a list from which its gradient can be read off;
# - why that list is read in reverse, and why the gradients of everything that is used twice are *added*;
# - what a gradient costs: about as much as the computation itself, whether it has 2 inputs or 2 million.
#
# The list is called a *tape*, or a Wengert list, after R. E. Wengert, *A simple automatic derivative evaluation
# program*, Communications of the ACM 7 (1964). Run this file as a script, or cell by cell.

# %%
from tutorials.lesson import BLACK, WITH, WITHOUT, check, parse, parser, save, table  # before NumPy

import itertools
import math
import time

import matplotlib.pyplot as plt
import numpy as np

from minigrad import Tensor, exp, log

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
# ## minigrad's tape
# A `Tensor` with `requires_grad=True` asks for its gradient, and from then on minigrad writes down every operation that
# it takes part in. The tape is the list that you have just written, with the rule of each line beside it.

# %%
a, b = Tensor(2.0, requires_grad=True, name="x1"), Tensor(1.0, requires_grad=True, name="x2")
u1, u2, u3 = log(a), a * b, exp(b)
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
# Try all the orders in which five entries can be read. `read` passes gradients on in whatever order you say.


# %%
def read(tape, order) -> dict[str, float]:
    """The gradients that reach each name if the entries are read in this order."""
    arrived = {tape.result.name: 1.0}
    for position in order:
        g = np.array(arrived.get(tape.results[position].name, 0.0))
        for x, d in tape[position].pull_back(g):
            arrived[x.name] = arrived.get(x.name, 0.0) + float(d)
    return arrived


def users_first(tape, order) -> bool:
    """Whether every entry is read after all the entries that used its result."""
    place = {position: i for i, position in enumerate(order)}
    uses = [(j, i) for i, r in enumerate(tape.results) for j, e in enumerate(tape) if any(x is r for x in e.inputs)]
    return all(place[user] < place[used] for user, used in uses)


orders = list(itertools.permutations(range(len(tape))))
right = [order for order in orders if np.allclose([read(tape, order)[x] for x in ("x1", "x2")], [d_x1, d_x2])]
allowed = [order for order in orders if users_first(tape, order)]
print(f"{len(right)} of {len(orders)} orders give the right gradients; in {len(allowed)} orders, users come first")
forwards = read(tape, range(len(tape)))
print(f"read forwards, the gradients of x1 and x2 are {forwards['x1']:.1f} and {forwards['x2']:.1f}")

# %% [markdown]
# Read forwards, nothing arrives: when the first entries are read, no gradient has reached them yet. Plain reverse is
# always among the right orders, and it needs no thinking.
#
# ## What a gradient costs
# You could also get the gradient by nudging each input a little and computing the function again: for $n$ inputs,
# $n + 1$ computations. How does the tape compare? Take a function with $n$ inputs and about $4 n$ operations,
#
# $$\sum_{i} \tanh(x_i \, x_{i+1})^2,$$
#
# written once with single numbers, so that the tape is long, and count. Forward, each entry is one operation. Backward,
# count one for each gradient that an entry sends, and one for each addition where gradients meet.


# %%
def with_numbers(xs):
    total = xs[0] * 0.0
    for left, right in itertools.pairwise(xs):
        h = (left * right).tanh()
        total = total + h * h
    return total


sizes = [2, 8, 32, 128, 512]
rng = np.random.default_rng(args.seed)
ratios = []
for n in sizes:
    long_tape = with_numbers([Tensor(value, requires_grad=True) for value in rng.normal(size=n)]).tape()
    sent, added, met = 0, 0, set()
    for step in long_tape.steps():
        for _, tensor, _, _ in step.sent:
            sent, added = sent + 1, added + (id(tensor) in met)
            met.add(id(tensor))
    ratios.append((sent + added) / len(long_tape))

# %% [markdown]
# And by the clock, with arrays, up to a quarter of a million inputs. Timings are your machine's, so the lesson shows
# them and claims nothing about them. Nudging every input is timed for one input and multiplied.


# %%
def with_arrays(x):
    h = (x[:-1] * x[1:]).tanh()
    return (h * h).sum()


def seconds(run) -> float:
    times = []
    for _ in range(7):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


lengths = [2**k for k in range(4, 19, 2)]
forward, both = [], []
for n in lengths:
    x = Tensor(rng.normal(size=n), requires_grad=True)
    forward.append(seconds(lambda x=x: with_arrays(x)))
    both.append(seconds(lambda x=x: with_arrays(x).backward()))
nudging = np.array(forward) * (np.array(lengths) + 1)

figure, ax = plt.subplots(figsize=(11, 6.5), layout="constrained")
ax.loglog(lengths, nudging, "s--", color=WITHOUT, lw=2, label="nudging every input, one after the other")
ax.loglog(lengths, both, "o-", color=WITH, lw=2, label="forward and backward: the whole gradient")
ax.loglog(lengths, forward, "^:", color=BLACK, lw=2, label="forward only: the value")
ax.set_title("A tape gives the whole gradient for the price of a few computations", fontsize=15)
ax.set_xlabel("number of inputs", fontsize=13)
ax.set_ylabel("seconds", fontsize=13)
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
    ["gradient of", "by hand", "minigrad", "calculus"],
    [
        ["x1", f"{d_x1:.6f}", f"{a.grad:.6f}", f"{1 / x1 + x2:.6f}"],
        ["x2", f"{d_x2:.6f}", f"{b.grad:.6f}", f"{x1 - math.exp(x2):.6f}"],
    ],
)

# %% [markdown]
# ## The claims
# The constant in the third claim depends on how one counts; W. Baur and V. Strassen, *The complexity of partial
# derivatives*, Theoretical Computer Science 22 (1983), prove such a bound for every function made of arithmetic.

# %%
check(
    {
        "the gradients by hand equal the tape's": math.isclose(a.grad, d_x1) and math.isclose(b.grad, d_x2),
        "the gradient of a name used twice is the sum over its uses": math.isclose(a.grad, 1 / x1 + x2),
        "an order gives the right gradients exactly if users come first": 0 < len(right) < len(orders)
        and right == allowed,
        "backward takes at most 3 times the operations of forward, whatever the number of inputs": max(ratios) <= 3,
        "with 512 inputs, nudging takes 100 times as much as that or more": 513 / (1 + ratios[-1]) >= 100,
    }
)
