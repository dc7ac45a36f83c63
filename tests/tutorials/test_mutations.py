"""Random changes to the reference solutions: none passes as right unless it is.

python tests/tutorials/test_mutations.py        counts how many get a diagnosis by name
"""

import ast
import copy
import random
from pathlib import Path

import numpy as np
import pytest

from tutorials.exercises.checks.framework import check, close, named
from tutorials.exercises.checks.run import exercises

pytestmark = pytest.mark.slow
EXERCISES = {exercise.number: exercise for exercise in exercises()}
WITH_LOOPS = (1, 2, 4, 15, 17)  # which a change may make endless
COUNTS = {number: 200 if number == 10 else 25 for number in EXERCISES if number not in WITH_LOOPS}
SOURCES = {
    number: (Path(__file__).parent / "solutions" / EXERCISES[number].file).read_text(encoding="utf-8")
    for number in COUNTS
}
OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div)


class Mutate(ast.NodeTransformer):
    """Change one place: the ``target``-th that can be changed, in a way that ``rng`` chooses."""

    def __init__(self, rng: random.Random, target: int) -> None:
        self.rng, self.target, self.seen = rng, target, 0

    def mine(self) -> bool:
        self.seen += 1
        return self.seen - 1 == self.target

    def visit_BinOp(self, node):
        if not self.mine():
            return self.generic_visit(node)
        if self.rng.random() < 0.5:  # drop a term or a factor
            return self.rng.choice([node.left, node.right])
        return ast.BinOp(node.left, self.rng.choice([o for o in OPERATORS if not isinstance(node.op, o)])(), node.right)

    def visit_UnaryOp(self, node):
        return node.operand if self.mine() else self.generic_visit(node)

    def visit_Constant(self, node):
        if not isinstance(node.value, int) or not self.mine():
            return node
        return ast.Constant(self.rng.choice([v for v in (0, 1, 2, 3) if v != node.value]))

    def visit_keyword(self, node):
        if node.arg != "axis" or not self.mine():
            return self.generic_visit(node)
        return ast.keyword("axis", ast.Constant(self.rng.choice([None, 1])))

    def visit_Attribute(self, node):
        if node.attr != "sum" or not self.mine():
            return self.generic_visit(node)
        return ast.Attribute(node.value, "mean", node.ctx)


def mutants(number: int):
    """Distinct sources of an exercise's solution, each with one change; fewer if there aren't so many."""
    solution = SOURCES[number]
    counter = Mutate(random.Random(0), -1)
    counter.visit(ast.parse(solution))
    rng, seen = random.Random(1), {ast.unparse(ast.parse(solution))}
    for _ in range(20 * COUNTS[number]):
        if len(seen) > COUNTS[number]:
            return
        tree = Mutate(rng, rng.randrange(counter.seen)).visit(ast.parse(solution))
        source = ast.unparse(ast.fix_missing_locations(tree))
        if source not in seen:
            seen.add(source)
            yield source


def functions_of(source: str) -> dict:
    space = {}
    exec(compile(source, "mutant", "exec"), space)
    return space


def is_equal(task, function) -> bool:
    """Whether a function is the reference on inputs that the checker doesn't use."""
    for case in task.cases(np.random.default_rng(12345)):
        try:
            with np.errstate(all="ignore"):
                got, right = named(function(*copy.deepcopy(case))), named(task.right(*copy.deepcopy(case)))
        except (ValueError, IndexError, ArithmeticError):
            return False
        if any(not close(got[name], right[name]) for name in right):
            return False
    return True


MUTANTS = [
    pytest.param(number, source, id=f"{number}-{i}") for number in COUNTS for i, source in enumerate(mutants(number))
]


@pytest.mark.parametrize(("number", "source"), MUTANTS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_changed_solution_is_right_only_where_it_is(number, source):
    functions = functions_of(source)
    for task in changed_tasks(number, functions):
        verdict = check(task, functions[task.function], seed=0)
        assert (verdict.status == "right") == is_equal(task, functions[task.function]), verdict
        if verdict.status == "wrong":
            assert verdict.text


def changed_tasks(number: int, functions: dict) -> list:
    before = functions_of(SOURCES[number])
    return [task for task in EXERCISES[number].tasks if not same_code(functions[task.function], before[task.function])]


def main() -> None:
    np.seterr(all="ignore")
    counts = {"named": 0, "told by a relation or a term": 0, "an error at its line": 0, "unnamed": 0}
    for number in COUNTS:
        for source in mutants(number):
            functions = functions_of(source)
            for task in changed_tasks(number, functions):
                verdict = check(task, functions[task.function], seed=0)
                if verdict.status == "wrong":
                    counts[kind(verdict)] += 1
    total = sum(counts.values())
    print(
        f"{total} changed functions are wrong:",
        ", ".join(f"{n} ({n / total:.0%}) {what}" for what, n in counts.items()),
    )


def same_code(f, g) -> bool:
    return all(getattr(f.__code__, name) == getattr(g.__code__, name) for name in ("co_code", "co_consts", "co_names"))


def kind(verdict) -> str:
    if verdict.mistake:
        return "named" if "what you get when" in verdict.text else "told by a relation or a term"
    return "an error at its line" if "Error" in verdict.text else "unnamed"


if __name__ == "__main__":
    main()
