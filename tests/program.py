"""Running the program in the tests of its command line and of bad input. Only Python's standard library is needed.

The program is that of $VARFIELD, or the one in build/release; $VARFIELD_MPIRUN starts it on several ranks.
"""
import os
import pathlib
import shlex
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
INVALID = ROOT / "tests" / "invalid"
PROGRAM = os.environ.get("VARFIELD", str(ROOT / "build" / "release" / "varfield"))
MPIRUN = shlex.split(os.environ.get("VARFIELD_MPIRUN", "mpirun --oversubscribe --bind-to none"))
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
               # Idle ranks leave the processor to others; a run without mpirun starts faster.
               "OMPI_MCA_mpi_yield_when_idle": "1", "OMPI_MCA_ess_singleton_isolated": "1"}
TIMEOUT = 60


def command(*arguments, ranks=1):
    launcher = [*MPIRUN, "-np", str(ranks)] if ranks > 1 else []
    return [*launcher, PROGRAM, *map(str, arguments)]


def start(words, folder):
    return subprocess.Popen(words, cwd=folder, env=ENVIRONMENT, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)


def finish(process, timeout=TIMEOUT):
    """Exit code (None: the time was up), output and messages."""
    with process:
        try:
            out, err = process.communicate(timeout=timeout)
            return process.returncode, out, err
        except subprocess.TimeoutExpired:
            process.terminate()  # mpirun ends its ranks
            try:
                out, err = process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = process.communicate()
            return None, out, err


class ScratchFolder(unittest.TestCase):
    """Tests in a folder of their own each, with these files of tests/invalid in it."""

    FILES = ("base.prm", "heads.csv")

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        for name in self.FILES:
            shutil.copy(INVALID / name, self.folder)

    def program(self, *arguments, code=0, ranks=1, timeout=TIMEOUT):
        """Runs it and returns what it wrote to its output and as messages."""
        found, out, err = finish(start(command(*arguments, ranks=ranks), self.folder), timeout)
        self.assertEqual(found, code, out + err)
        return out, err


def snapshot(folder):
    """Every file below a folder with its content."""
    folder = pathlib.Path(folder)
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def children(parent):
    """Process ids, ascending."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text()
        except OSError:
            continue  # it has ended
        if int(status.rpartition(")")[2].split()[1]) == parent:
            found.append(int(folder.name))
    return sorted(found)
