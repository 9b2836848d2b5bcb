#!/usr/bin/env python3
"""Runs that are killed, stopped, or meet failures, and are gone on with: the answer is that of a run in one go. Only Python's
standard library is needed.

A run is killed (SIGKILL to every process of it) at random moments and resumed on one, two and three ranks in turn; six times, or
with VARFIELD_LONG_TESTS in the environment fifty times.
"""
import csv
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import time
import unittest

from program import INVALID, ROOT, ScratchFolder, children, command, finish, start

LONG = "VARFIELD_LONG_TESTS" in os.environ
KILLS = 50 if LONG else 6
EXACT = ("checkpoint.csv", "observations.csv", "spectrum.csv")
ITERATION = re.compile(r"^  [ \d]\d {2,}\S", re.MULTILINE)  # its line on the terminal
UNDISTURBED = {}  # what all tests compare with
CASE = ["Mesh/Subdivisions=16, 16", "Mesh/Refinements towards boundaries=left: 1", "Inference/Coarsest cells=50",
        "Inference/Starts=2", "Inference/Prior draws=10", "Inference/natural gradient/Tolerance=1", "Inference/ELBO error=1",
        "Inference/Minimum draws=20", "Output/Exact variance limit=0", "Output/Variance draws=20", "Checkpoint/Interval=0",
        "Parallel/Sample groups=0", "Output/Directory=results"]


def words(*more):
    return [ROOT / "parameter_files/ld100/ld100.prm", *more, *(word for value in CASE for word in ("--set", value))]


def descendants(pid):
    found = children(pid)
    return found + [deeper for child in found for deeper in descendants(child)]


def kill_all(process):
    processes = [process.pid, *descendants(process.pid)]
    for pid in processes:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


class Interrupted(ScratchFolder):
    FILES = ()

    def answer(self):
        """Numbers of the posterior that the run has written, by files of one unit, and its iterations."""
        folder = self.folder / "results"
        numbers = {}
        for name, columns in (("checkpoint.csv", ["value"]), ("observations.csv", ["predicted_mean", "predicted_std"]),
                              ("spectrum.csv", ["lambda"])):
            with open(folder / name, newline="") as file:
                rows = list(csv.DictReader(file))
            numbers[name] = [float(row[column]) for row in rows for column in columns]
        with open(folder / "convergence.csv", newline="") as file:
            rows = [(row["phase"], row["mesh"], row["iteration"]) for row in csv.DictReader(file)]
        summary = json.loads((folder / "summary.json").read_text())
        self.assertIn(summary["exit_code"], (0, 5))
        numbers["ELBO"] = [summary["elbo"]["value"]]
        return numbers, rows

    def undisturbed(self):
        """The answer of a run in one go, and the seconds that it takes; nothing of it is left."""
        if "answer" not in UNDISTURBED:
            begin = time.monotonic()
            code, out, err = finish(start(command(*words(), ranks=2), self.folder), 300)
            UNDISTURBED["seconds"] = time.monotonic() - begin
            self.assertIn(code, (0, 5), out + err)
            UNDISTURBED["answer"] = self.answer()
            shutil.rmtree(self.folder / "results")
        return UNDISTURBED["answer"], UNDISTURBED["seconds"]

    def check_answer(self, wanted=None):
        expected, expected_rows = wanted or UNDISTURBED["answer"]
        numbers, rows = self.answer()
        self.assertEqual(rows, expected_rows)
        for file, values in expected.items():
            self.assertEqual(len(numbers[file]), len(values), file)
            difference = max(abs(a - b) for a, b in zip(numbers[file], values))
            self.assertLess(difference, 1e-8 * max(abs(x) for x in values), file)
        self.assertEqual([p.name for p in self.folder.iterdir() if p.name != "results"], [])

    def go_on(self, ranks, *more):
        code, out, err = finish(start(command(*words("--resume", *more), ranks=ranks), self.folder), 300)
        self.assertIn(code, (0, 5), out + err)


class Killed(Interrupted):
    def test_killed_at_random_moments(self):
        _, seconds = self.undisturbed()
        lots = random.Random(1)
        killed, rows, since = 0, 0, 0
        for attempt in range(20 * KILLS):
            ranks = (2, 1, 3)[attempt % 3]
            has_state = bool(list(self.folder.glob("results.checkpoint/*.state")))
            process = start(command(*words("--resume"), ranks=ranks), self.folder)
            try:
                code = process.wait(timeout=lots.uniform(0.2, 1.0) * seconds / 4 if killed < KILLS else 300)
            except subprocess.TimeoutExpired:
                kill_all(process)
                out, err = process.communicate()
                killed, rows, since = killed + 1, rows + len(ITERATION.findall(out)), since + 1
                continue
            out, err = process.communicate()
            self.assertIn(code, (0, 5), out + err)
            self.assertEqual("goes on where it was" in out, has_state, out)
            self.check_answer()
            # An iteration that was printed is in a state, but for the last one before each kill.
            rows += len(ITERATION.findall(out))
            self.assertGreater(rows, 0)
            self.assertLessEqual(rows, len(UNDISTURBED["answer"][1]) + since, "iterations were made again")
            if killed >= KILLS:
                return
            rows = since = 0
            shutil.rmtree(self.folder / "results")
        self.fail(f"killed {killed} times only")


