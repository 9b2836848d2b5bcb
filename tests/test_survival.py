#!/usr/bin/env python3
"""Runs that are killed, and gone on with: the answer is that of a run in one go. Only Python's standard library is needed.

A run is killed (SIGKILL to every process of it) at random moments and resumed on one, two and three ranks in turn; ten times, or
with VARFIELD_LONG_TESTS in the environment fifty times.
"""
import csv
import json
import os
import pathlib
import random
import shutil
import signal
import tempfile
import time
import unittest

from program import ROOT, children, command, finish, start

KILLS = 50 if "VARFIELD_LONG_TESTS" in os.environ else 10
CASE = ["Mesh/Subdivisions=32, 32", "Mesh/Refinements towards boundaries=left: 1", "Inference/Coarsest cells=200",
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


class Killed(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

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

    def test_killed_at_random_moments(self):
        begin = time.monotonic()
        code, out, err = finish(start(command(*words(), ranks=2), self.folder), 300)
        whole_time = time.monotonic() - begin
        self.assertIn(code, (0, 5), out + err)
        expected, expected_rows = self.answer()
        shutil.rmtree(self.folder / "results")
        lots = random.Random(1)
        killed = 0
        for attempt in range(20 * KILLS):
            ranks = (2, 1, 3)[attempt % 3]
            process = start(command(*words("--resume"), ranks=ranks), self.folder)
            try:
                code = process.wait(timeout=lots.uniform(0.2, 1.0) * whole_time / 4 if killed < KILLS else 300)
            except Exception:
                kill_all(process)
                process.communicate()
                killed += 1
                continue
            out, err = process.communicate()
            self.assertIn(code, (0, 5), out + err)
            numbers, rows = self.answer()
            self.assertEqual(rows, expected_rows)
            for file, values in expected.items():
                self.assertEqual(len(numbers[file]), len(values), file)
                difference = max(abs(a - b) for a, b in zip(numbers[file], values))
                self.assertLess(difference, 1e-8 * max(abs(x) for x in values), file)
            self.assertFalse((self.folder / "results.checkpoint").exists())
            if killed >= KILLS:
                return
            shutil.rmtree(self.folder / "results")
        self.fail(f"killed {killed} times only")


if __name__ == "__main__":
    unittest.main()
