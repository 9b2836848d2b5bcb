#!/usr/bin/env python3
# processors: 1
"""The program as its users meet it: commands, exit codes, files. Only Python's standard library is needed; program.py says which
program is run."""
import base64
import csv
import json
import os
import re
import signal
import struct
import time
import unittest
import xml.etree.ElementTree as xml
import zlib

from program import ROOT, ScratchFolder, children, command, finish, snapshot, start

# An optimisation that goes on until it is stopped.
ENDLESS = ["Inference/Optimizer=stochastic", "Inference/stochastic/Maximum iterations=100000000",
           "Inference/stochastic/Reductions=1000000"]
RESULTS = ["posterior.pvd", "state.pvd", "observations.csv", "observations.vtp", "convergence.csv", "spectrum.csv", "summary.json",
           "parameters.prm"]


def settings(values):
    return [word for value in values for word in ("--set", value)]


def array(element):
    """The numbers of a DataArray of a .vtu file: one block, zlib, Float32."""
    text = "".join(element.text.split())
    blocks, size, _, compressed = struct.unpack("<4I", base64.b64decode(text[:24]))
    data = zlib.decompress(base64.b64decode(text[24:]))
    assert blocks == 1 and size == len(data) and element.get("type") == "Float32" and compressed > 0
    return struct.unpack(f"<{size // 4}f", data)


def values_at_points(folder, record):
    """By name what a .pvd record leads to: dictionaries from points to values."""
    found = {}
    for part in (e.get("file") for e in xml.parse(folder / record).iter("DataSet")):
        for piece in {p.get("Source") for p in xml.parse(folder / part).iter("Piece")}:
            for block in xml.parse(folder / piece).iter("Piece"):
                numbers = array(block.find("Points/DataArray"))
                points = [tuple(round(x, 5) for x in numbers[i:i + 3]) for i in range(0, len(numbers), 3)]
                for data in block.iter("PointData"):
                    for element in data.iter("DataArray"):
                        found.setdefault(element.get("Name"), {}).update(zip(points, array(element)))
    return found


class Folder(ScratchFolder):
    """With what a run leaves in it."""

    def results(self, name="results"):
        """Checks that a folder of results is whole; returns its summary."""
        folder = self.folder / name
        for file in RESULTS:
            self.assertTrue((folder / file).is_file(), file)
        self.assertEqual(list(self.folder.glob(name + ".tmp*")), [])
        self.assertEqual([p.name for p in folder.rglob("*.tmp")], [])
        for record in ("posterior.pvd", "state.pvd"):
            pieces = [e.get("file") for e in xml.parse(folder / record).iter("DataSet")]
            self.assertTrue(pieces)
            for piece in pieces:
                for part in xml.parse(folder / piece).iter("Piece"):
                    self.assertTrue((folder / part.get("Source")).stat().st_size > 0)
        xml.parse(folder / "observations.vtp")
        for table in folder.glob("*.csv"):
            with open(table, newline="") as file:
                rows = list(csv.reader(file))
            self.assertEqual({len(row) for row in rows}, {len(rows[0])}, table.name)
        return json.loads((folder / "summary.json").read_text())

    def rows(self, name):
        with open(self.folder / name, newline="") as file:
            return list(csv.DictReader(file))