class KilledOnOneRank(Interrupted):
    def test_the_same_to_the_last_bit(self):
        code, out, err = finish(start(command(*words()), self.folder), 300)
        self.assertIn(code, (0, 5), out + err)
        expected = [(self.folder / "results" / name).read_bytes() for name in EXACT]
        shutil.rmtree(self.folder / "results")
        lots = random.Random(3)
        for _ in range(KILLS // 3):
            process = start(command(*words("--resume")), self.folder)
            process.stdout.readline()
            time.sleep(lots.uniform(0.1, 1.5))
            kill_all(process)
            process.communicate()
        if not (self.folder / "results").exists():
            self.go_on(1)
        for name, content in zip(EXACT, expected):
            self.assertEqual((self.folder / "results" / name).read_bytes(), content, name)


class Stopped(Interrupted):
    """SIGTERM to one of the ranks and to all of them, at some moments of a run."""

    def test_signals_to_one_and_to_all(self):
        _, seconds = self.undisturbed()
        lots = random.Random(2)
        stopped = 0
        for attempt in range(40):
            if stopped == (24 if LONG else 4):
                break
            process = start(command(*words("--resume"), ranks=2), self.folder)
            process.stdout.readline()  # it has begun
            time.sleep(lots.uniform(0.05, 0.9) * seconds)
            ranks = children(process.pid)
            for pid in ranks if attempt % 2 else ranks[-1:]:
                try:
                    os.kill(pid, signal.SIGTERM)
                except ProcessLookupError:
                    pass
            begin = time.monotonic()
            code, out, err = finish(process, 60)
            self.assertLess(time.monotonic() - begin, 5 + 0.5 * seconds)
            self.assertIn(code, (0, 3, 5), out + err)
            if code != 3:
                self.check_answer()
                shutil.rmtree(self.folder / "results")
                continue
            stopped += 1
            self.assertIn("STOPPED EARLY (signal 15)", out)
            self.assertEqual(json.loads((self.folder / "results/summary.json").read_text())["exit_code"], 3)
        self.assertGreater(stopped, 2)
        self.go_on(3)
        self.check_answer()

    def test_a_second_signal_ends_at_once(self):
        self.undisturbed()
        # In an iteration that takes a minute.
        process = start(command(*words("--set", "Faults/Stalled rank=0", "--set", "Faults/After=300", "--set", "Faults/Stall=60")),
                        self.folder)
        states, deadline = None, time.monotonic() + 60
        while time.monotonic() < deadline:
            time.sleep(2)
            found = sorted(path.name for path in self.folder.glob("results.checkpoint/*.state"))
            if found and found == states:
                break
            states = found
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)
        begin = time.monotonic()
        code, out, err = finish(process, 60)
        self.assertEqual(code, -signal.SIGINT, out + err)
        self.assertLess(time.monotonic() - begin, 5)
        self.assertTrue(list(self.folder.glob("results.checkpoint/*.state")))


