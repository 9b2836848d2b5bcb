#!/usr/bin/env python3
"""Compares a posterior of the Wood River Valley with the published calibration: Spearman's rank correlation of log T with the
logarithm of the published hydraulic conductivity at its pilot points, with a 95 % interval by the bootstrap over the points.

usage: compare.py <folder of results>
"""
import csv
import pathlib
import random
import sys


def ranks(values):
    order = sorted(range(len(values)), key=values.__getitem__)
    result = [0.0] * len(values)
    first = 0
    while first < len(order):
        last = first
        while last + 1 < len(order) and values[order[last + 1]] == values[order[first]]:
            last += 1
        for i in order[first:last + 1]:
            result[i] = (first + last) / 2
        first = last + 1
    return result


def spearman(x, y):
    """Correlation of the ranks, ties with their mean rank (C. Spearman, American Journal of Psychology 15 (1904) 72)."""
    a, b = ranks(x), ranks(y)
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    covariance = sum((p - mean_a) * (q - mean_b) for p, q in zip(a, b))
    return covariance / (sum((p - mean_a)**2 for p in a) * sum((q - mean_b)**2 for q in b))**0.5


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(pathlib.Path(sys.argv[1]) / "observations.csv", newline="") as opened:
        rows = [row for row in csv.DictReader(opened) if row["set"] == "pilot points"]
    found = [float(row["predicted_mean"]) for row in rows]
    published = [float(row["published_K"]) for row in rows]
    lots = random.Random(1)
    draws = []
    while len(draws) < 4000:
        chosen = [lots.randrange(len(rows)) for _ in rows]
        if len(set(chosen)) > 2:
            draws.append(spearman([found[i] for i in chosen], [published[i] for i in chosen]))
    draws.sort()
    print(f"rank correlation of log T with the published log K at {len(rows)} points: {spearman(found, published):.2f}, "
          f"95 % interval {draws[100]:.2f} to {draws[3899]:.2f}")


if __name__ == "__main__":
    main()