class Arguments(Folder):
    def test_help_lists_every_plugin(self):
        out, err = self.program("--help")
        self.assertEqual(err, "")
        names = set()
        for file in (ROOT / "source").glob("*/*.cc"):
            names.update(re.findall(r"Registration<[^;]*?>\s+\w+\s*\(\s*\"([^\"]+)\"", file.read_text()))
        self.assertGreaterEqual(len(names), 15)
        for name in names:
            self.assertRegex(out, rf"(?m)^  {re.escape(name)}: \w*")
        for command_name in ("check", "verify", "synthesize", "template"):
            self.assertIn(f"  {command_name} ", out)

    def test_help_is_printed_once(self):
        out, _ = self.program("--help", ranks=2)
        self.assertEqual(out.count("Usage:"), 1)

    def test_version(self):
        wanted = re.search(r"project\(\s*varfield[^)]*VERSION\s+([\d.]+)", (ROOT / "CMakeLists.txt").read_text()).group(1)
        self.assertIn(wanted, self.program("--version")[0])

    def refused(self, *arguments, message, ranks=1):
        before = snapshot(self.folder)
        out, err = self.program(*arguments, code=2, ranks=ranks)
        self.assertEqual(out, "")
        for part in message:
            self.assertEqual(err.count(part), 1, err)
        self.assertEqual(before, snapshot(self.folder))

    def test_no_arguments(self):
        for ranks in (1, 3):
            self.refused(message=["A parameter file is needed", "varfield case.prm", "--help"], ranks=ranks)

    def test_command_without_a_case(self):
        self.refused("check", message=["A parameter file is needed", "varfield check case.prm"])

    def test_misspelt_command(self):
        self.refused("chekc", "base.prm", message=["“chekc” is not a command (did you mean “check”?)", "--help"])

    def test_unknown_option(self):
        for ranks in (1, 3):
            self.refused("base.prm", "--restrat", message=["--restrat", "not expected", "--help"], ranks=ranks)

    def test_option_of_petsc(self):
        self.refused("base.prm", "-log_view", message=["not expected"])

    def test_two_cases(self):
        self.refused("base.prm", "other.prm", message=["other.prm", "not expected"])

    def test_set_without_a_value(self):
        self.refused("base.prm", "--set", message=["--set"])

    def test_missing_parameter_file(self):
        for ranks in (1, 3):
            self.refused("nowhere.prm", message=["The parameter file “nowhere.prm” does not exist"], ranks=ranks)

    def test_letters_in_another_encoding(self):
        text = "# Grundwasser\nset Title = München\n"
        (self.folder / "latin1.prm").write_bytes(text.encode("latin-1"))
        self.refused("latin1.prm", message=["latin1.prm", "line 2 has letters in another encoding"], ranks=3)
        self.refused("base.prm", "--set", "Title=M\udcfcnchen", message=["--set", "encoding"])

    def test_directory_as_parameter_file(self):
        self.refused("run", message=["does not exist"])
        self.refused(".", message=["The parameter file “.” is a directory"])


class Template(Folder):
    def test_it_reads_back_as_the_defaults(self):
        text, err = self.program("template")
        self.assertEqual(err, "")
        (self.folder / "template.prm").write_text(text)
        self.assertEqual(self.program("template", "template.prm")[0], text)

    def test_its_blanks_filled_in_it_is_a_case(self):
        (self.folder / "template.prm").write_text(self.program("template")[0])
        filled = settings(["Physics/diffusion/Conductivity=m", "Physics/Dirichlet=all: 0", "Measurements/data/File=heads.csv",
                           "Measurements/data/gaussian/Standard deviation=1", "Mesh/Subdivisions=4,4"])
        self.assertIn("The case is in order.", self.program("check", "template.prm", *filled)[0])

    def test_it_has_the_fields_of_a_case(self):
        text, _ = self.program("template", "base.prm")
        for section in ("log k", "heads"):
            self.assertEqual(text.count(f"subsection {section}\n"), 1)

    def test_every_parameter_is_documented(self):
        lines = self.program("template")[0].splitlines()
        bare = [line for before, line in zip(lines, lines[1:]) if line.lstrip().startswith("set ") and not before.lstrip().startswith("#")]
        self.assertEqual(bare, [])