class Parts(ScratchFolder):
    """Runs of many inferences, stopped at several moments and gone on with: folds, truths, variants, hyper-parameters, chains."""

    QUANTITY = ["Quantities/Names=middle", "Quantities/middle/Type=point value", "Quantities/middle/point value/Of=log k",
                "Quantities/middle/point value/Point=0.5,0.5"]
    # What to run, what to compare, and columns that are of no interest.
    RUNS = [("cross-validate", "cross_validation.csv", ["Cross-validation/Folds=3"]),
            ("calibrate", "calibration.csv", ["Calibration/Truths=8", *QUANTITY]),
            ("scan", "scan.csv", ["Scan/File=variants.csv"]),
            ("run", "hyperparameters.csv", ["Hyperparameters/Names=noise",
                                            "Hyperparameters/noise/Parameter=Measurements/heads/gaussian/Standard deviation",
                                            "Hyperparameters/noise/pc upper/Limit=0.5"]),
            ("certify", "chains.csv", ["Certification/Warm-up=100", "Certification/Minimum iterations=2000",
                                       "Certification/Effective size=50", "Certification/R-hat=1.1",
                                       "Certification/Checkpoint interval=0"])]

    def setUp(self):
        super().setUp()
        (self.folder / "variants.csv").write_text("name,Fields/log k/spde/Correlation length\nshort,0.3\nmiddle,\nlong,1\n")

    def words(self, action, settings, *more):
        return [*([] if action == "run" else [action]), "base.prm", *more,
                *(word for value in [*settings, "Checkpoint/Interval=0"] for word in ("--set", value))]

    def table(self, file):
        with open(self.folder / "results" / file, newline="") as opened:
            return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(opened)]

    def test_stopped_and_gone_on_with(self):
        lots = random.Random(4)
        all_stopped = 0
        for action, file, settings in self.RUNS:
            with self.subTest(action=action, file=file):
                for name in ("results", "results.checkpoint"):
                    shutil.rmtree(self.folder / name, ignore_errors=True)
                begin = time.monotonic()
                code, out, err = finish(start(command(*self.words(action, settings), ranks=2), self.folder), 120)
                seconds = time.monotonic() - begin
                self.assertIn(code, (0, 4, 5), out + err)
                expected = self.table(file)
                shutil.rmtree(self.folder / "results")
                stopped = 0
                for attempt in range(40):
                    process = start(command(*self.words(action, settings, "--resume"), ranks=2), self.folder)
                    if stopped < 4:
                        process.stdout.readline()
                        time.sleep(lots.uniform(0.02, 0.4) * seconds)
                        for pid in children(process.pid)[:1]:
                            os.kill(pid, signal.SIGTERM)
                    code, out, err = finish(process, 120)
                    if code != 3:
                        break
                    stopped += 1
                self.assertIn(code, (0, 4, 5), out + err)
                all_stopped += stopped
                # Chains go on from solutions that are computed again: another rounding.
                digits = 1e-4 if action == "certify" else 1e-7
                found = self.table(file)
                self.assertEqual([list(row) for row in found], [list(row) for row in expected])
                for row, other in zip(found, expected):
                    for key in row:
                        try:
                            self.assertAlmostEqual(float(row[key]), float(other[key]), delta=digits * (1 + abs(float(other[key]))),
                                                   msg=key)
                        except ValueError:
                            self.assertEqual(row[key], other[key], key)
                shutil.rmtree(self.folder / "results")
                self.assertFalse((self.folder / "results.checkpoint").exists())
        self.assertGreater(all_stopped, 4)


class Faults(Interrupted):
    def findings(self):
        summary = json.loads((self.folder / "results/summary.json").read_text())
        return summary, {finding["name"]: finding for finding in summary["trust"]["findings"]}

    def check_posterior(self, expected):
        """Predicted means to a third of their standard deviations, the ELBO to the errors of both."""
        summary, _ = self.findings()
        numbers, _ = self.answer()
        means, deviations = numbers["observations.csv"][::2], expected["observations.csv"][1::2]
        for mean, other, deviation in zip(means, expected["observations.csv"][::2], deviations):
            self.assertLess(abs(mean - other), 0.3 * deviation)
        self.assertLess(abs(summary["elbo"]["value"] - expected["ELBO"][0]), 5 * 1.5 * summary["elbo"]["error"])

    def test_some_solves_fail(self):
        (expected, _), _ = self.undisturbed()
        self.go_on(2, "--set", "Faults/Probability=0.05")
        _, findings = self.findings()
        figures = findings["failed solves"]["figures"]
        self.assertGreater(figures["repeated_solves"], 20)
        self.assertIn("safer solver", findings["failed solves"]["finding"])
        self.check_posterior(expected)

    def test_most_solves_fail(self):
        """On one mesh: a coarse one that fails is left out."""
        alone = ["--set", "Inference/Coarse to fine=false"]
        code, out, err = finish(start(command(*words(*alone), ranks=2), self.folder), 300)
        self.assertIn(code, (0, 5), out + err)
        expected, _ = self.answer()
        shutil.rmtree(self.folder / "results")
        process = start(command(*words(*alone), ranks=2), self.folder)
        while len(list(self.folder.glob("results.checkpoint/*.state"))) < 2 and process.poll() is None:
            time.sleep(0.02)
        kill_all(process)
        process.communicate()
        code, out, err = finish(start(command(*words("--resume", "--set", "Faults/Probability=0.6", *alone), ranks=2), self.folder), 120)
        self.assertEqual(code, 1, out + err)
        self.assertRegex(err, "could not be solved|could not be linearised|cannot be")
        self.assertFalse((self.folder / "results").exists())
        self.go_on(3, *alone)
        # Steps that were shorter because of failures are part of the state: the same posterior on another way.
        self.check_posterior(expected)

    def test_a_rank_is_killed(self):
        self.undisturbed()
        code, out, err = finish(start(command(*words("--set", "Faults/Killed rank=1", "--set", "Faults/After=200"), ranks=2),
                                      self.folder), 120)
        self.assertIsNotNone(code, "it hangs")
        self.assertNotIn(code, (0, 3, 5), out + err)
        self.go_on(2)
        self.check_answer()

    def test_a_rank_is_stalled(self):
        self.undisturbed()
        self.go_on(2, "--set", "Faults/Stalled rank=1", "--set", "Faults/After=200", "--set", "Faults/Stall=2")
        self.check_answer()


