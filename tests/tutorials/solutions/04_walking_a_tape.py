"""Reference solution of exercise 4."""


def backward(tape, result):
    gradients = {result: 1.0}
    for output, inputs, rules in reversed(tape):
        if output not in gradients:
            continue  # the result doesn't depend on it
        g = gradients[output]
        for name, rule in zip(inputs, rules, strict=True):
            gradients[name] = gradients.get(name, 0.0) + rule(g)  # not +=, which would change a shared array
    return gradients