class Commands(Folder):
    def test_check_leaves_nothing(self):
        before = snapshot(self.folder)
        for ranks in (1, 2):
            out, _ = self.program("check", "base.prm", ranks=ranks)
            self.assertEqual(out.count("The case is in order. Nothing was run."), 1)
        self.assertEqual(before, snapshot(self.folder))

    def test_verify_the_shipped_cases(self):
        for case in sorted((ROOT / "parameter_files").glob("*/*.prm")):
            with self.subTest(case=case.stem):
                if (case.parent / "prepare.py").exists() and not (case.parent / "data").exists():
                    self.skipTest("the data of this case are not there: prepare.py beside it makes them")
                text = case.read_text()
                cells = "2, 2, 2" if re.search(r"set Dimension\s*=\s*3", text) else "8, 8"
                out, _ = self.program("verify", case, "--set", f"Mesh/Subdivisions={cells}")
                self.assertIn("All checks passed.", out)

    def test_synthetic_measurements_are_read_by_a_run(self):
        made = settings(["Measurements/heads/File=made.csv", "Measurements/heads/Sensors=heads.csv",
                         "Fields/log k/Truth=1 + x"])
        out, _ = self.program("synthesize", "base.prm", *made)
        self.assertIn("wrote 3 measurements to made.csv", out)
        given, written = self.rows("heads.csv"), self.rows("made.csv")
        for a, b in zip(given, written):
            self.assertEqual((a["well"], float(a["x"]), float(a["y"])), (b["well"], float(b["x"]), float(b["y"])))
            self.assertEqual(float(b["std"]), 0.1)
            self.assertNotEqual(a["value"], b["value"])
        self.program("base.prm", *made)
        self.results()
        self.assertEqual([float(row["measured"]) for row in self.rows("results/observations.csv")],
                         [float(row["value"]) for row in written])
        _, err = self.program("synthesize", "base.prm", *made, code=2)
        self.assertIn("“made.csv” exists already", err)

    def test_the_same_synthetic_measurements_on_any_number_of_ranks(self):
        for name, ranks in (("one.csv", 1), ("three.csv", 3)):
            self.program("synthesize", "base.prm", *settings([f"Measurements/heads/File={name}", "Parallel/Sample groups=1",
                                                              "Measurements/heads/Sensors=heads.csv"]), ranks=ranks)
        for a, b in zip(self.rows("one.csv"), self.rows("three.csv")):
            self.assertAlmostEqual(float(a["value"]), float(b["value"]), places=10)


