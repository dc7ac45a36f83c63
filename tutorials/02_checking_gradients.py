# %% [markdown]
# # Lesson 2: is this gradient right?
#
# You will learn
# - how two function values make a derivative that knows nothing of the tape, and why a smaller step isn't a better one;
# - what `gradcheck` says about a derivative rule with a factor missing, and how to read its report;
# - what it can't see: kinks, tiny derivatives, and branches that your inputs never enter.
#
# A wrong gradient is a quiet mistake: nothing crashes, and the loss may even fall (lesson 6 trains with six wrong
# ones). So you check each rule once, against something that can't share its mistake.

# %%
from tutorials.lesson import (  # before NumPy: see tutorials/__init__.py
    BLACK, WITH, WITHOUT, check, parse, parser, predict, save, table,
)  # fmt: skip

import matplotlib.pyplot as plt
import numpy as np

import minigrad as mg
from layers import Linear, ReLU, Sequential
from minigrad import GradcheckError, Tensor, array_of, gradcheck, gradcheck_module, record

args = parse(parser("Finite differences, and what gradcheck makes of right and wrong rules."), "02_checking_gradients")
rng = np.random.default_rng(args.seed)

# %% [markdown]
# ## A derivative from two function values
# The derivative is the limit of a quotient of differences. Stop short of the limit, at a step $\varepsilon$, and you
# have the *forward difference*; take the step to both sides, and you have the *central difference*:
#
# $$\frac{f(x + \varepsilon) - f(x)}{\varepsilon} \qquad\qquad
# \frac{f(x + \varepsilon) - f(x - \varepsilon)}{2 \varepsilon}$$
#
# They need the function's values and nothing else: no rule, no tape. Here they are for $f(x) = e^x$ at $x = 1$.


# %%
def forward_difference(f, x, eps):
    return (f(x + eps) - f(x)) / eps


def central_difference(f, x, eps):
    return (f(x + eps) - f(x - eps)) / (2 * eps)


def values_of(function):
    """The same function from array to array, without a tape."""
    return lambda x: function(Tensor(x)).data


x = Tensor([1.0], requires_grad=True)
mg.exp(x).backward([1.0])
print("forward difference", forward_difference(values_of(mg.exp), x.data, 1e-6)[0])
print("central difference", central_difference(values_of(mg.exp), x.data, 1e-6)[0])
print("by the tape       ", x.grad[0])

# %% [markdown]
# ## A rule with a factor missing
# An operation of your own: `record` puts it on the tape, as in lesson 1, with a vjp, the function from the gradient
# `g` of the result to the gradient of `x`; the same in words; and `saved`, the arrays that the vjp gets after `g`. The
# derivative of $x^3$ is $3x^2$, and somebody forgot the 3. `gradcheck` compares all derivatives with central
# differences.


# %%
def cube(x: Tensor, factor: float = 1) -> Tensor:
    a = array_of(x)
    return record("cube", a**3, (x,), (lambda g, a: g * factor * a * a,), f"d_x = {factor} * g * x**2", saved=(a,))


def report(fn, *inputs: Tensor, **tolerances) -> str:
    """What gradcheck has to say."""
    try:
        gradcheck(fn, inputs, **tolerances)
        return "passes"
    except (GradcheckError, TypeError) as error:
        return str(error)


inputs = rng.uniform(0.5, 1.5, (2, 3)) * [[1, -1, 1], [-1, 1, -1]]  # both signs, and nothing close to 0
x = Tensor(inputs, requires_grad=True, name="x")

# %%
off = predict(
    "x has 6 values and cube(x) 6, so there are 36 derivatives. In how many of them are rule and differences apart?",
    ["1, where it starts", "6", "all 36"], right=1,
    because="Each output depends on its own input only: the other 30 derivatives are 0, with and without the factor.",
)  # fmt: skip

# %%
dropped_factor = report(cube, x)
print(dropped_factor)
off.confirm([f"{n} of 36 derivatives are off" in dropped_factor for n in (1, 6, 36)])

