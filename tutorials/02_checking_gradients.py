# %% [markdown]
# # Lesson 2: is this gradient right?
#
# You will learn
# - how two function values make a derivative that knows nothing of the tape, and why a smaller step isn't a better one;
# - what `gradcheck` says about a derivative rule with a factor missing, and how to read its report;
# - what it can't see: kinks, tiny derivatives, and branches that your inputs never enter.
#
# A wrong gradient is a quiet mistake. Nothing crashes, the loss may even fall, only more slowly than it should. So you
# check each rule once, against something that can't share its mistake. Run this file as a script,
# `python tutorials/02_checking_gradients.py`, or cell by cell.

# %%
from tutorials.lesson import (  # before NumPy: see tutorials/__init__.py
    BLACK, ORANGE, WITH, WITHOUT, check, parse, parser, save, table,
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
# They need the function's values and nothing else: no rule, no tape. Watch how many digits of the tape's answer each
# of them gets right, for $f(x) = e^x$ at $x = 1$.


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
# ## Two errors that pull in opposite directions
# Both quotients leave out terms of the Taylor series: the forward difference is off by about
# $\frac{\varepsilon}{2} f''$, the central one, in which the even terms cancel, by $\frac{\varepsilon^2}{6} f'''$.
# That asks for a small $\varepsilon$.
#
# The computer, though, keeps only so many digits. Each function value is rounded by up to about $u |f|$, $u$ being the
# machine's epsilon ($2^{-52}$ in float64, $2^{-23}$ in float32), and the division by $\varepsilon$ magnifies that to
# $u |f| / \varepsilon$, which asks for a large one. The sum of the two is smallest near
#
# $$\varepsilon_{\text{forward}} \approx \sqrt{u} \, L, \qquad \varepsilon_{\text{central}} \approx \sqrt[3]{u} \, L,$$
#
# where $L$ says over what distance the function bends: $\sqrt{|f / f''|}$ and $\sqrt[3]{|f / f'''|}$. See W. Press and
# others, *Numerical Recipes* (3rd edition), section 5.7, or J. Nocedal and S. Wright, *Numerical Optimization*
# (2nd edition), section 8.1.
#
# We test that prediction on $e^{x/L}$, all of whose derivatives are easy, for $L = 1$ and $L = 100$. Each error is the
# mean over 300 points, relative to the derivative.

# %%
DIFFERENCES = {"forward": forward_difference, "central": central_difference}
POWER = {"forward": 1 / 2, "central": 1 / 3}  # of the machine's epsilon, in the prediction
points = rng.uniform(0.5, 1.5, 300)


def mean_error(difference, x: np.ndarray, bend: float, eps: float) -> float:
    """Mean relative error of a difference quotient of exp(x / bend), in x's precision."""
    quotient = difference(values_of(lambda t: mg.exp(t / bend)), x, x.dtype.type(eps))
    exact = np.exp(x.astype(np.float64) / bend) / bend
    return np.mean(np.abs(quotient - exact) / exact)


steps, errors, best, predicted = {}, {}, {}, {}
for dtype in (np.float64, np.float32):
    for bend in (1, 100):
        for name, difference in DIFFERENCES.items():
            key = (dtype.__name__, bend, name)
            steps[key] = bend * 10 ** np.arange(-17, 0.01, 0.125)
            errors[key] = np.array([mean_error(difference, points.astype(dtype), bend, eps) for eps in steps[key]])
            best[key] = steps[key][errors[key].argmin()]
            predicted[key] = np.finfo(dtype).eps ** POWER[name] * bend

table(
    ["dtype, L, difference", "best eps", "predicted", "error there"],
    [[f"{d}, {b}, {n}", f"{best[d, b, n]:.1e}", f"{predicted[d, b, n]:.1e}", f"{errors[d, b, n].min():.0e}"]
     for d, b, n in best],
)  # fmt: skip

# %% [markdown]
# The best central difference keeps two thirds of the digits (its error is near $u^{2/3}$), the best forward difference
# half of them. In float32 that is five digits and not quite four, and at the wrong $\varepsilon$ there are none: below
# $10^{-8}$, `x + eps == x` for every point, and the quotient is 0. So `gradcheck` takes central differences, with
# $\varepsilon = 10^{-6}$ as in PyTorch, and insists on float64. It tells you so:


# %%
def report(fn, *inputs: Tensor, **tolerances) -> str:
    """What gradcheck has to say."""
    try:
        gradcheck(fn, inputs, **tolerances)
        return "passes"
    except (GradcheckError, TypeError) as error:
        return str(error)


refusal = report(mg.exp, Tensor(points.astype(np.float32), requires_grad=True, name="x"))
print(refusal)
DEFAULT_EPS = 1e-6
error_at_default = {d: mean_error(central_difference, points.astype(d), 1, DEFAULT_EPS) for d in ("float64", "float32")}
print(", ".join(f"{dtype}: error {error:.0e} at eps = 1e-6" for dtype, error in error_at_default.items()))

# %% [markdown]
# A check by differences evaluates the function twice for *every* input value; the tape gets all derivatives of a loss
# from one walk back. That is why you train with the tape and only check with differences, on a small example.
#
# ## Kinks
# ReLU has no derivative at 0. The tape has to say something there, and says 0, as PyTorch does. The central difference
# reaches across the kink from $x - \varepsilon$ to $x + \varepsilon$ and gives the slope of that chord: one half at 0,
# and something between 0 and 1 wherever $|x| < \varepsilon$. Both are as they should be, and still they disagree.

# %%
print(report(mg.relu, Tensor([0.0], requires_grad=True, name="x")))

# %% [markdown]
# How often does that spoil a check? Draw 100,000 inputs from a standard normal distribution. Its density at 0 is
# $1/\sqrt{2\pi} \approx 0.4$, so a share of about $0.8 \, \varepsilon$ should fall within $\varepsilon$ of the kink. We
# count with $\varepsilon = 0.01$, to have something to count; with $10^{-6}$ it would be one input in a million, which
# is a second reason for a small $\varepsilon$.

# %%
KINK_EPS = 0.01
many = Tensor(rng.normal(size=100_000), requires_grad=True)
mg.relu(many).sum().backward()
differs = np.abs(central_difference(values_of(mg.relu), many.data, KINK_EPS) - many.grad) > 1e-6
farthest_kink = np.abs(many.data[differs]).max()
expected_share = 2 * KINK_EPS / np.sqrt(2 * np.pi)
print(f"differences and tape disagree at {differs.mean():.2%} of the inputs, expected {expected_share:.2%};")
print(f"the farthest of them is {farthest_kink:.4f} from the kink")

# %% [markdown]
# ## A rule with a factor missing
# Now an operation of your own. `record` puts it on the tape, as in lesson 1: with a vjp, the function from the gradient
# `g` of the result to the gradient of `x`; the same in words; and `saved`, the arrays that the vjp gets after `g`. The
# derivative of $x^3$ is $3x^2$, and somebody forgot the 3.


# %%
def cube(x: Tensor, factor: float = 1) -> Tensor:
    a = array_of(x)
    return record("cube", a**3, (x,), (lambda g, a: g * factor * a * a,), f"d_x = {factor} * g * x**2", saved=(a,))


inputs = rng.uniform(0.5, 1.5, (2, 3)) * [[1, -1, 1], [-1, 1, -1]]  # both signs, and nothing close to 0
x = Tensor(inputs, requires_grad=True, name="x")
dropped_factor = report(cube, x)
print(dropped_factor)

# %% [markdown]
# Read it from left to right: which input and output; how many of the 36 derivatives (6 outputs by 6 inputs) are off,
# here the 6 that aren't zero; where the worst is, with both values; and, since all are off by the same factor, that
# factor. A third: so you look for a forgotten 3.
#
# ## A rule with a term missing
# `swish`, $y = x \, s$ with $s = 1 / (1 + e^{-x})$, has by the product rule the derivative $s + x s (1 - s)$. Leave out
# the second term, and no single factor repairs it. The report still points to the worst place, and the picture (d,
# below) shows what is missing.


# %%
def swish(x: Tensor, whole_rule: bool = False) -> Tensor:
    a = array_of(x)
    s = 1 / (1 + np.exp(-a))
    d, rule = (s + a * s * (1 - s), "d_x = g * (s + x*s*(1-s))") if whole_rule else (s, "d_x = g * s")
    return record("swish", a * s, (x,), (lambda g, d: g * d,), rule, saved=(d,))


dropped_term, whole_rule = report(swish, x), report(lambda x: swish(x, whole_rule=True), x)
print("a term missing:", dropped_term)
print("the whole rule:", whole_rule)

# %% [markdown]
# ## What gradcheck doesn't see
# It accepts a derivative $d$ if $|d - n| \le \text{atol} + \text{rtol} \cdot |n|$, where $n$ is the central difference,
# $\text{atol} = 10^{-5}$ and $\text{rtol} = 10^{-3}$ unless you say otherwise. Three wrong rules get past that, and
# each teaches a habit:
#
# - A factor of 3.0003 for 3 is within the tolerance. *Tighten it*: you saw that float64 leaves room.
# - The cube without its 3, scaled by a millionth, as in a mean over a million values, has derivatives smaller than
#   atol. *Check at a scale where derivatives are about 1.*
# - `|x|` with the rule `d_x = g` is right for every positive x. *Choose inputs that enter every branch.*


# %%
def bad_abs(x: Tensor) -> Tensor:
    return record("abs", np.abs(array_of(x)), (x,), (lambda g: g,), "d_x = g", saved=())


positive = Tensor(np.abs(inputs), requires_grad=True, name="x")
misses = {
    "factor 3.0003 for 3": [report(lambda x: cube(x, 3.0003), x, rtol=rtol) for rtol in (1e-3, 1e-6)],
    "tiny derivatives": (report(lambda x: cube(x) * 1e-6, x), report(cube, x)),
    "branch not entered": (report(bad_abs, positive), report(bad_abs, x)),
}
verdict = {name: ["passes" if text == "passes" else "caught" for text in texts] for name, texts in misses.items()}
table(["wrong rule", "careless check", "better check"], [[name, *pair] for name, pair in verdict.items()])

# %% [markdown]
# ## Whole layers
# `gradcheck_module` checks a layer's or a model's inputs and all its parameters. Convert to float64 first.

# %%
model = Sequential(Linear(3, 5, rng=rng), ReLU(), Linear(5, 2, rng=rng)).astype(np.float64)
model_passes = gradcheck_module(model, rng.normal(size=(4, 3)))
print(model)
print("all gradients right:", model_passes)

# %% [markdown]
# ## The figure
# In a and b, go down each V from the right: the curve's bend is what hurts, and a step ten times smaller makes the
# forward difference ten times better, the central one a hundred times. At the bottom rounding takes over, and on the
# left side both get worse again, until `x + eps == x` and the error is 100 %.

# %%
STYLE = {"forward": (WITHOUT, "--"), "central": (WITH, "-")}


def draw_errors(ax, dtype: str, letter: str) -> None:
    for name, (colour, line) in STYLE.items():
        key = (dtype, 1, name)
        ax.loglog(steps[key], errors[key], line, color=colour, lw=2, label=f"{name} difference")
        ax.plot(best[key], errors[key].min(), "o", color=colour, ms=9)
        ax.plot(predicted[key], 3e-13, "^", color=colour, ms=11)
    ax.plot([], [], "o", color="0.5", ms=9, label="best step, measured")
    ax.plot([], [], "^", color="0.5", ms=11, label="best step, predicted")
    ax.axvline(DEFAULT_EPS, color=BLACK, lw=1, ls=":")
    ax.text(DEFAULT_EPS / 1.5, 3e1, "gradcheck's eps", ha="right", va="center")
    ax.set(xlabel="step eps", ylabel="mean relative error of exp's derivative", xlim=(1e-17, 2), ylim=(1e-13, 3e2))
    ax.set_title(f"{letter}  {dtype}: best errors {errors[dtype, 1, 'forward'].min():.0e} (forward) and "
                 f"{errors[dtype, 1, 'central'].min():.0e} (central)", loc="left")  # fmt: skip


def draw_kink(ax) -> None:
    x = Tensor(np.linspace(-3, 3, 601), requires_grad=True)  # in units of eps, so with a step of 1
    mg.relu(x).sum().backward()
    ax.plot(x.data, central_difference(values_of(mg.relu), x.data, 1), color=WITH, lw=3, label="central difference")
    ax.plot(x.data, x.grad, ":", color=BLACK, lw=3, label="the tape")
    ax.plot(0, 0, "o", color=BLACK, ms=9)
    ax.annotate("at 0 the tape says 0,\nthe central difference 1/2", (0.05, 0.02), xytext=(0.6, 0.3),
                arrowprops={"arrowstyle": "->"}, fontsize=12)  # fmt: skip
    ax.set(xlabel="x / eps", ylabel="derivative of relu", ylim=(-0.08, 1.12))
    ax.legend(frameon=False, loc="upper left")
    ax.set_title("c  Near a kink a difference measures a chord", loc="left")


def draw_swish(ax) -> None:
    x = np.linspace(-6, 6, 241)
    for whole_rule, colour, line, label in ((True, WITH, "-", "whole rule"), (False, ORANGE, "--", "a term missing")):
        t = Tensor(x, requires_grad=True)
        swish(t, whole_rule).sum().backward()
        ax.plot(x, t.grad, line, color=colour, lw=3, label=label)
    ax.plot(x[::10], central_difference(values_of(swish), x[::10], DEFAULT_EPS), "o", color=BLACK, ms=6,
            label="central differences")  # fmt: skip
    ax.set(xlabel="x", ylabel="derivative of x · sigmoid(x)")
    ax.legend(frameon=False, loc="upper left")
    ax.set_title("d  Differences side with the whole rule", loc="left")


plt.rcParams.update({"font.size": 12})
figure, axes = plt.subplots(2, 2, figsize=(14, 10), layout="constrained")
figure.suptitle("Checking gradients with finite differences", fontsize=18)
draw_errors(axes[0, 0], "float64", "a")
draw_errors(axes[0, 1], "float32", "b")
axes[0, 0].legend(frameon=False, loc="lower left")
axes[0, 0].text(2e-11, 2e-4, "rounding:\nlike 1 / eps")
axes[0, 0].text(2e-6, 2e-3, "bend:\nlike eps")
axes[0, 0].text(1e-3, 1e-11, "bend:\nlike eps²")
axes[0, 1].text(1e-12, 2e-2, "x + eps == x", ha="center")
draw_kink(axes[1, 0])
draw_swish(axes[1, 1])
path = save(figure, args, "02_checking_gradients")


# %% [markdown]
# ## What was measured
# The slopes are those of the V's right arm in a, from a step of 0.001 to one of 0.01.

# %%
ratio = max(max(best[key] / predicted[key], predicted[key] / best[key]) for key in best)
slope = {
    name: np.log10(mean_error(difference, points, 1, 1e-2) / mean_error(difference, points, 1, 1e-3))
    for name, difference in DIFFERENCES.items()
}
gain = errors["float64", 1, "forward"].min() / errors["float64", 1, "central"].min()
share = differs.mean() / expected_share
rows = [["best eps and prediction, largest ratio of the 8", f"{ratio:.2f}"]]
rows += [[f"slope of the {name} error's right arm", f"{value:.3f}"] for name, value in slope.items()]
rows += [["best forward error / best central error", f"{gain:.0f}"]]
rows += [[f"error at eps = 1e-6 in {dtype}", f"{error:.1e}"] for dtype, error in error_at_default.items()]
rows += [["disagreements at the kink, counted / expected", f"{share:.3f}"]]
table(["", "value"], rows)
print(f"\nThe figure: {path}")

# %% [markdown]
# ## The claims

# %%
near_one, near_two = abs(slope["forward"] - 1) < 0.1, abs(slope["central"] - 2) < 0.1
fine, coarse = error_at_default["float64"], error_at_default["float32"]
check(
    {
        "the best eps is within a decade of the prediction, in all 8 cases": ratio < 10,
        "the forward error falls like eps, the central error like eps squared": near_one and near_two,
        "in float64 the best central difference is over 100 times as good as the best forward one": gain > 100,
        "at eps = 1e-6 the relative error is below 1e-8 in float64, above 1e-2 in float32": fine < 1e-8 < 1e-2 < coarse,
        "gradcheck refuses float32": "use float64" in refusal,
        "relu's differences and tape disagree only within eps of the kink": farthest_kink < KINK_EPS,
        "they disagree as often as predicted, within 20 %": abs(share - 1) < 0.2,
        "the forgotten 3 is caught, and the report says that all are a third": "all are 0.3333" in dropped_factor,
        "the forgotten term is caught, and the whole rule passes": "are off" in dropped_term and whole_rule == "passes",
        "three wrong rules pass a careless check, and a better one catches them": set(map(tuple, verdict.values()))
        == {("passes", "caught")},
        "a whole model passes": model_passes,
    }
)
