"""Reference solution of exercise 7."""

import numpy as np


def cross_entropy(logits, targets):
    centered = logits - logits.max(axis=1, keepdims=True)
    log_softmax = centered - np.log(np.exp(centered).sum(axis=1, keepdims=True))
    loss = -log_softmax[np.arange(len(logits)), targets].mean()
    return {"softmax": np.exp(log_softmax), "log_softmax": log_softmax, "loss": loss}


def cross_entropy_backward(logits, targets):
    d_logits = cross_entropy(logits, targets)["softmax"]
    d_logits[np.arange(len(logits)), targets] -= 1
    return d_logits / len(logits)
