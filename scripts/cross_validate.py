#!/usr/bin/env python3
"""k-fold cross-validation of a case.

For every value of a column of the measurement file, varfield runs without the rows that carry it and predicts them. The
predictions of all folds together are scored: root mean squared and mean absolute error, coverage of the central 50 % and
95 % intervals, and the mean of two proper scores, the negative log predictive density (NLPD) and the continuous
ranked probability score (CRPS). A predictive distribution is Gaussian; its variance is that of the predicted state plus that
of the noise.

  scripts/cross_validate.py parameter_files/wolfcamp/wolfcamp.prm --folds cv_fold --np 2 --exclude well=49 \\
      --baseline parameter_files/wolfcamp/kriging_baseline_cv.csv --key well

With a baseline, the differences of the scores come with the standard error of paired differences. Only Python's standard
library is needed.
"""
import argparse
import csv
import json
import math
import pathlib
import shlex
import subprocess
import sys
import time

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


def parameter_lines(path):
    """The lines of a parameter file without comments, those of included files in their place."""
    path = pathlib.Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from None
    for line in lines:
        line = line.split("#", 1)[0].strip()
        if line.startswith("include "):
            yield from parameter_lines(path.parent / line[len("include "):].strip().strip('"'))
        else:
            yield line


def measurement_files(parameter_file):
    """(section, file) for every subsection of Measurements that names a file ending in .csv."""
    found, sections = [], []
    for line in parameter_lines(parameter_file):
        if line.startswith("subsection "):
            sections.append(line[len("subsection "):].strip())
        elif line == "end" and sections:
            sections.pop()
        elif line.startswith("set ") and sections[:1] == ["Measurements"]:
            value = line.partition("=")[2].strip().strip("\"'")
            if value.endswith(".csv"):
                found.append(("/".join(sections), value))
    return found


def choose_measurements(options):
    """The section of the measurements that are held out, and the path of their file."""
    found = measurement_files(options.parameter_file)
    if options.measurements:
        wanted = "Measurements/" + options.measurements
        found = [f for f in found if f[0] == wanted] or [(wanted, None)]
    if options.data:
        return (found[0][0] if found else "Measurements"), pathlib.Path(options.data)
    if len(found) != 1 or found[0][1] is None:
        names = ", ".join(section for section, _ in found) or "none"
        raise UserError(f"{options.parameter_file}: needs one section in Measurements that names a .csv file; found "
                        f"{names}. Choose it by --measurements NAME and, if needed, --data FILE.")
    section, name = found[0]
    for folder in (pathlib.Path(options.parameter_file).parent, pathlib.Path()):
        if (folder / name).is_file():
            return section, folder / name
    raise UserError(f"{options.parameter_file}: names the measurements {name}, which do not exist.")


# Runs


def run_fold(options, section, held_out, folder):
    """Runs varfield on one fold; True if it converged."""
    command = [options.varfield, options.parameter_file]
    if options.np > 1:
        command = shlex.split(options.launcher) + ["-np", str(options.np)] + command
    settings = options.set + [f"{section}/Held out={';'.join('='.join(c) for c in held_out)}", f"Output/Directory={folder}"]
    if folder.exists():
        settings.append("Output/Overwrite=true")
    for setting in settings:
        command += ["--set", setting]
    log = folder.with_suffix(".log")
    with open(log, "w", encoding="utf-8") as file:
        file.write(shlex.join(command) + "\n")
        file.flush()
        try:
            code = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False).returncode
        except OSError as error:
            raise UserError(f"{command[0]}: cannot be started ({error.strerror}). --varfield names the program.") from None
    if code not in (0, 4, 5):  # converged; finished without convergence; converged, but the trust report is red
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
        raise UserError(f"varfield ended with exit code {code}; its output is in {log} and ends with\n{tail}")
    return code != 4


def predictions_of_fold(folder, fold_column, fold):
    """The held-out rows of a fold, each with its prediction. Rows that are held out for another reason (--drop) are not in
    the fold and not returned."""
    path = folder / "observations.csv"
    rows = read_csv(path)
    column(rows, "used", path)
    column(rows, fold_column, path)
    held_out = [row for row in rows if same(row["used"], "0") and same(row[fold_column], fold)]
    for row in held_out:
        row["predictive_sd"] = math.hypot(number(row, "predicted_std", path), number(row, "std", path))
    return held_out


def as_prediction(row):
    return float(row["measured"]), float(row["predicted_mean"]), row["predictive_sd"]


def cross_validate(options, output):
    section, data_path = choose_measurements(options)
    data = read_csv(data_path)
    folds = sorted(set(column(data, options.folds, data_path)), key=lambda f: (len(f), f))
    excluded = [parse_condition(text) for text in options.exclude]
    expected = sum(not matches(row, excluded, data_path) for row in data)

    rows, not_converged = [], []
    for count, fold in enumerate(folds, 1):
        folder, start = output / f"fold_{fold}", time.time()
        held_out = [(options.folds, fold)] + (excluded if options.drop else [])
        if not options.score_only and not run_fold(options, section, held_out, folder):
            not_converged.append(fold)
        new = [row for row in predictions_of_fold(folder, options.folds, fold) if not matches(row, excluded, data_path)]
        rows += new
        error = score([as_prediction(row) for row in new])["rmse"] if new else math.nan
        print(f"fold {fold} ({count} of {len(folds)}): {len(new)} held out, RMSE {error:.4g}, {time.time() - start:.0f} s",
              flush=True)
    if len(rows) != expected:
        raise UserError(f"{len(rows)} held-out predictions were found for {expected} rows of {data_path}.")
    return rows, not_converged


# Report

