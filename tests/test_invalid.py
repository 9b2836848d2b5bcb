#!/usr/bin/env python3
"""Every case in tests/invalid/ holds one mistake: the program has to end with exit code 2 and one clear message, without a hang
and without leaving anything behind; cases by turns on one and on three ranks, with VARFIELD_LONG_TESTS in the environment all on
both. Only Python's standard library is needed.

A case is a parameter file whose comments say what is to happen:

    # expect: a part of the message (at least one; all have to be found)
    # run: check              the subcommand; without it the case is run
    # arguments: --set "…"    more arguments of the command line
    # ranks: 1                in place of these
    # folder: wells.csv       an empty folder that is made before the run
    # file: wells.csv         a file that is written before the run; its lines follow after “#| ”
    # case: case.json         the file that is run, in place of this one

`test_invalid.py --show [NAME …]` prints the messages, to read them; program.py says which program is run.
"""
import concurrent.futures
import os
import pathlib
import re
import shlex
import shutil
import sys
import tempfile
import time
import unittest

from program import INVALID, TIMEOUT, command, finish, snapshot, start

LONG = "VARFIELD_LONG_TESTS" in os.environ
AT_ONCE = 3  # mpirun waits more than it works
COMMON = ("base.prm", "heads.csv")
# What only a crash or an unclean end of MPI or PETSc says.
NOISE = re.compile(r"terminate called|MPI_ABORT|MPI_Abort|Segmentation|PETSC ERROR|after MPI_FINALIZE|Skipping MPI_Finalize|"
                   r"Unexpected failure|Stacktrace|stack trace|An error occurred in|Exception on processing|Signal:|_M_|dealii::",
                   re.IGNORECASE)


class Case:
    def __init__(self, path):
        self.name, self.path = path.stem, path
        self.expected, self.arguments, self.action, self.ranks = [], [], [], []
        self.files, self.folders, self.file = {}, [], path.name
        lines = None
        for line in path.read_text().splitlines():
            if line.startswith("#|") and lines is not None:
                lines.append(line[3:])
                continue
            match = re.match(r"# (expect|run|arguments|ranks|folder|file|case): (.*)", line)
            key, text = match.groups() if match else (None, None)
            if key == "expect":
                self.expected.append(text)
            elif key == "run":
                self.action = [text]
            elif key == "arguments":
                self.arguments = shlex.split(text)
            elif key == "ranks":
                self.ranks = [int(n) for n in text.split()]
            elif key == "folder":
                self.folders.append(text)
            elif key == "case":
                self.file = text
            elif key == "file":
                lines = self.files.setdefault(text, [])

    def prepare(self, folder):
        for name in COMMON:
            shutil.copy(self.path.parent / name, folder)
        shutil.copy(self.path, folder)
        for name in self.folders:
            (folder / name).mkdir()
        for name, lines in self.files.items():
            (folder / name).write_text("".join(line + "\n" for line in lines))

    def command(self, n_ranks):
        words = [*self.action, self.file, *self.arguments]
        # One group shares the mesh between the ranks, so that some mistakes are met by one of them alone.
        if n_ranks > 1 and "Sample groups" not in self.path.read_text():
            words += ["--set", "Parallel/Sample groups=1"]
        return command(*words, ranks=n_ranks)

    def run(self, n_ranks):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            self.prepare(folder)
            before = snapshot(folder)
            begin = time.monotonic()
            code, out, err = finish(start(self.command(n_ranks), folder))
            return Outcome(code, out, err, before, snapshot(folder), time.monotonic() - begin)


class Outcome:
    def __init__(self, code, out, err, before, after, seconds):
        self.code, self.out, self.err, self.before, self.after, self.seconds = code, out, err, before, after, seconds
        # mpirun's own lines come last, between rules.
        self.message = re.split(r"^-{60,}$", err, maxsplit=1, flags=re.MULTILINE)[0].strip()


CASES = [Case(path) for path in sorted(INVALID.glob("*.prm")) if path.name not in COMMON]
for index, one in enumerate(CASES):
    one.ranks = one.ranks or ([1, 3] if LONG else [[1], [3]][index % 2])


class Invalid(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            cls.outcomes = {(case.name, n): pool.submit(case.run, n) for case in CASES for n in case.ranks}

    def judge(self, case, n_ranks):
        outcome = self.outcomes[case.name, n_ranks].result()
        message = outcome.message
        self.assertIsNotNone(outcome.code, f"no end after {TIMEOUT} s; said so far: {outcome.out} {message}")
        self.assertEqual(outcome.code, 2, outcome.out + message)
        self.assertIsNone(NOISE.search(outcome.err), outcome.err)
        for part in case.expected:
            self.assertIn(part, message)
        lines = [line for line in message.split("\n") if line]
        self.assertEqual(len(lines), len(set(lines)), f"said more than once:\n{message}")
        self.assertEqual(outcome.out, "", "something was printed before the mistake was found")
        self.assertEqual(outcome.before, outcome.after, "files were left behind or changed")

    def test_the_base_of_all_cases_is_in_order(self):
        with tempfile.TemporaryDirectory() as name:
            for file in COMMON:
                shutil.copy(INVALID / file, name)
            code, out, err = finish(start(command("check", "base.prm"), name))
        self.assertEqual(code, 0, err)
        self.assertIn("The case is in order.", out)

    def test_every_case_says_what_it_expects(self):
        self.assertEqual([case.name for case in CASES if not case.expected], [])


def add_tests():
    for case in CASES:
        for n in case.ranks:
            setattr(Invalid, f"test_{case.name}_on_{n}", lambda self, case=case, n=n: self.judge(case, n))


def show(names):
    for case in CASES:
        if not names or case.name in names:
            outcome = case.run(1)
            print(f"== {case.name} ({outcome.code}, {outcome.seconds:.1f} s)\n{outcome.out}{outcome.message}\n")


add_tests()
if __name__ == "__main__":
    if sys.argv[1:2] == ["--show"]:
        show(sys.argv[2:])
    else:
        unittest.main()