class Runs(Folder):
    def test_results(self):
        out, err = self.program("base.prm")
        self.assertEqual(err, "")
        summary = self.results()
        self.assertEqual(summary["exit_code"], 0)
        self.assertEqual(summary["measurements"], {"used": 3, "all": 3})
        self.assertEqual(len(self.rows("results/observations.csv")), 3)
        self.assertIn("results/", out)

    def test_few_files_with_the_same_values_on_any_number_of_ranks(self):
        fixed = ["Inference/Minimum draws=16", "Inference/Maximum draws=16", "Inference/natural gradient/Maximum iterations=2",
                 "Linear solver/Type=direct"]
        answers = {}
        for ranks, groups in ((1, 1), (4, 1), (4, 2)):
            name = f"ranks-{ranks}-{groups}"
            self.program("base.prm", *settings([*fixed, f"Output/Directory={name}", f"Parallel/Sample groups={groups}"]),
                         ranks=ranks, code=4)
            self.results(name)
            # The record of the pieces and one file with all of them, for each of the two.
            self.assertEqual(len(list((self.folder / name).glob("*.*vtu"))), 4)
            answers[name] = {**values_at_points(self.folder / name, "posterior.pvd"),
                             **values_at_points(self.folder / name, "state.pvd")}
        alone = answers.pop("ranks-1-1")
        self.assertIn("log_k_mean", alone)
        self.assertIn("state_mean", alone)
        for name, answer in answers.items():
            self.assertEqual(answer.keys(), alone.keys())
            for field, values in answer.items():
                self.assertEqual(len(values), 25)
                self.assertEqual(values.keys(), alone[field].keys())
                for point, value in values.items():
                    self.assertAlmostEqual(value, alone[field][point], delta=1e-4, msg=f"{name}, {field} at {point}")

    def test_memory(self):
        out, _ = self.program("base.prm", ranks=2)
        memory = self.results()["memory"]
        for kind in ("predicted_bytes", "peak_bytes"):
            self.assertLessEqual(memory[kind]["rank"], memory[kind]["computer"])
            self.assertLessEqual(memory[kind]["computer"], memory[kind]["all"])
            self.assertGreater(memory[kind]["rank"], 1e7)
        self.assertLess(memory["peak_bytes"]["all"], memory["predicted_bytes"]["all"])
        self.assertRegex(out, r"memory +about \d+ MB on each rank, \d+ MB in all; [\d.]+ GB free on this computer")
        self.assertRegex(out, r"memory +at most \d+ MB on each rank, \d+ MB in all \(predicted: \d+ MB\)")

    def test_too_little_memory(self):
        before = snapshot(self.folder)
        for command_name in ([], ["check"], ["verify"]):
            for ranks in (1, 3):
                out, err = self.program(*command_name, "base.prm", "--set", "Parallel/Memory limit=0.05", code=2, ranks=ranks)
                self.assertEqual(out, "")
                self.assertEqual(err.count("Parallel/Memory limit: the run is predicted to take"), 1, err)
                self.assertIn("the limit is 50 MB", err)
        self.assertEqual(before, snapshot(self.folder))
        # A limit above what there is lets the run try.
        out, _ = self.program("check", "base.prm", "--set", "Parallel/Memory limit=1e6")
        self.assertIn("1000000 GB allowed", out)

    def test_the_ranks_are_split_for_a_reason(self):
        large = ["Mesh/Subdivisions=200, 200"]
        for ranks, overrides, expected in (
            (2, [], "2 sample groups of 1 rank: each factorises the whole mesh and takes its share of the work"),
            (2, ["Linear solver/Type=multigrid"], "1 sample group of 2 ranks: ranks share the mesh, whose systems are solved"),
            (2, ["Parallel/Sample groups=1"], "1 sample group of 2 ranks: as given"),
            (2, [*large, "Parallel/Memory limit=1.4"], "1 sample group of 2 ranks: ranks share the mesh; more do not fit"),
            (4, ["Inference/natural gradient/Draws=4"], "2 sample groups of 2 ranks: each factorises the whole mesh and takes its "
                                                        "share of the work; more would be idle: an iteration has 2 pairs"),
        ):
            out, _ = self.program("check", "base.prm", *settings(overrides), ranks=ranks)
            self.assertIn("parallel      " + expected, out)
        out, _ = self.program("check", "base.prm")
        self.assertNotIn("parallel  ", out)

    def test_the_parameters_as_used_are_a_case(self):
        self.program("base.prm")
        self.program("results/parameters.prm", "--set", "Output/Directory=again")
        first, again = self.results(), self.results("again")
        self.assertAlmostEqual(first["elbo"]["value"], again["elbo"]["value"], places=8)

    def test_set_counts_after_the_file(self):
        self.program("base.prm", *settings(["Output/Directory=elsewhere", "Random seed=7", "Random  seed = 8"]))
        self.assertEqual(self.results("elsewhere")["seed"], 8)
        self.assertFalse((self.folder / "results").exists())

    def test_a_slash_at_the_end_of_the_folder(self):
        self.program("base.prm", "--set", "Output/Directory=elsewhere/")
        self.results("elsewhere")

    def test_results_are_overwritten_only_if_asked(self):
        self.program("base.prm")
        before = snapshot(self.folder)
        _, err = self.program("base.prm", code=2)
        self.assertIn("Output/Overwrite", err)
        self.assertEqual(before, snapshot(self.folder))
        (self.folder / "results" / "old.txt").write_text("of the first run")
        self.program("base.prm", *settings(["Output/Overwrite=true", "Random seed=5"]), ranks=2)
        self.assertEqual(self.results()["seed"], 5)
        self.assertFalse((self.folder / "results" / "old.txt").exists())

    def test_too_few_iterations(self):
        out, _ = self.program("base.prm", "--set", "Inference/natural gradient/Maximum iterations=1", code=4)
        self.assertIn("NOT CONVERGED", out)
        self.assertEqual(self.results()["exit_code"], 4)

    def test_too_few_iterations_for_the_map_point(self):
        out, _ = self.program("base.prm", *settings(["Inference/Method=map", "Inference/MAP/Maximum iterations=1"]), code=4)
        self.assertIn("NOT CONVERGED", out)
        self.assertEqual(self.results()["exit_code"], 4)

    def test_held_out_rows_are_predicted_but_not_used(self):
        self.program("base.prm", "--set", "Measurements/heads/Held out=well=B")
        self.assertEqual(self.results()["measurements"], {"used": 2, "all": 3})
        rows = {row["well"]: row for row in self.rows("results/observations.csv")}
        self.assertEqual({well: row["used"] for well, row in rows.items()}, {"A": "1", "B": "0", "C": "1"})
        self.assertGreater(float(rows["B"]["predicted_std"]), 0)
        self.program("base.prm", "--set", "Output/Directory=all")
        again = {row["well"]: row for row in self.rows("all/observations.csv")}
        self.assertLess(float(again["B"]["predicted_std"]), float(rows["B"]["predicted_std"]))

    def test_a_run_begins_where_an_earlier_one_ended(self):
        self.program("base.prm", "--set", "Inference/Method=map")
        self.program("base.prm", *settings(["Inference/Method=map", "Inference/Start from=results/checkpoint.csv",
                                            "Output/Directory=again"]))
        first, again = self.results()["map"], self.results("again")["map"]
        self.assertGreater(first["termination"]["iterations"], 1)
        self.assertLessEqual(again["termination"]["iterations"], 1)
        self.assertAlmostEqual(first["objective"], again["objective"], places=9)

    def test_a_scan_compares_variants_on_any_number_of_ranks(self):
        header = "name,Fields/log k/spde/Correlation length,Measurements/heads/gaussian/Standard deviation\n"
        (self.folder / "variants.csv").write_text(header + "as it is,,\nsmooth,1,\nnoisy,,0.3\n")
        tables = []
        for ranks in (1, 2, 3, 4):
            out, _ = self.program("scan", "base.prm",
                                  *settings(["Scan/File=variants.csv", f"Output/Directory=scan{ranks}"]), ranks=ranks)
            self.assertIn("log evidence", out)
            with open(self.folder / f"scan{ranks}" / "scan.csv") as file:
                tables.append(list(csv.DictReader(file)))
        for rows in tables:
            self.assertEqual([row["name"] for row in rows], ["as it is", "smooth", "noisy"])
            self.assertEqual([row["status"] for row in rows], ["converged"] * 3)
            self.assertAlmostEqual(sum(float(row["probability"]) for row in rows), 1)
            self.assertEqual(max(float(row["difference"]) for row in rows), 0)
            for row, first in zip(rows, tables[0]):
                for name in ("log_evidence", "difference", "probability", "elbo", "k_hat", "reduced_chi2"):
                    self.assertAlmostEqual(float(row[name]), float(first[name]), 4, name)
        (self.folder / "odd.csv").write_text("name,Physics/Source\nfine,\nodd,?\n")
        before = snapshot(self.folder)
        _, err = self.program("scan", "base.prm", "--set", "Scan/File=odd.csv", code=2)
        self.assertIn("odd.csv, line 3, variant “odd”", err)
        self.assertEqual(before, snapshot(self.folder))

    def test_certify_writes_what_the_chains_found(self):
        quick = ["Certification/Warm-up=100", "Certification/Minimum iterations=200", "Certification/Effective size=50",
                 "Certification/R-hat=1.1", "Certification/Checkpoint=chains"]
        self.program("certify", "base.prm", *settings(quick), ranks=2)
        summary = self.results()
        certificate = next(f for f in summary["trust"]["findings"] if f["name"] == "certificate")
        self.assertEqual(certificate["colour"], "green")
        self.assertTrue(self.rows("results/chains.csv"))
        arrays = values_at_points(self.folder / "results", "posterior.pvd")
        for name in ("chains_mean", "chains_std", "mean_shift", "std_ratio", "effective_size", "rhat"):
            self.assertIn("log_k_" + name, arrays)
        # Chains of another posterior are not this one's; what was inferred is written all the same.
        other = settings(["Measurements/heads/gaussian/Standard deviation=0.2", "Output/Directory=other"])
        _, err = self.program("certify", "base.prm", *settings(quick), *other, code=5)
        certificate = next(f for f in self.results("other")["trust"]["findings"] if f["name"] == "certificate")
        self.assertIn("these chains", certificate["finding"])

    def test_cross_validate_predicts_every_row(self):
        out, _ = self.program("cross-validate", "base.prm", *settings(["Cross-validation/Folds=2"]), ranks=2)
        self.assertIn("rmse", out.lower())
        self.results()
        rows = self.rows("results/cross_validation.csv")
        self.assertEqual(len(rows), len(self.rows("heads.csv")))
        self.assertEqual({row["fold"] for row in rows}, {"1", "2"})
        self.assertTrue(all(float(row["predicted_std"]) > 0 for row in rows))

    def test_calibrate_ranks_truths(self):
        quantity = ["Quantities/Names=middle", "Quantities/middle/Type=point value", "Quantities/middle/point value/Of=log k",
                    "Quantities/middle/point value/Point=0.5,0.5"]
        self.program("calibrate", "base.prm", *settings(["Calibration/Truths=4", *quantity]), ranks=2)
        rows = self.rows("results/calibration.csv")
        self.assertEqual(len(rows), 4)
        self.assertTrue(all(0 <= float(row["rank middle"]) <= 1 for row in rows))
        self.program("calibrate", "base.prm", *settings(["Calibration/Truths=2", "Inference/MAP/Maximum iterations=1",
                                                         "Output/Directory=few", *quantity]), code=4)

    def test_a_red_trust_report_is_an_exit_code(self):
        out, _ = self.program("base.prm", *settings(["Fields/log k/Space=global", "Fields/log k/Prior=independent",
                                                     "Measurements/heads/gaussian/Standard deviation=0.0001"]), code=5)
        self.assertIn("NOT TO BE TRUSTED", out)
        self.assertEqual(self.results()["exit_code"], 5)

    def test_a_posterior_without_solutions_is_a_failure(self):
        before = snapshot(self.folder)
        _, err = self.program("base.prm", *settings(["Fields/log k/Transform=identity", "Fields/log k/Mean=1",
                                                     "Fields/log k/spde/Standard deviation=3"]), code=1)
        self.assertIn("could not be solved at", err)
        self.assertEqual(before, snapshot(self.folder))

    def test_two_fields_and_three_dimensions(self):
        few = ["Inference/natural gradient/Draws=4", "Inference/natural gradient/Maximum iterations=2",
               "Inference/Minimum draws=4", "Inference/Maximum draws=4"]
        for case, cells, fields in (("wolfcamp", "8, 8", ("log_T", "boundary_head")), ("box_3d", "4, 4, 4", ("log_k",))):
            name = case + "-results"
            self.program(ROOT / "parameter_files" / case / f"{case}.prm", ranks=2, code=4, *settings(
                [*few, f"Mesh/Subdivisions={cells}", f"Output/Directory={name}", "Parallel/Sample groups=1"]))
            self.results(name)
            record = (self.folder / name / "posterior_0000.pvtu").read_text()
            for field in fields:
                for suffix in ("mean", "std", "prior_mean", "prior_std", "variance_reduction", "map", "mode_0", "draw_0"):
                    self.assertIn(f'Name="{field}_{suffix}"', record)
            self.assertEqual('Name="log_k_truth"' in record, case == "box_3d")

    def test_time_budget(self):
        begin = time.monotonic()
        out, _ = self.program("base.prm", *settings([*ENDLESS, "Inference/Time budget=1"]), code=3)
        self.assertLess(time.monotonic() - begin, 20)
        self.assertIn("STOPPED EARLY (the time budget is used up)", out)
        self.assertEqual(self.results()["exit_code"], 3)

    def test_time_budget_while_the_posterior_is_drawn(self):
        out, _ = self.program("base.prm", *settings(["Inference/ELBO error=1e-9", "Inference/Maximum draws=100000000",
                                                     "Inference/Time budget=3"]), code=3)
        self.assertIn("STOPPED EARLY (the time budget is used up)", out)
        self.assertGreater(self.results()["elbo"]["draws"], 200)

    def test_a_folder_that_appears_during_the_run(self):
        process = self.endless()
        (self.folder / "results").mkdir()
        (self.folder / "results" / "notes.txt").write_text("of somebody else")
        process.send_signal(signal.SIGTERM)
        self.stopped(process, "results-2")
        self.assertEqual([p.name for p in (self.folder / "results").iterdir()], ["notes.txt"])

    def endless(self, ranks=1):
        """Starts a run that does not end, and waits for the first iterations."""
        process = start(command("base.prm", *settings(ENDLESS), ranks=ranks), self.folder)
        self.addCleanup(lambda: process.poll() is None and process.kill())
        for line in process.stdout:
            if "mean of" in line:
                return process
        self.fail("the run ended by itself: " + process.stderr.read())

    def stopped(self, process, name="results"):
        begin = time.monotonic()
        code, out, err = finish(process)
        self.assertEqual(code, 3, out + err)
        self.assertLess(time.monotonic() - begin, 20)
        self.assertEqual(self.results(name)["exit_code"], 3)
        self.assertRegex(out, r"STOPPED EARLY \(signal \d+\)")

    def test_sigterm(self):
        process = self.endless()
        process.send_signal(signal.SIGTERM)
        self.stopped(process)

    # Open MPI's mpirun kills the ranks a second after it has got a SIGTERM; SIGUSR1 it hands on.
    def test_sigusr1_to_mpirun(self):
        process = self.endless(ranks=2)
        process.send_signal(signal.SIGUSR1)
        self.stopped(process)

    def test_sigterm_to_one_rank(self):
        process = self.endless(ranks=2)
        ranks = children(process.pid)
        self.assertEqual(len(ranks), 2)
        os.kill(ranks[-1], signal.SIGTERM)
        self.stopped(process)


if __name__ == "__main__":
    unittest.main()