# %% [markdown]
# Read it from left to right: which input and output; how many derivatives are off; where the worst is, with both
# values; and, since all are off by the same factor, that factor. A third: so you look for a forgotten 3.
#
# ## How small a step?
# Both quotients leave out terms of the Taylor series: the forward difference is off by about
# $\frac{\varepsilon}{2} f''$, the central one, in which the even terms cancel, by $\frac{\varepsilon^2}{6} f'''$.
# That asks for a small $\varepsilon$. The computer, though, rounds each function value by up to about $u |f|$, $u$
# being the machine's epsilon ($2^{-52}$ in float64, $2^{-23}$ in float32), and the division magnifies that to
# $u |f| / \varepsilon$, which asks for a large one.

# %%
best_step = predict(
    "In float64, which step makes the central difference of exp best?",
    ["1e-16, the smallest that rounding allows", "about 1e-12", "about 1e-5", "about 1e-1"], right=2,
    because="The sum eps**2 + u / eps is smallest where eps is about the cube root of u = 2e-16, which is 6e-6.",
)  # fmt: skip
single = predict(
    "gradcheck takes eps = 1e-6. How large would its relative error be in float32?",
    ["about 1e-10", "about 1e-7", "about 1e-5", "over 1 %"], right=3,
    because="Rounding gives u / eps = 1e-7 / 1e-6 = 0.1, up to a factor: the step is far too small for float32.",
)  # fmt: skip

# %% [markdown]
# We measure the mean relative error over 300 points between 0.5 and 1.5. The sum of both errors is smallest near
# $\varepsilon = \sqrt{u}$ (forward) and $\varepsilon = \sqrt[3]{u}$ (central), for a function such as $e^x$ whose
# derivatives are as large as itself. See W. Press and others, *Numerical Recipes* (3rd edition), section 5.7, or
# J. Nocedal and S. Wright, *Numerical Optimization* (2nd edition), section 8.1.

# %%
DIFFERENCES = {"forward": (forward_difference, 1 / 2), "central": (central_difference, 1 / 3)}  # and the power of u
DEFAULT_EPS = 1e-6
points, steps = rng.uniform(0.5, 1.5, 300), 10 ** np.arange(-17, 0.01, 0.125)


def mean_error(name: str, dtype: type, eps: float) -> float:
    """Mean relative error of a difference quotient of exp."""
    x = points.astype(dtype)
    quotient, exact = DIFFERENCES[name][0](values_of(mg.exp), x, dtype(eps)), np.exp(x.astype(np.float64))
    return np.mean(np.abs(quotient - exact) / exact)


cases = [(name, dtype) for dtype in (np.float64, np.float32) for name in DIFFERENCES]
errors = {case: np.array([mean_error(*case, eps) for eps in steps]) for case in cases}
best = {case: steps[errors[case].argmin()] for case in cases}
predicted = {(name, dtype): np.finfo(dtype).eps ** DIFFERENCES[name][1] for name, dtype in cases}
fine, coarse = (mean_error("central", dtype, DEFAULT_EPS) for dtype in (np.float64, np.float32))
step = best["central", np.float64]
best_step.confirm([step < 1e-14, 1e-14 <= step < 1e-8, 1e-8 <= step < 1e-3, step >= 1e-3])
single.confirm([coarse < 1e-8, 1e-8 <= coarse < 1e-6, 1e-6 <= coarse < 1e-2, coarse >= 1e-2])
table(
    ["difference, dtype", "best eps", "predicted", "error there"],
    [[f"{c[0]}, {c[1].__name__}", f"{best[c]:.1e}", f"{predicted[c]:.1e}", f"{errors[c].min():.0e}"] for c in cases],
)
refusal = report(mg.exp, Tensor(points.astype(np.float32), requires_grad=True, name="x"))
print(f"error of the central difference at eps = 1e-6: float64 {fine:.0e}, float32 {coarse:.0e}. So gradcheck says:")
print(refusal)

# %% [markdown]
# The best central difference keeps two thirds of the digits (its error is near $u^{2/3}$), the best forward difference
# half of them; at the wrong $\varepsilon$ there are none. A check by differences evaluates the function twice for
# *every* input value, where the tape needs one walk: you train with the tape, and check with differences, on a small
# example.
#
# ## Kinks
# ReLU has no derivative at 0. The tape has to say something there, and says 0, as PyTorch does. The central difference
# reaches across the kink from $x - \varepsilon$ to $x + \varepsilon$ and gives the slope of that chord. The two
# disagree wherever $|x| < \varepsilon$, and neither is wrong.

