#!/usr/bin/env python3
# processors: 1
"""Tests of scripts/score.py and of the shipped measurement files. Only Python's standard library is needed."""
import contextlib
import io
import math
import pathlib
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
import score  # noqa: E402

WOLFCAMP = ROOT / "parameter_files" / "wolfcamp"


class Scores(unittest.TestCase):
    def test_kriging_baseline_has_its_published_scores(self):
        rows = score.read_csv(WOLFCAMP / "kriging_baseline_cv.csv")
        result = score.score([(float(r["head_m"]), float(r["uk_pred_m"]), float(r["uk_sd_m"])) for r in rows])
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
        self.assertAlmostEqual(score.scores_of_one(value, mean, sd)["crps"], integral, places=5)

    def test_nlpd_of_a_standard_normal(self):
        self.assertAlmostEqual(score.scores_of_one(0, 0, 1)["nlpd"], 0.9189385332, places=9)

    def test_differences_to_oneself_are_zero(self):
        predictions = [(1.0, 2.0, 1.5), (0.0, -1.0, 0.5), (3.0, 2.5, 1.0)]
        for d in score.paired_differences(predictions, predictions).values():
            self.assertEqual(d, {"difference": 0, "standard_error": 0})

    def test_standard_error_of_the_rmse_by_the_delta_method(self):
        # Errors ±1 and ±3 against a constant error of 2: mean squared errors 5 and 4.
        ours = [(1.0, 0.0, 1.0), (3.0, 0.0, 1.0)] * 50
        theirs = [(2.0, 0.0, 1.0)] * 100
        d = score.paired_differences(ours, theirs)["rmse"]
        self.assertAlmostEqual(d["difference"], math.sqrt(5) - 2)
        self.assertAlmostEqual(d["standard_error"], 4 / (2 * math.sqrt(5)) / math.sqrt(99))

    def test_an_unusable_prediction_is_refused(self):
        for bad in ((1, 2, 0), (1, math.nan, 1), (1, 2, math.inf)):
            with self.assertRaises(score.UserError):
                score.scores_of_one(*bad)


class Files(unittest.TestCase):
    BASELINE = WOLFCAMP / "kriging_baseline_cv.csv"

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = pathlib.Path(folder.name) / "predictions.csv"
        rows = ["well,measured,predicted_mean,predicted_std"]
        for row in score.read_csv(WOLFCAMP / "wolfcamp_heads.csv"):
            rows.append(f"{row['well']},{row['value']},{float(row['value']) + 100},100")
        self.file.write_text("\n".join(rows) + "\n")

    def run_script(self, *options, code=0):
        text = io.StringIO()
        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
            self.assertEqual(score.main([str(self.file), *options]), code, text.getvalue())
        return text.getvalue()

    def test_scores(self):
        numbers = self.run_script().splitlines()[-1].split()
        self.assertEqual(numbers[:6], ["predictions", "85", "100", "100", "0.000", "1.000"])
        self.assertAlmostEqual(float(numbers[6]), 0.5 + math.log(100) + 0.5 * math.log(2 * math.pi), places=3)

    def test_baseline(self):
        text = self.run_script("--baseline", str(self.BASELINE), "--baseline-columns", "uk_pred_m,uk_sd_m", "--key", "well")
        self.assertRegex(text, r"baseline\s+85 .*5\.390")
        self.assertRegex(text, r"RMSE\s+\+45\.\d+ ± \d+\.\d+   worse by more than one standard error")

    def test_an_excluded_row_is_not_scored(self):
        self.assertEqual(self.run_script("--exclude", "well=49").splitlines()[-1].split()[1], "84")

    def test_mistakes_are_named(self):
        self.assertIn("no column 'wlel'", self.run_script("--exclude", "wlel=49", code=2))
        self.assertIn("no column 'mean'", self.run_script("--columns", "measured,mean,predicted_std", code=2))
        self.file.write_text("well,measured,predicted_mean,predicted_std\n86,1,1,1\n")
        self.assertIn("no row with well = 86", self.run_script("--baseline", str(self.BASELINE), "--baseline-columns",
                                                               "uk_pred_m,uk_sd_m", "--key", "well", code=2))


class ShippedData(unittest.TestCase):
    def test_measurement_files(self):
        expected = {"wolfcamp/wolfcamp_heads.csv": 85, "ld100/sensors.csv": 100, "aristoff_bangerth/measurements.csv": 169,
                    "linear_gaussian/A_observations.csv": 36, "linear_gaussian/B_observations.csv": 36}
        for name, n in expected.items():
            rows = score.read_csv(ROOT / "parameter_files" / name)
            self.assertEqual(len(rows), n, name)
            for key in ("x", "y", "value"):
                self.assertTrue(all(math.isfinite(float(row[key])) for row in rows), name)


if __name__ == "__main__":
    unittest.main()
