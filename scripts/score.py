#!/usr/bin/env python3
"""Scores of predictions in a CSV file, and how they compare with those of a baseline.

  mpirun -np 2 build/release/varfield cross-validate case.prm        # writes cross_validation.csv
  scripts/score.py case-output/cross_validation.csv --exclude well=49 \\
      --baseline parameter_files/wolfcamp/kriging_baseline_cv.csv --baseline-columns uk_pred_m,uk_sd_m --key well

prints root mean squared and mean absolute error, coverage of the central 50 % and 95 % intervals, and the mean of two proper
scores, the negative log predictive density (NLPD) and the continuous ranked probability score (CRPS). A predictive
distribution is Gaussian. With a baseline, the differences of the scores come with the standard error of paired differences.
Only Python's standard library is needed.
"""
import argparse
import csv
import math
import sys

Z50, Z95 = 0.6744897501960817, 1.959963984540054


class UserError(Exception):
    """What the user can put right; main() prints it and returns 2."""


# Scores


def scores_of_one(value, mean, sd):
    """Everything that a score is an average of, for one measurement."""
    if not (sd > 0 and math.isfinite(sd) and math.isfinite(mean) and math.isfinite(value)):
        raise UserError(f"A prediction is not usable: value {value}, mean {mean}, standard deviation {sd}.")
    z = (value - mean) / sd
    density = math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    distribution = 0.5 * math.erfc(-z / math.sqrt(2))
    return {
        "squared_error": (value - mean) ** 2,
        "absolute_error": abs(value - mean),
        "in50": float(abs(z) <= Z50),
        "in95": float(abs(z) <= Z95),
        "nlpd": 0.5 * z * z + math.log(sd) + 0.5 * math.log(2 * math.pi),
        # Gneiting, Raftery, J. Am. Stat. Assoc. 102 (2007) 359, equation (21), with the sign of a loss
        "crps": sd * (z * (2 * distribution - 1) + 2 * density - 1 / math.sqrt(math.pi)),
    }


def mean_of(numbers):
    numbers = list(numbers)
    return math.fsum(numbers) / len(numbers)


def standard_error(numbers):
    numbers = list(numbers)
    if len(numbers) < 2:
        return math.nan
    centre = mean_of(numbers)
    return math.sqrt(math.fsum((x - centre) ** 2 for x in numbers) / (len(numbers) - 1) / len(numbers))


def score(predictions):
    """The scores of a list of (value, mean, sd)."""
    if not predictions:
        raise UserError("There is no prediction to score.")
    each = [scores_of_one(*p) for p in predictions]
    return {
        "n": len(each),
        "rmse": math.sqrt(mean_of(e["squared_error"] for e in each)),
        "mae": mean_of(e["absolute_error"] for e in each),
        "coverage50": mean_of(e["in50"] for e in each),
        "coverage95": mean_of(e["in95"] for e in each),
        "nlpd": mean_of(e["nlpd"] for e in each),
        "crps": mean_of(e["crps"] for e in each),
    }


def paired_differences(ours, theirs):
    """Differences (ours - theirs) of scores over the same measurements, each with its standard error. The root makes the
    RMSE a function of the mean squared error: its standard error is that of its linearisation (delta method)."""
    a, b = [scores_of_one(*p) for p in ours], [scores_of_one(*p) for p in theirs]
    rmse_a = math.sqrt(mean_of(e["squared_error"] for e in a))
    rmse_b = math.sqrt(mean_of(e["squared_error"] for e in b))
    linear = [x["squared_error"] / (2 * rmse_a) - y["squared_error"] / (2 * rmse_b) for x, y in zip(a, b)]
    result = {"rmse": {"difference": rmse_a - rmse_b, "standard_error": standard_error(linear)}}
    for name, key in (("mae", "absolute_error"), ("nlpd", "nlpd"), ("crps", "crps")):
        difference = [x[key] - y[key] for x, y in zip(a, b)]
        result[name] = {"difference": mean_of(difference), "standard_error": standard_error(difference)}
    return result


# Files