# %%
chord = predict(
    "At x = 0, what does the central difference say of relu, whatever eps is?", right=0.5, within=0.01,
    because="The chord rises from 0 to eps over a distance of 2 eps.",
)  # fmt: skip
share = predict(
    "Of 100,000 inputs from a standard normal distribution, at what share (in %) do the two disagree for eps = 0.01? "
    "(The density at 0 is 0.4.)", right=0.8, within=0.15,
    because="A strip of width 2 eps = 0.02 times the density 0.4. With eps = 1e-6 it is one input in a million.",
)  # fmt: skip

# %%
print(report(mg.relu, Tensor([0.0], requires_grad=True, name="x")))
many = Tensor(rng.normal(size=100_000), requires_grad=True)
mg.relu(many).sum().backward()
differs = np.abs(central_difference(values_of(mg.relu), many.data, 0.01) - many.grad) > 1e-6
chord.confirm(central_difference(values_of(mg.relu), np.zeros(1), 0.01)[0])
share.confirm(100 * differs.mean())
farthest_kink = np.abs(many.data[differs]).max()
print(f"they disagree at {differs.mean():.2%} of the inputs, the farthest {farthest_kink:.4f} from the kink")

# %% [markdown]
# ## What gradcheck doesn't see
# It accepts a derivative $d$ if $|d - n| \le \text{atol} + \text{rtol} \cdot |n|$, where $n$ is the central difference,
# $\text{atol} = 10^{-5}$ and $\text{rtol} = 10^{-3}$ unless you say otherwise. Here are four wrong rules, with all six
# inputs between 0.5 and 1.5 in absolute value:
#
# - the cube with a factor of 2.9;
# - the cube with a factor of 3.0003;
# - the cube without its 3, scaled by a millionth, as in a mean over a million values;
# - `|x|` with the rule `d_x = g`, checked at positive inputs.

# %%
caught = predict(
    "Which of the four is caught?",
    ["the factor 2.9", "the factor 3.0003", "the cube scaled by a millionth", "|x|"], right=0,
    because="3.0003 is within rtol, derivatives of a millionth are below atol, and |x| is right where it was checked.",
)  # fmt: skip


# %%
def bad_abs(x: Tensor) -> Tensor:
    return record("abs", np.abs(array_of(x)), (x,), (lambda g: g,), "d_x = g", saved=())


positive = Tensor(np.abs(inputs), requires_grad=True, name="x")
checks = {  # a careless check, and a better one
    "factor 2.9 for 3": (report(lambda x: cube(x, 2.9), x), report(lambda x: cube(x, 2.9), x, rtol=1e-6)),
    "factor 3.0003 for 3": (report(lambda x: cube(x, 3.0003), x), report(lambda x: cube(x, 3.0003), x, rtol=1e-6)),
    "tiny derivatives": (report(lambda x: cube(x) * 1e-6, x), report(cube, x)),
    "branch not entered": (report(bad_abs, positive), report(bad_abs, x)),
}
passes = {name: [text == "passes" for text in texts] for name, texts in checks.items()}
caught.confirm([not careless for careless, _ in passes.values()])
table(
    ["wrong rule", "careless check", "better check"],
    [[name, *("passes" if p else "caught" for p in pair)] for name, pair in passes.items()],
)

# %% [markdown]
# Each of them teaches a habit. *Tighten the tolerance*: you saw that float64 leaves room. *Check at a scale where
# derivatives are about 1.* *Choose inputs that enter every branch.*
#
# ## Whole layers
# `gradcheck_module` checks a layer's or a model's inputs and all its parameters. Convert to float64 first.

# %%
model = Sequential(Linear(3, 5, rng=rng), ReLU(), Linear(5, 2, rng=rng)).astype(np.float64)
model_passes = gradcheck_module(model, rng.normal(size=(4, 3)))
print(model)
print("all gradients right:", model_passes)

# %% [markdown]
# ## The figure
# In a and b, go down each V from the right: there the terms that were left out decide, and a step ten times smaller
# makes the forward difference ten times better, the central one a hundred times. At the bottom rounding takes over, and
# on the left side both get worse again, until `x + eps == x` and the error is 100 %.