class DiskFull(Interrupted):
    """A small file system of its own, at the folder “small”: what is left of it after a run comes back as an archive."""

    def run_on(self, kilobytes, *arguments):
        script = (f"mkdir -p small && mount -t tmpfs -o size={kilobytes}k tmpfs small && cd small && tar xf ../kept.tar 2>/dev/null; "
                  + shlex.join(map(str, command(*arguments))) + "; code=$?; tar cf ../kept.tar .; exit $code")
        (self.folder / "kept.tar").open("a").close()
        unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
        code, out, err = finish(start([*unshare, "sh", "-c", script], self.folder), 120)
        if "unshare" in err or "mount" in err:
            self.skipTest("no file system can be mounted here: " + err.strip())
        left = subprocess.run(["tar", "tf", self.folder / "kept.tar"], capture_output=True, text=True).stdout.split()
        return code, out, err, left

    def test_whatever_does_not_fit(self):
        """From a disk that takes hardly a state to one that takes all but a few of the results."""
        codes = set()
        for kilobytes in (40, 120, 250, 400, 550, 700) if LONG else (40, 250):
            code, out, err, left = self.run_on(kilobytes, *words("--set", "Checkpoint/Interval=1000"))
            codes.add(code)
            if code in (0, 5):
                continue
            self.assertEqual(code, 1, out + err)
            self.assertIn("No space left on device", err)
            self.assertFalse([name for name in left if name.startswith("./results/")], left)
            (self.folder / "kept.tar").unlink()
        self.assertIn(1, codes)

    def test_a_batch(self):
        """What had room is whole, what had none is run later."""
        for name in ("base.prm", "heads.csv"):
            shutil.copy(INVALID / name, self.folder)
        names = [f"m{k}" for k in range(6)]
        (self.folder / "members.csv").write_text("name,case,Random seed\n" + "".join(f"{name},base.prm,{name[1:]}\n" for name in names))
        code, out, err, left = self.run_on(220, "batch", "../members.csv")
        self.assertNotEqual(code, 0, out + err)
        self.assertIn("No space left on device", out + err)
        whole = [name for name in names if f"./members/{name}/summary.json" in left]
        self.assertGreater(len(whole), 0, left)
        self.assertLess(len(whole), len(names), left)
        code, out, err, left = self.run_on(50000, "batch", "../members.csv", "--resume", "--retry-failed")
        self.assertEqual(code, 0, out + err)
        self.assertIn(f"{len(names)} converged", out)
        self.assertEqual([name for name in names if f"./members/{name}/summary.json" in left], names)

    def test_the_state_survives(self):
        """The disk has room for the states of a run that was killed, and not for its results; later there is room."""
        self.undisturbed()
        process = start(command(*words(), ranks=2), self.folder)
        while len(list(self.folder.glob("results.checkpoint/*.state"))) < 2 and process.poll() is None:
            time.sleep(0.02)
        kill_all(process)
        process.communicate()
        size = sum(path.stat().st_size for path in self.folder.glob("results.checkpoint/*"))
        subprocess.run(["tar", "cf", "kept.tar", "results.checkpoint"], cwd=self.folder, check=True)
        shutil.rmtree(self.folder / "results.checkpoint")
        code, out, err, left = self.run_on(size // 1024 + 150, *words("--resume", "--set", "Checkpoint/Interval=1000"))
        self.assertEqual(code, 1, out + err)
        self.assertIn("No space left on device", err)
        self.assertIn("--resume", err)
        self.assertTrue([name for name in left if name.endswith(".state")], left)
        code, out, err, left = self.run_on(50000, *words("--resume"))
        self.assertIn(code, (0, 5), out + err)
        self.assertIn("goes on where it was", out)
        subprocess.run(["tar", "xf", "kept.tar"], cwd=self.folder, check=True)
        (self.folder / "kept.tar").unlink()
        (self.folder / "small").rmdir()
        self.check_answer()


if __name__ == "__main__":
    unittest.main()
