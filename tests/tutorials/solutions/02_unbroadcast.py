"""Reference solution of exercise 2."""


def unbroadcast(d, shape):
    while d.ndim > len(shape):
        d = d.sum(axis=0)
    for axis, length in enumerate(shape):
        if length == 1:
            d = d.sum(axis=axis, keepdims=True)
    return d
