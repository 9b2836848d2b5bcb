#!/usr/bin/env python3
"""Batches: many members, some of them bad, stopped and gone on with. Only Python's standard library is needed.

Twenty members of which three are bad; with VARFIELD_LONG_TESTS in the environment two hundred of which ten are.
"""
import csv
import os
import shutil
import signal
import time
import unittest

from program import ScratchFolder, children, command, finish, start

LONG = "VARFIELD_LONG_TESTS" in os.environ
MEMBERS, BAD = (200, 10) if LONG else (20, 3)
# What is wrong with the bad ones, by turns: entries that change, and a part of the message.
MISTAKES = [({"Fields/log k/spde/Correlation length": "-1"}, "Correlation length"),
            ({"Measurements/heads/File": "nowhere.csv"}, "nowhere.csv"),
            ({"Physics/Source": "1 +* x"}, "1 +* x"),
            ({"case": "missing.prm"}, "missing.prm")]


class Batch(ScratchFolder):
    def write_list(self, rows, name="members.csv"):
        columns = ["name", "case"]
        for row in rows:
            columns += [key for key in row if key not in columns]
        with open(self.folder / name, "w", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(rows)

    def members(self, **entries):
        """Those whose number is a multiple of MEMBERS / BAD are bad."""
        rows, bad = [], {}
        for k in range(MEMBERS):
            row = {"name": f"m{k:03}", "case": "base.prm", "Random seed": str(k + 1), **entries}
            if k % (MEMBERS // BAD) == 1 and len(bad) < BAD:
                changes, message = MISTAKES[len(bad) % len(MISTAKES)]
                row.update(changes)
                bad[row["name"]] = message
            rows.append(row)
        self.write_list(rows)
        return bad

    def program(self, *arguments, **options):
        return super().program("batch", *arguments, timeout=600, **options)

    def table(self, folder="members"):
        with open(self.folder / folder / "batch.csv", newline="") as file:
            return {row["name"]: row for row in csv.DictReader(file)}

    def check_table(self, bad):
        table = self.table()
        self.assertEqual(len(table), MEMBERS)
        for name, row in table.items():
            if name in bad:
                self.assertEqual(row["status"], "bad input", row)
                self.assertIn(bad[name], row["message"])
                self.assertFalse((self.folder / "members" / name).exists())
            else:
                self.assertIn(row["exit_code"], ("0", "5"), row)
                self.assertTrue((self.folder / "members" / name / "summary.json").is_file())
                float(row["elbo"])
        return table

    def test_bad_members_and_interruptions(self):
        bad = self.members()
        for ranks in (2, 1):
            # Stopped by SIGTERM to one of its processes, and killed.
            process = start(command("batch", "members.csv", "--resume", ranks=ranks), self.folder)
            deadline = time.monotonic() + 120
            wanted = MEMBERS // 4 if ranks == 2 else MEMBERS // 2
            while len(list(self.folder.glob("members/*/summary.json"))) < wanted and time.monotonic() < deadline:
                time.sleep(0.05)
            if ranks == 2:
                for pid in children(process.pid)[:1]:
                    os.kill(pid, signal.SIGTERM)
                code, out, err = finish(process, 120)
                self.assertEqual(code, 3, out + err)
                self.assertIn("--resume", out)
                self.assertLess(sum(row["exit_code"] in ("0", "5") for row in self.table().values()), MEMBERS - BAD)
            else:
                process.kill()
                process.communicate()
        whole_before = {path: path.stat().st_mtime_ns for path in self.folder.glob("members/*/summary.json")}
        out, _ = self.program("members.csv", "--resume", ranks=2, code=4)
        self.assertRegex(out, rf"{BAD} bad input")
        table = self.check_table(bad)
        for path, time_of_change in whole_before.items():
            self.assertEqual(path.stat().st_mtime_ns, time_of_change, f"{path} was made again")
        self.assertEqual([p.name for p in (self.folder / "members").iterdir()
                          if p.name.startswith(".queue") or p.suffix in (".started", ".checkpoint") or ".tmp" in p.name], [])
        # Nothing is left to do; the order of the work does not matter.
        self.program("members.csv", "--resume", code=4)
        self.assertEqual(self.table(), table)

    def test_settings_that_changed(self):
        self.write_list([{"name": "a", "case": "base.prm"}, {"name": "b", "case": "base.prm", "Random seed": "2"}])
        self.program("members.csv", "--output", "out")
        self.write_list([{"name": "a", "case": "base.prm"}, {"name": "b", "case": "base.prm", "Random seed": "3"}])
        _, err = self.program("members.csv", "--output", "out", "--resume", code=2)
        self.assertIn("Random seed = 3 (was 2)", err)
        self.assertIn("line 3", err)
        _, err = self.program("members.csv", "--output", "out", code=2)
        self.assertIn("--resume", err)
        # The same name, another content.
        self.write_list([{"name": "a", "case": "base.prm"}])
        with open(self.folder / "heads.csv", "a") as heads:
            heads.write("0.31,0.62,0.4\n")
        _, err = self.program("members.csv", "--output", "out", "--resume", code=2)
        self.assertRegex(err, "Measurements/heads/File = a file with the CRC-32 [0-9a-f]{8} .was a file with")

    def test_same_as_alone(self):
        self.write_list([{"name": f"s{k}", "case": "base.prm", "Random seed": str(k), "Output/Draws": "1"} for k in range(3)])
        self.program("members.csv", ranks=2)
        code, out, err = finish(start(command("base.prm", "--set", "Random seed=2", "--set", "Output/Directory=alone"), self.folder))
        self.assertEqual(code, 0, out + err)
        for file in ("checkpoint.csv", "observations.csv"):
            self.assertEqual((self.folder / "members/s2" / file).read_text(), (self.folder / "alone" / file).read_text())

    def test_failed_members_again(self):
        self.write_list([{"name": "a", "case": "base.prm"}, {"name": "b", "case": "later.prm"}])
        self.program("members.csv", code=4)
        shutil.copy(self.folder / "base.prm", self.folder / "later.prm")
        self.program("members.csv", "--resume", code=4)
        self.program("members.csv", "--resume", "--retry-failed")
        self.assertFalse((self.folder / "members/b.error").exists())

    def test_job_array(self):
        self.write_list([{"name": f"s{k}", "case": "base.prm", "Random seed": str(k)} for k in range(5)])
        self.program("members.csv", "--part", "1/2")
        self.assertEqual([row["status"] for row in self.table().values()].count("not run"), 2)
        self.program("members.csv", "--part", "2/2")
        self.assertEqual([row["status"] for row in self.table().values()].count("converged"), 5)

    def test_dry_run(self):
        self.write_list([{"name": "a", "case": "base.prm"}, {"name": "b", "case": "base.prm", "Mesh/Subdivisions": "0, 1"}])
        out, _ = self.program("members.csv", "--dry-run", code=2)
        self.assertIn("Nothing was run", out)
        self.assertIn("Subdivisions", out)
        self.assertFalse((self.folder / "members").exists())

    def test_bad_lists(self):
        for text, message in (("name,case\na,base.prm\na,base.prm\n", "occurs twice"),
                              ("case\nbase.prm\n", "no column “name”"),
                              ("name,case\n../a,base.prm\n", "name of a folder"),
                              ("name,case,Output/Directory\na,base.prm,x\n", "for the batch to say"),
                              ("name,case\na,\n", "names no parameter file")):
            (self.folder / "members.csv").write_text(text)
            _, err = self.program("members.csv", code=2)
            self.assertIn(message, err)
            self.assertFalse((self.folder / "members").exists())
        _, err = self.program("nowhere.csv", code=2)
        self.assertIn("nowhere.csv", err)


if __name__ == "__main__":
    unittest.main()
