#!/usr/bin/env python3
# processors: 1
"""The installed package, as CONTRIBUTING.md describes it: a program with a PDE of one's own. Only Python's standard library is
needed; program.py says which program is installed."""
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

from program import ENVIRONMENT, INVALID, PROGRAM, ROOT

GUIDE = (ROOT / "CONTRIBUTING.md").read_text()


def block(language):
    """The first block of code in this language."""
    return re.search(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL).group(1)


class Package(unittest.TestCase):
    def run_in(self, folder, *words):
        result = subprocess.run(list(map(str, words)), cwd=folder, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)
        self.assertEqual(result.returncode, 0, result.stdout[-4000:])
        return result.stdout

    def test_the_example_is_the_real_file(self):
        self.assertEqual(block("cpp").strip(), (ROOT / "source" / "physics" / "diffusion.cc").read_text().strip())

    def test_a_program_with_a_pde_of_its_own(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            self.run_in(folder, "cmake", "--install", pathlib.Path(PROGRAM).parent, "--prefix", folder / "installed")
            self.assertIn("diffusion", self.run_in(folder, folder / "installed" / "bin" / "varfield", "--help"))
            (folder / "CMakeLists.txt").write_text(block("cmake"))
            (folder / "my_pde.cc").write_text(block("cpp").replace('"diffusion"', '"my diffusion"'))
            self.run_in(folder, "cmake", "-S", ".", "-B", "build", f"-DCMAKE_PREFIX_PATH={folder / 'installed'}")
            self.run_in(folder, "cmake", "--build", "build", "--parallel", os.cpu_count() or 1)
            text = (INVALID / "base.prm").read_text().replace("= diffusion", "= my diffusion")
            (folder / "base.prm").write_text(text.replace("subsection diffusion", "subsection my diffusion"))
            (folder / "heads.csv").write_text((INVALID / "heads.csv").read_text())
            self.assertIn("my diffusion", self.run_in(folder, "build/my_varfield", "check", "base.prm"))


if __name__ == "__main__":
    unittest.main()
