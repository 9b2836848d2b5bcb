#!/usr/bin/env python3
"""Scores the predicted drawdown of a pumping test.

  parameter_files/horkheimer_insel/score.py horkheimer-insel-output/observations.csv measured.csv

measured.csv has the columns test, well, t_s, drawdown_m; the pumped well (of the same name as the test) is left out. Predictions are linear
between their times in log t. Errors of measurement, max(0.02 m, 10 %), come to the spread of the prediction. Only Python's standard library is
needed.
"""
import argparse
import csv
import math
import sys

Z90 = 1.6448536269514722


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def interpolate(curve, time):
    """Mean and standard deviation at a time, or None outside of the predictions."""
    for (t0, *a), (t1, *b) in zip(curve, curve[1:]):
        if t0 <= time <= t1:
            w = (math.log(time) - math.log(t0)) / (math.log(t1) - math.log(t0))
            return [(1 - w) * x + w * y for x, y in zip(a, b)]
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("predicted")
    parser.add_argument("measured")
    arguments = parser.parse_args()
    curves = {}
    for r in rows(arguments.predicted):
        curves.setdefault((r["experiment"], r["well"]), []).append(
            (float(r["time"]), float(r["predicted_mean"]), float(r["predicted_std"])))
    for curve in curves.values():
        curve.sort()
    measured = {}
    for r in rows(arguments.measured):
        if r["well"] != r["test"]:
            measured.setdefault((r["test"], r["well"]), []).append((float(r["t_s"]), float(r["drawdown_m"])))
    residuals, inside, late = [], [], []
    for key, points in sorted(measured.items()):
        if key not in curves:
            continue
        compared = [(t, s, interpolate(curves[key], t)) for t, s in sorted(points)]
        compared = [(t, s, *p) for t, s, p in compared if p]
        for t, s, mean, spread in compared:
            z = (s - mean) / math.hypot(spread, max(0.02, 0.1 * s))
            residuals.append(z)
            inside.append(abs(z) <= Z90)
        logs = [math.log10(s / mean) for t, s, mean, _ in compared[-10:] if s > 0 and mean > 0]
        late.extend(logs)
        if logs:
            print(f"test {key[0]}, well {key[1]}: {len(compared)} values, log10 of measured over predicted in the last ten "
                  f"{math.sqrt(sum(x * x for x in logs) / len(logs)):.3f}")
    if not residuals:
        print("No measured value belongs to a predicted curve.", file=sys.stderr)
        return 2
    print(f"values                               {len(residuals)}")
    print(f"normalised residual (rms)            {math.sqrt(sum(z * z for z in residuals) / len(residuals)):.3f}")
    print(f"in the 90 % intervals                {sum(inside) / len(inside):.3f}")
    print(f"log10 error of the last ten (rms)    {math.sqrt(sum(x * x for x in late) / len(late)):.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
