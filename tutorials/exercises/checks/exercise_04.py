"""Exercise 4: walking a tape backwards.

In every case the gradient reaches the same names, x, y, u, v and loss, each of which earns its share of the points.
Rules return ``g`` itself or a new array, never one that they keep.
"""

from __future__ import annotations

import numpy as np

from . import models
from .framework import Exercise, Mistake, Task, variant
from .slips import edit


def same(g):
    """The rule of an addition."""
    return g


def by(factor):
    """The rule of an operation with this derivative."""
    return lambda g: g * factor


def fan_out(rng: np.random.Generator) -> tuple:
    """Single numbers, each used once or twice, and all on the way to the result."""
    x, y = rng.uniform(0.5, 1.5, 2)
    u, v = x * y, np.exp(x)
    return [
        ("u", ("x", "y"), [by(y), by(x)]),  #       u = x * y
        ("v", ("x",), [by(v)]),  #                  v = exp(x)
        ("loss", ("v", "u"), [by(u), by(v)]),  #    loss = v * u
    ], "loss"


def shared_array(rng: np.random.Generator) -> tuple:
    """Arrays. On the way back, one array is sent to u, x and y; then x gets its second gradient."""
    x, y = rng.uniform(0.5, 1.5, (2, 3))
    u, v = x + y, np.exp(x)
    return [
        ("v", ("x",), [by(v)]),  #                  v = exp(x)
        ("u", ("x", "y"), [same, same]),  #         u = x + y
        ("loss", ("u", "v"), [by(v), by(u)]),  #    loss = sum(u * v)
    ], "loss"


def dead_branches(rng: np.random.Generator) -> tuple:
    """Arrays; x is used twice in one entry, u in two; p and q don't lead to the result, and q comes after it."""
    x, y = rng.uniform(0.5, 1.5, (2, 2, 4))
    u, p = x * x, np.exp(y)
    v = u + y
    loss = np.sum(u * v)
    return [
        ("u", ("x", "x"), [by(x), by(x)]),  #                      u = x * x
        ("p", ("y",), [by(p)]),  #                                 p = exp(y)
        ("v", ("u", "y"), [same, same]),  #                        v = u + y
        ("loss", ("u", "v"), [by(v), by(u)]),  #                   loss = sum(u * v)
        ("q", ("p", "loss"), [by(loss), lambda g: np.sum(g * p)]),  # q = p * loss
    ], "loss"


def one_entry(rng: np.random.Generator) -> tuple:
    """loss = x * y + u * v, recorded as one operation."""
    x, y, u, v = rng.uniform(0.5, 1.5, 4)
    return [("loss", ("x", "y", "u", "v"), [by(y), by(x), by(v), by(u)])], "loss"


def doubled(rng: np.random.Generator) -> tuple:
    """Single numbers; an addition of x to itself, and a dead branch in the middle."""
    x, y = rng.uniform(0.5, 1.5, 2)
    v = x + x
    u = v + y
    return [
        ("v", ("x", "x"), [same, same]),  #         v = x + x
        ("p", ("v", "v"), [by(v), by(v)]),  #       p = v * v
        ("u", ("v", "y"), [same, same]),  #         u = v + y
        ("loss", ("u", "v"), [by(v), by(u)]),  #    loss = u * v
    ], "loss"


def cases(rng: np.random.Generator) -> list[tuple]:
    return [make(rng) for make in (fan_out, shared_array, one_entry, dead_branches, doubled)]


def backward(
    tape, result,
    start=1.0, at=None, order=-1, dead="skip", meet="add", per_entry=False, given="g", again=False,
):  # fmt: skip
    """The walk, with a setting for everything that can go wrong on the way."""
    gradients = {result if at is None else tape[at][0]: start}
    for output, inputs, rules in tape[::order]:
        if dead == "skip" and output not in gradients:
            continue
        g = gradients.get(output, 0.0) if dead == "zero" else gradients[output]
        uses = list(zip(inputs, rules, strict=True))
        for name, rule in dict(uses).items() if per_entry else uses:
            d = rule(g if given == "g" else 1.0)
            d = g * d if again else d
            if name not in gradients:
                gradients[name] = d
            elif meet == "in place":
                gradients[name] += d
            elif meet == "add":
                gradients[name] = gradients[name] + d
            elif meet == "average":
                gradients[name] = (gradients[name] + d) / 2
            elif meet == "overwrite":
                gradients[name] = d
    return gradients


def depth_first(tape, result):
    """Follows each gradient at once to the inputs, with all that has arrived on the way so far."""
    gradients = {}

    def send(name, d):
        gradients[name] = gradients.get(name, 0.0) + d
        for output, inputs, rules in tape:
            if output == name:
                for x, rule in zip(inputs, rules, strict=True):
                    send(x, rule(gradients[name]))

    send(result, 1.0)
    return gradients


