#!/usr/bin/env python3
"""Tests of scripts/cross_validate.py and of the shipped measurement files. Only Python's standard library is needed."""
import contextlib
import io
import json
import math
import pathlib
import stat
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
import cross_validate as cv  # noqa: E402

WOLFCAMP = ROOT / "parameter_files" / "wolfcamp"

# A stand-in for varfield: predicts the mean of the used values and writes what a run would.
STAND_IN = """#!/usr/bin/env python3
import csv, os, sys
settings = dict(a.split("=", 1) for a in sys.argv[3::2])
conditions = [c.split("=") for c in settings["Measurements/heads/Held out"].split(";")]
lines = [l for l in open({data!r}) if not l.startswith("#")]
rows = list(csv.DictReader(lines))
for row in rows:
    row["used"] = int(not any(row[k] == v for k, v in conditions))
used = [float(r["value"]) for r in rows if r["used"]]
mean = sum(used) / len(used)
spread = (sum((v - mean) ** 2 for v in used) / len(used)) ** 0.5
os.makedirs(settings["Output/Directory"])
with open(settings["Output/Directory"] + "/observations.csv", "w") as f:
    f.write("well,x,y,measured,std,used,predicted_mean,predicted_std,standardised_residual,cv_fold\\n")
    for r in rows:
        f.write(f"{{r['well']}},{{r['x']}},{{r['y']}},{{r['value']}},44,{{r['used']}},{{mean}},{{spread}},0,{{r['cv_fold']}}\\n")
sys.exit({code})
"""


class Scores(unittest.TestCase):
    def test_kriging_baseline_has_its_published_scores(self):
        rows = cv.read_csv(WOLFCAMP / "kriging_baseline_cv.csv")
        result = cv.score([(float(r["head_m"]), float(r["uk_pred_m"]), float(r["uk_sd_m"])) for r in rows])
        self.assertEqual(result["n"], 85)
        self.assertAlmostEqual(result["rmse"], 54.9, delta=0.05)
        self.assertAlmostEqual(result["mae"], 43.1, delta=0.05)
        self.assertAlmostEqual(result["coverage50"], 0.424, delta=0.0005)
        self.assertAlmostEqual(result["coverage95"], 0.941, delta=0.0005)
        self.assertAlmostEqual(result["nlpd"], 5.390, delta=0.0005)

    def test_crps_is_the_integral_that_defines_it(self):
        value, mean, sd, h = 1.3, 0.2, 0.7, 1e-3
        integral = 0
        for i in range(-12000, 12000):
            x = (i + 0.5) * h
            distribution = 0.5 * math.erfc(-(x - mean) / sd / math.sqrt(2))
            integral += h * (distribution - (x >= value)) ** 2
        self.assertAlmostEqual(cv.scores_of_one(value, mean, sd)["crps"], integral, places=5)

    def test_nlpd_of_a_standard_normal(self):
        self.assertAlmostEqual(cv.scores_of_one(0, 0, 1)["nlpd"], 0.9189385332, places=9)

    def test_differences_to_oneself_are_zero(self):
        predictions = [(1.0, 2.0, 1.5), (0.0, -1.0, 0.5), (3.0, 2.5, 1.0)]
        for d in cv.paired_differences(predictions, predictions).values():
            self.assertEqual(d, {"difference": 0, "standard_error": 0})

    def test_standard_error_of_the_rmse_by_the_delta_method(self):
        # Errors ±1 and ±3 against a constant error of 2: mean squared errors 5 and 4.
        ours = [(1.0, 0.0, 1.0), (3.0, 0.0, 1.0)] * 50
        theirs = [(2.0, 0.0, 1.0)] * 100
        d = cv.paired_differences(ours, theirs)["rmse"]
        self.assertAlmostEqual(d["difference"], math.sqrt(5) - 2)
        self.assertAlmostEqual(d["standard_error"], 4 / (2 * math.sqrt(5)) / math.sqrt(99))

    def test_an_unusable_prediction_is_refused(self):
        for bad in ((1, 2, 0), (1, math.nan, 1), (1, 2, math.inf)):
            with self.assertRaises(cv.UserError):
                cv.scores_of_one(*bad)


class CrossValidation(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.output = self.folder / "result"
        (self.folder / "case.prm").write_text("subsection Measurements\n  subsection heads\n"
                                              f"    set File = {WOLFCAMP / 'wolfcamp_heads.csv'}  # wells\n  end\nend\n")

    def run_case(self, *options, code=0):
        program = self.folder / "varfield"
        program.write_text(STAND_IN.format(data=str(WOLFCAMP / "wolfcamp_heads.csv"), code=code))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        arguments = [str(self.folder / "case.prm"), "--varfield", str(program), "--output", str(self.output), *options]
        text = io.StringIO()
        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
            code = cv.main(arguments)
        return code, text.getvalue()

    def scores(self):
        return json.loads((self.output / "scores.json").read_text())

    def test_every_well_is_predicted_once(self):
        code, text = self.run_case()
        self.assertEqual(code, 0, text)
        self.assertEqual(self.scores()["scores"]["case"]["n"], 85)
        wells = [int(row["well"]) for row in cv.read_csv(self.output / "predictions.csv")]
        self.assertEqual(sorted(wells), list(range(1, 86)))

    def test_noise_is_part_of_the_predictive_variance(self):
        self.run_case()
        row = cv.read_csv(self.output / "predictions.csv")[0]
        self.assertAlmostEqual(float(row["predictive_sd"]), math.hypot(float(row["predicted_std"]), 44))

    def test_an_excluded_well_is_not_scored(self):
        code, text = self.run_case("--exclude", "well=49", "--drop")
        self.assertEqual(code, 0, text)
        self.assertEqual(self.scores()["scores"]["case"]["n"], 84)
        self.assertIn("Held out=cv_fold=0;well=49", (self.output / "fold_0.log").read_text())

    def test_baseline(self):
        code, text = self.run_case("--baseline", str(WOLFCAMP / "kriging_baseline_cv.csv"), "--key", "well")
        self.assertEqual(code, 0, text)
        result = self.scores()
        self.assertAlmostEqual(result["scores"]["baseline"]["nlpd"], 5.390, delta=0.0005)
        self.assertGreater(result["differences"]["rmse"]["difference"], 50)

    def test_a_run_that_did_not_converge_is_said(self):
        code, text = self.run_case(code=4)
        self.assertEqual(code, 4)
        self.assertIn("did not converge", text)

    def test_a_run_that_failed_ends_it(self):
        code, text = self.run_case(code=1)
        self.assertEqual(code, 2)
        self.assertIn("exit code 1", text)

    def test_results_are_not_overwritten(self):
        self.output.mkdir()
        code, text = self.run_case()
        self.assertEqual(code, 2)
        self.assertIn("exists", text)

    def test_a_misspelt_column_is_named(self):
        code, text = self.run_case("--folds", "cv_flod")
        self.assertEqual(code, 2)
        self.assertIn("no column 'cv_flod'", text)


class ShippedData(unittest.TestCase):
    def test_measurement_files(self):
        expected = {"wolfcamp/wolfcamp_heads.csv": 85, "ld100/sensors.csv": 100, "aristoff_bangerth/measurements.csv": 169,
                    "linear_gaussian/A_observations.csv": 36, "linear_gaussian/B_observations.csv": 36}
        for name, n in expected.items():
            rows = cv.read_csv(ROOT / "parameter_files" / name)
            self.assertEqual(len(rows), n, name)
            for key in ("x", "y", "value"):
                self.assertTrue(all(math.isfinite(float(row[key])) for row in rows), name)


if __name__ == "__main__":
    unittest.main()