COLUMNS = (("n", "n", "d"), ("rmse", "RMSE", ".4g"), ("mae", "MAE", ".4g"), ("coverage50", "50 % in", ".3f"),
           ("coverage95", "95 % in", ".3f"), ("nlpd", "NLPD", ".4f"), ("crps", "CRPS", ".4g"))


def table(results):
    width = max(len(name) for name in results)
    lines = [" " * width + "".join(f"{title:>10}" for _, title, _ in COLUMNS)]
    for name, result in results.items():
        lines.append(f"{name:<{width}}" + "".join(f"{format(result[key], form):>10}" for key, _, form in COLUMNS))
    return "\n".join(lines)


def compare(options, rows):
    """The baseline's scores over the same rows, and the paired differences."""
    baseline = read_csv(options.baseline)
    mean, sd = options.baseline_columns.split(",")
    by_key = dict(zip(column(baseline, options.key, options.baseline), baseline))
    theirs = []
    for row in rows:
        if row.get(options.key) not in by_key:
            raise UserError(f"{options.baseline}: has no row with {options.key} = {row.get(options.key)}.")
        other = by_key[row[options.key]]
        theirs.append((float(row["measured"]), number(other, mean, options.baseline), number(other, sd, options.baseline)))
    return score(theirs), paired_differences([as_prediction(row) for row in rows], theirs)


def print_differences(differences):
    print("\nDifference to the baseline (below zero: better) ± its paired standard error")
    for name, d in differences.items():
        worse = "worse by more than one standard error" if d["difference"] > d["standard_error"] else \
            "better by more than one standard error" if d["difference"] < -d["standard_error"] else \
            "no difference beyond one standard error"
        print(f"  {name.upper():<5}{d['difference']:>+9.4f} ± {d['standard_error']:.4f}   {worse}")


def write_results(output, options, rows, result):
    names = list(rows[0])
    with open(output / "predictions.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    result["options"] = {key: value for key, value in vars(options).items()}
    (output / "scores.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"\nPredictions: {output / 'predictions.csv'}\nScores:      {output / 'scores.json'}")


def score_a_file(options):
    names = options.columns.split(",")
    if len(names) != 3:
        raise UserError("--columns takes three names: value,mean,sd.")
    rows = read_csv(options.score_file)
    excluded = [parse_condition(text) for text in options.exclude]
    rows = [row for row in rows if not matches(row, excluded, options.score_file)]
    result = score([tuple(number(row, name, options.score_file) for name in names) for row in rows])
    print(table({pathlib.Path(options.score_file).stem: result}))


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parameter_file", nargs="?", help="the case")
    parser.add_argument("--folds", metavar="COLUMN", default="cv_fold", help="column of the measurements (default: cv_fold)")
    parser.add_argument("--exclude", metavar="COLUMN=VALUE", action="append", default=[],
                        help="leave these rows out of the score (may be repeated)")
    parser.add_argument("--drop", action="store_true", help="leave the excluded rows out of the data too")
    parser.add_argument("--np", type=int, default=1, help="MPI ranks of a run (default: 1)")
    parser.add_argument("--launcher", default="mpirun", help="how MPI programs start (default: mpirun)")
    parser.add_argument("--varfield", default="build/release/varfield", help="the program")
    parser.add_argument("--set", metavar="SECTION/NAME=VALUE", action="append", default=[],
                        help="a parameter for every run (may be repeated)")
    parser.add_argument("--measurements", metavar="NAME", help="the subsection of Measurements, when there are several")
    parser.add_argument("--data", metavar="FILE", help="the measurement file, when the parameter file does not tell")
    parser.add_argument("--output", metavar="FOLDER", help="where everything is written (default: <case>-cv-output)")
    parser.add_argument("--overwrite", action="store_true", help="write into a folder that exists")
    parser.add_argument("--score-only", action="store_true", help="score the runs that are in the folder; run nothing")
    parser.add_argument("--baseline", metavar="FILE", help="predictions to compare with, a CSV file")
    parser.add_argument("--baseline-columns", metavar="MEAN,SD", default="uk_pred_m,uk_sd_m",
                        help="its columns of predictive mean and standard deviation (default: uk_pred_m,uk_sd_m)")
    parser.add_argument("--key", metavar="COLUMN", help="the column that names a measurement here and in the baseline")
    parser.add_argument("--score-file", metavar="FILE", help="only score the predictions of a CSV file")
    parser.add_argument("--columns", metavar="VALUE,MEAN,SD", default="measured,predicted_mean,predictive_sd",
                        help="its columns (default: those of predictions.csv)")
    options = parser.parse_args(arguments)
    if not options.parameter_file and not options.score_file:
        parser.error("a parameter file or --score-file is needed")
    if options.baseline and not options.key:
        parser.error("--baseline needs --key")
    return options


def run(options):
    if options.score_file:
        score_a_file(options)
        return 0
    output = pathlib.Path(options.output or pathlib.Path(options.parameter_file).stem + "-cv-output")
    if output.exists() and not (options.overwrite or options.score_only):
        raise UserError(f"{output} exists. Choose another folder by --output, or allow --overwrite.")
    output.mkdir(parents=True, exist_ok=True)

    rows, not_converged = cross_validate(options, output)
    name = pathlib.Path(options.parameter_file).stem
    result = {"scores": {name: score([as_prediction(row) for row in rows])}, "folds_not_converged": not_converged}
    if options.baseline:
        result["scores"]["baseline"], result["differences"] = compare(options, rows)
    print("\n" + table(result["scores"]))
    if options.baseline:
        print_differences(result["differences"])
    write_results(output, options, rows, result)
    if not_converged:
        print(f"\nThe runs of these folds did not converge: {', '.join(not_converged)}", file=sys.stderr)
        return 4
    return 0


def main(arguments=None):
    try:
        return run(parse_arguments(arguments))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