# %%
def draw_errors(ax, dtype: type, letter: str) -> None:
    for name, colour, line in (("forward", WITHOUT, "--"), ("central", WITH, "-")):
        ax.loglog(steps, errors[name, dtype], line, color=colour, lw=2, label=f"{name} difference")
        ax.plot(best[name, dtype], errors[name, dtype].min(), "o", color=colour, ms=9)
        ax.plot(predicted[name, dtype], 3e-13, "^", color=colour, ms=11)
    ax.plot([], [], "o", color="0.5", ms=9, label="best step, measured")
    ax.plot([], [], "^", color="0.5", ms=11, label="best step, predicted")
    ax.axvline(DEFAULT_EPS, color=BLACK, lw=1, ls=":")
    ax.text(DEFAULT_EPS / 1.5, 3e1, "gradcheck's eps", ha="right", va="center")
    ax.set(xlabel="step eps", ylabel="mean relative error", xlim=(1e-17, 2), ylim=(1e-13, 3e2))
    ax.set_title(f"{letter}  The derivative of exp in {dtype.__name__}", loc="left")


def draw_kink(ax) -> None:
    x = Tensor(np.linspace(-3, 3, 601), requires_grad=True)  # in units of eps, so with a step of 1
    mg.relu(x).sum().backward()
    ax.plot(x.data, central_difference(values_of(mg.relu), x.data, 1), color=WITH, lw=3, label="central difference")
    ax.plot(x.data, x.grad, ":", color=BLACK, lw=3, label="the tape")
    ax.plot(0, 0, "o", color=BLACK, ms=9)
    ax.set(xlabel="x / eps", ylabel="derivative of relu", ylim=(-0.08, 1.12))
    ax.legend(frameon=False, loc="upper left")
    ax.set_title("c  Near a kink a difference measures a chord", loc="left")


plt.rcParams.update({"font.size": 13})
figure, axes = plt.subplots(1, 3, figsize=(18, 6.5), layout="constrained")
figure.suptitle("Checking gradients with finite differences", fontsize=18)
draw_errors(axes[0], np.float64, "a")
draw_errors(axes[1], np.float32, "b")
axes[0].legend(frameon=False, loc="lower left")
axes[0].text(2e-11, 2e-4, "rounding:\nlike 1 / eps")
axes[0].text(2e-6, 2e-3, "left out:\nlike eps")
axes[0].text(1e-3, 1e-11, "left out:\nlike eps²")
axes[1].text(1e-12, 2e-2, "x + eps == x", ha="center")
draw_kink(axes[2])
print(f"The figure: {save(figure, args, '02_checking_gradients')}")

# %% [markdown]
# ## The claims
# The slopes are those of the V's right arm in a, from a step of 0.001 to one of 0.01.

# %%
slopes = [np.log10(mean_error(n, np.float64, 1e-2) / mean_error(n, np.float64, 1e-3)) for n in DIFFERENCES]
ratio = max(max(best[case] / predicted[case], predicted[case] / best[case]) for case in cases)
gain = errors["forward", np.float64].min() / errors["central", np.float64].min()
print(f"slopes {slopes[0]:.3f}, {slopes[1]:.3f}; best eps within a factor of {ratio:.2f}; best errors {gain:.0f} to 1")
check(
    {
        "the best eps is within a factor of 3 of the prediction, in all 4 cases": ratio < 3,
        "the forward error falls like eps, the central error like eps squared": np.allclose(slopes, [1, 2], atol=0.1),
        "in float64 the best central difference is over 100 times as good as the best forward one": gain > 100,
        "at eps = 1e-6 the relative error is below 1e-8 in float64, above 1e-2 in float32": fine < 1e-8 < 1e-2 < coarse,
        "gradcheck refuses float32": "use float64" in refusal,
        "relu's differences and tape disagree only within eps of the kink": farthest_kink < 0.01,
        "the forgotten 3 is caught, and the report says that all are a third": "all are 0.3333" in dropped_factor,
        "better checks catch all four wrong rules": not any(better for _, better in passes.values()),
        "a whole model passes": model_passes,
    }
)
