#!/usr/bin/env python3
# processors: 1
"""Some seconds of scripts/fuzz.sh for each reader, where its compiler is installed: no crash, no hang, no leak. Only Python's
standard library is needed."""
import os
import pathlib
import re
import shutil
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Fuzz(unittest.TestCase):
    @unittest.skipUnless(shutil.which(os.environ.get("CLANG", "clang++-14")), "scripts/install_dependencies.sh --with-fuzzing")
    def test_a_few_seconds_each(self):
        run = subprocess.run([ROOT / "scripts/fuzz.sh", "5"], capture_output=True, text=True, timeout=800)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        executions = re.findall(r"^(\w+): (\d+) executions", run.stdout, re.MULTILINE)
        self.assertEqual([reader for reader, _ in executions], ["parameters", "json", "table", "mesh"])
        self.assertTrue(all(int(n) > 50 for _, n in executions), run.stdout)


if __name__ == "__main__":
    unittest.main()
