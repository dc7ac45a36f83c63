"""A few hundred random expression graphs, each gradient-checked. (random_programs.py compares 10,000 with PyTorch.)"""

from collections import Counter

import pytest
import random_programs

from minigrad import Tensor, gradcheck


@pytest.mark.parametrize("seed", range(300))
def test_the_gradients_of_a_random_program_match_finite_differences(seed):
    program = random_programs.make(seed)
    leaves = [Tensor(a.copy(), requires_grad=True) for a in program.leaves]
    assert gradcheck(lambda *leaves: random_programs.run(program, random_programs.MINIGRAD, leaves), leaves)


def test_the_random_programs_use_every_operation():
    counts = Counter(step.operation for seed in range(300) for step in random_programs.make(seed).steps)
    assert set(counts) == set(random_programs.OPERATIONS)
    assert min(counts.values()) > 10
