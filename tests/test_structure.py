#!/usr/bin/env python3
# processors: 1
"""The straight line of CONTRIBUTING.md: right of the log density nothing knows a mesh. Only Python's standard library is needed."""
import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = ROOT / "include" / "varfield"
MESH = re.compile(r"deal\.II/(grid|distributed|dofs|fe|numerics)/")


def headers_below(path):
    """Every header of the project that a file includes, itself or through others, and all lines of includes on the way."""
    seen, lines, waiting = set(), [], [path]
    while waiting:
        file = waiting.pop()
        for line in re.findall(r"#include [<\"](.*?)[>\"]", file.read_text()):
            lines.append((file.name, line))
            header = INCLUDE / line.removeprefix("varfield/")
            if line.startswith("varfield/") and header not in seen:
                seen.add(header)
                waiting.append(header)
    return lines


class Structure(unittest.TestCase):
    def test_nothing_right_of_the_log_density_knows_a_mesh(self):
        names = ["log_density", "curvature", "family", "subspace_family", "elbo", "sweep", "newton", "map", "optimizer", "monitor",
                 "sampler", "chains", "chain_statistics", "batch_means", "pareto_smoothing", "starts", "response_surface"]
        files = [INCLUDE / f"{name}.h" for name in names] + list((ROOT / "source").glob("families/*.cc"))
        files += list((ROOT / "source").glob("optimizers/*.cc")) + list((ROOT / "source").glob("samplers/*.cc"))
        files += [path for path in (ROOT / "source" / f"{name}.cc" for name in names) if path.exists()]
        self.assertGreater(len(files), len(names) + 12)
        for file in files:
            for origin, line in headers_below(file):
                self.assertIsNone(MESH.search(line), f"{file.name}, through {origin}: {line}")

    def test_the_table_of_equations(self):
        """doc/physics.md has every equation, with the length of its file; none is longer than 60 lines."""
        table = (ROOT / "doc" / "physics.md").read_text()
        for file in (ROOT / "source" / "physics").glob("*.cc"):
            text = file.read_text()
            names = re.findall(r"(?:PdeRegistration<\w+>|WeakForm<\w+>>)\s+\w+\(\s*\"([^\"]+)\"", text)
            self.assertTrue(names, file.name)
            lines = len(text.splitlines())
            self.assertLess(lines / len(names), 60, file.name)
            self.assertIn(f"`{file.name}`, {lines} |", table)
            for name in names:
                self.assertIn(f"| `{name}` |", table)


if __name__ == "__main__":
    unittest.main()
