#!/usr/bin/env python3
"""Every case in tests/invalid/ holds one mistake: the program has to end with exit code 2 and one clear message, on one rank and
on three, without a hang and without leaving anything behind. Only Python's standard library is needed.

A case is a parameter file whose comments say what is to happen:

    # expect: a part of the message (at least one; all have to be found)
    # run: check              the subcommand; without it the case is run
    # arguments: --set "…"    more arguments of the command line
    # ranks: 3                in place of 1 and 3
    # folder: wells.csv       an empty folder that is made before the run
    # file: wells.csv         a file that is written before the run; its lines follow after “#| ”

The program is that of $VARFIELD, or the one in build/release. `test_invalid.py --show [NAME …]` prints the messages to read them.
"""
import concurrent.futures
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
PROGRAM = os.environ.get("VARFIELD", str(HERE.parent / "build" / "release" / "varfield"))
MPIRUN = shlex.split(os.environ.get("VARFIELD_MPIRUN", "mpirun --oversubscribe --bind-to none"))
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
               "OMPI_MCA_ess_singleton_isolated": "1"}  # a run without mpirun starts faster
TIMEOUT = 60
AT_ONCE = 2
COMMON = ("base.prm", "heads.csv")
# What only a crash or an unclean end of MPI or PETSc says.
NOISE = re.compile(r"terminate called|MPI_ABORT|MPI_Abort|Segmentation|PETSC ERROR|after MPI_FINALIZE|Skipping MPI_Finalize|"
                   r"Unexpected failure|Stacktrace|stack trace|An error occurred in|Exception on processing|Signal:|_M_|dealii::",
                   re.IGNORECASE)


class Case:
    def __init__(self, path):
        self.name, self.path = path.stem, path
        self.expected, self.arguments, self.action, self.ranks = [], [], [], [1, 3]
        self.files, self.folders = {}, []
        lines = None
        for line in path.read_text().splitlines():
            if line.startswith("#|") and lines is not None:
                lines.append(line[3:])
                continue
            match = re.match(r"# (expect|run|arguments|ranks|folder|file): (.*)", line)
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
        command = [PROGRAM, *self.action, self.path.name, *self.arguments]
        if n_ranks == 1:
            return command
        # One group shares the mesh between the ranks, so that some mistakes are met by one of them alone.
        if "Sample groups" not in self.path.read_text():
            command += ["--set", "Parallel/Sample groups=1"]
        return [*MPIRUN, "-np", str(n_ranks), *command]

    def run(self, n_ranks):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            self.prepare(folder)
            before = snapshot(folder)
            begin = time.monotonic()
            code, out, err = run(self.command(n_ranks), folder)
            return Outcome(code, out, err, before, snapshot(folder), time.monotonic() - begin)


class Outcome:
    def __init__(self, code, out, err, before, after, seconds):
        self.code, self.out, self.before, self.after, self.seconds = code, out, before, after, seconds
        # mpirun's own lines come last, between rules.
        self.message = re.split(r"^-{60,}$", err, maxsplit=1, flags=re.MULTILINE)[0].strip()


def snapshot(folder):
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def run(command, folder):
    """Exit code (None: the time was up), output and messages."""
    with subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:
        try:
            out, err = process.communicate(timeout=TIMEOUT)
            return process.returncode, out, err
        except subprocess.TimeoutExpired:
            process.terminate()  # mpirun ends its ranks
            try:
                out, err = process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = process.communicate()
            return None, out, err


CASES = [Case(path) for path in sorted((HERE / "invalid").glob("*.prm")) if path.name not in COMMON]


class Invalid(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            cls.outcomes = {(case.name, n): pool.submit(case.run, n) for case in CASES for n in case.ranks}

    maxDiff = None

    def judge(self, case, n_ranks):
        outcome = self.outcomes[case.name, n_ranks].result()
        message = outcome.message
        self.assertIsNotNone(outcome.code, f"no end after {TIMEOUT} s; said so far: {outcome.out} {message}")
        self.assertEqual(outcome.code, 2, outcome.out + message)
        self.assertIsNone(NOISE.search(message), message)
        for part in case.expected:
            self.assertIn(part, message)
        lines = [line for line in message.split("\n") if line]
        self.assertEqual(len(lines), len(set(lines)), f"said more than once:\n{message}")
        self.assertEqual(outcome.out, "", "something was printed before the mistake was found")
        self.assertEqual(outcome.before, outcome.after, "files were left behind or changed")

    def test_the_base_of_all_cases_is_in_order(self):
        with tempfile.TemporaryDirectory() as name:
            for file in COMMON:
                shutil.copy(HERE / "invalid" / file, name)
            code, out, err = run([PROGRAM, "check", "base.prm"], name)
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