def breadth_first(tape, result, once=False):
    """Reads the entries in the order in which gradients reach their outputs."""
    gradients, todo, done = {result: 1.0}, [result], set()
    while todo:
        name = todo.pop(0)
        if once and name in done:
            continue
        done.add(name)
        for output, inputs, rules in tape:
            if output == name:
                for x, rule in zip(inputs, rules, strict=True):
                    gradients[x] = gradients.get(x, 0.0) + rule(gradients[name])
                    todo.append(x)
    return gradients


def walk(says: str, hint: str, **settings) -> Mistake:
    return Mistake(says, hint, variant(backward, **settings))


USES = "a name that is used twice reaches the result on two ways: what becomes of the gradient of the other one?"
FORWARDS = "when you come to the first entry of the tape, has a gradient reached its output yet?"
COMPLETE = "which entries have to be read before an entry may be, and in which order does that come by itself?"

MISTAKES = [
    walk("a gradient that arrives replaces the one that was there", USES, meet="overwrite"),
    walk("only the first gradient that arrives at a name is kept", USES, meet="first"),
    walk(
        "gradients that meet at a name are averaged",
        "if a change of x reaches the result on two ways, does the result change by the mean of the two?",
        meet="average",
    ),
    walk(
        "an operand that is used twice in the same entry gets only one of its two gradients",
        "x * x has the inputs x and x, and two rules: are both called, and is there room for what both return?",
        per_entry=True,
    ),
    walk(
        "gradients are added in place (+=) to an array that other names have been given, too",
        "the rule of u = x + y sends its g to both operands: if you then change the array of x, what happens to y's?",
        meet="in place",
    ),
    walk("the tape is read forwards", FORWARDS, order=1, dead="fail"),
    walk(
        "only the entry of the result is read, as if the tape were read forwards or `return` stood inside the loop",
        "of which entries has a gradient reached the output when you come to them? And when does your function end?",
        order=1,
    ),
    walk("the tape is read forwards, and what no gradient has reached yet gets a 0", FORWARDS, order=1, dead="zero"),
    walk(
        "entries are read that the result doesn't depend on",
        "no gradient has reached their outputs, so what would you call their rules with?",
        dead="fail",
    ),
    walk(
        "entries that the result doesn't depend on are read with a gradient of 0",
        "the names that no gradient reaches should not be in the dict: which entries can you leave out?",
        dead="zero",
    ),
    walk(
        "the walk starts at the output of the last entry",
        "what comes last on the tape need not be the result: which argument says what is?",
        at=-1,
    ),
    walk(
        "all gradients are 0, as if the walk started with 0",
        "by how much does the result change if the result changes by 1?",
        start=0.0,
    ),
    walk(
        "every rule is called with 1 instead of the gradient of its entry's output",
        "a rule knows only its own entry: how does it learn what comes after it?",
        given="1",
    ),
    walk(
        "what a rule returns is multiplied by the gradient of the output once more",
        "a rule is a function of g: hasn't it multiplied by g already?",
        again=True,
    ),
    Mistake(
        "each gradient is followed to the inputs at once, and again, as a sum, when the next one has been added to it",
        COMPLETE,
        depth_first,
    ),
    Mistake(
        "an entry is read again for every gradient that reaches its output, with the sum of all of them",
        COMPLETE,
        breadth_first,
    ),
    Mistake(
        "entries are read in the order in which a gradient reaches them, before others that use their output",
        COMPLETE,
        variant(breadth_first, once=True),
    ),
    Mistake(
        "g itself is added, and the rules aren't called",
        "each entry has a rule for each input: what is it for?",
        edit(models.tape_backward, ("+ rule(g)", "+ g")),
    ),
    Mistake(
        "gradients that meet at a name are multiplied",
        "if a name is used twice, do the changes of the result add up or multiply?",
        edit(models.tape_backward, ("gradients.get(name, 0.0) + rule(g)", "gradients.get(name, 1.0) * rule(g)")),
    ),
    Mistake("a gradient that arrives is subtracted", USES, edit(models.tape_backward, ("0.0) + rule", "0.0) - rule"))),
    Mistake(
        "a name's first gradient is added to 1",
        "what has a name that no gradient has reached yet?",
        edit(models.tape_backward, ("name, 0.0", "name, 1.0")),
    ),
    Mistake(
        "the first gradient at a name is counted twice",
        USES,
        edit(models.tape_backward, ("gradients.get(name, 0.0) + rule(g)", "gradients.get(name, rule(g)) + rule(g)")),
    ),
    Mistake(
        "the `return` stands inside the inner loop, after the first input",
        "after which line should the function end?",
        edit(models.tape_backward, ("    return gradients", "            return gradients")),
    ),
    Mistake(
        "what a rule gives is added to g, the gradient of the output",
        "the gradient of which name grows here?",
        edit(models.tape_backward, ("gradients.get(name, 0.0) + rule(g)", "g + rule(g)")),
    ),
]

EXERCISE = Exercise(
    4,
    "04_walking_a_tape.py",
    "Walking a tape backwards",
    [Task("backward", cases, backward, MISTAKES, models=(models.tape_backward,))],
)