def read_csv(path):
    """The rows of a CSV file with a header, as dictionaries; lines that start with # are comments."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            lines = [line for line in file if line.strip() and not line.lstrip().startswith("#")]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from None
    rows = [{(k or "").strip(): (v or "").strip() for k, v in row.items() if k is not None} for row in csv.DictReader(lines)]
    if not rows:
        raise UserError(f"{path}: has no rows.")
    return rows


def column(rows, name, path):
    if name not in rows[0]:
        raise UserError(f"{path}: has no column '{name}'. Its columns are {', '.join(rows[0])}.")
    return [row[name] for row in rows]


def number(row, name, path):
    try:
        return float(row[name])
    except KeyError:
        raise UserError(f"{path}: has no column '{name}'. Its columns are {', '.join(row)}.") from None
    except ValueError:
        raise UserError(f"{path}: '{row[name]}' in column '{name}' is not a number.") from None


def same(a, b):
    """Equal as text or as numbers, so that 3 and 3.0 are one fold."""
    if a == b:
        return True
    try:
        return float(a) == float(b)
    except ValueError:
        return False


def parse_condition(text):
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not value.strip():
        raise UserError(f"'{text}' is not a condition of the form column=value.")
    return name.strip(), value.strip()


def matches(row, conditions, path):
    for name, value in conditions:
        if name not in row:
            raise UserError(f"{path}: has no column '{name}'. Its columns are {', '.join(row)}.")
        if same(row[name], value):
            return True
    return False


# Report

COLUMNS = (("n", "n", "d"), ("rmse", "RMSE", ".4g"), ("mae", "MAE", ".4g"), ("coverage50", "50 % in", ".3f"),
           ("coverage95", "95 % in", ".3f"), ("nlpd", "NLPD", ".4f"), ("crps", "CRPS", ".4g"))


def table(results):
    width = max(len(name) for name in results)
    lines = [" " * width + "".join(f"{title:>10}" for _, title, _ in COLUMNS)]
    for name, result in results.items():
        lines.append(f"{name:<{width}}" + "".join(f"{format(result[key], form):>10}" for key, _, form in COLUMNS))
    return "\n".join(lines)


def predictions(rows, columns, path):
    names = columns.split(",")
    return [tuple(number(row, name, path) for name in names) for row in rows]


def baseline_of(options, rows):
    """(value, mean, sd) of the baseline for the same rows."""
    baseline = read_csv(options.baseline)
    by_key = dict(zip(column(baseline, options.key, options.baseline), baseline))
    others = []
    for key in column(rows, options.key, options.file):
        if key not in by_key:
            raise UserError(f"{options.baseline}: has no row with {options.key} = {key}.")
        others.append(by_key[key])
    value = options.columns.split(",")[0]
    return [(number(row, value, options.file), *other) for row, other in
            zip(rows, predictions(others, options.baseline_columns, options.baseline))]


def difference_lines(differences):
    yield "\nDifference to the baseline (below zero: better) ± its paired standard error"
    for name, d in differences.items():
        verdict = "worse by more than one standard error" if d["difference"] > d["standard_error"] else \
            "better by more than one standard error" if d["difference"] < -d["standard_error"] else \
            "no difference beyond one standard error"
        yield f"  {name.upper():<5}{d['difference']:>+9.4f} ± {d['standard_error']:.4f}   {verdict}"


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="predictions")
    parser.add_argument("--columns", metavar="VALUE,MEAN,SD", default="measured,predicted_mean,predicted_std",
                        help="its columns (default: those of cross_validation.csv)")
    parser.add_argument("--exclude", metavar="COLUMN=VALUE", action="append", default=[],
                        help="leave these rows out (may be repeated)")
    parser.add_argument("--baseline", metavar="FILE", help="predictions to compare with")
    parser.add_argument("--baseline-columns", metavar="MEAN,SD", default="predicted_mean,predicted_std",
                        help="its columns of predictive mean and standard deviation")
    parser.add_argument("--key", metavar="COLUMN", help="the column that names a measurement here and in the baseline")
    options = parser.parse_args(arguments)
    if bool(options.baseline) != bool(options.key):
        parser.error("--baseline and --key go together")
    for columns, n in ((options.columns, 3), (options.baseline_columns, 2)):
        if len(columns.split(",")) != n:
            parser.error(f"'{columns}' are not {n} columns")
    return options


def run(options):
    """The report as a text."""
    excluded = [parse_condition(text) for text in options.exclude]
    rows = [row for row in read_csv(options.file) if not matches(row, excluded, options.file)]
    ours = predictions(rows, options.columns, options.file)
    results, lines = {"predictions": score(ours)}, []
    if options.baseline:
        theirs = baseline_of(options, rows)
        results["baseline"] = score(theirs)
        lines = difference_lines(paired_differences(ours, theirs))
    return "\n".join([table(results), *lines])


def main(arguments=None):
    try:
        print(run(parse_arguments(arguments)))
        return 0
    except UserError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
