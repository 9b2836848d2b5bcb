"""Runs the program on configurations and keeps what they cost, one JSON object a line.

A configuration is a case, overrides of its parameters, a number of ranks and a number of repetition; its key says all
of this, and a key that is in the results file is not run again. Only Python's standard library is needed.
"""
import csv
import dataclasses
import datetime
import json
import math
import os
import pathlib
import platform
import shlex
import signal
import subprocess
import tempfile
import threading
import time

import petsc_log

ROOT = pathlib.Path(__file__).resolve().parent.parent
RUN_IS_COMPLETE = (0, 4, 5)  # exit codes: converged; finished without convergence; converged, but not to be trusted


class UserError(Exception):
    """What the user can put right; main() prints it and returns 2."""


@dataclasses.dataclass(frozen=True)
class Configuration:
    """One run. `settings` are pairs (parameter, value), as for --set."""

    settings: tuple
    case: str = "ld100"
    ranks: int = 1
    repetition: int = 0
    counts_messages: bool = False

    def key(self):
        parts = [self.case, f"{self.ranks} ranks"] + [f"{name}={value}" for name, value in sorted(self.settings)]
        if self.repetition:
            parts.append(f"repetition {self.repetition}")
        if self.counts_messages:
            parts.append("messages counted")
        return " | ".join(parts)

    def repeated(self, repetition):
        return dataclasses.replace(self, repetition=repetition)


@dataclasses.dataclass(frozen=True)
class Launcher:
    """How the program is started."""

    program: pathlib.Path
    mpirun: str
    time_limit: float

    def is_open_mpi(self):
        """Whether ranks are started by Open MPI's mpirun, which can count messages."""
        version = subprocess.run(
            shlex.split(self.mpirun)[:1] + ["--version"], capture_output=True, text=True, check=False
        )
        return "Open MPI" in version.stdout

    def command(self, configuration, output, monitoring=None):
        """`monitoring`: file name for Open MPI's count of messages."""
        command = []
        if configuration.ranks > 1:
            command += shlex.split(self.mpirun.format(ranks=configuration.ranks))
            if monitoring is not None and self.is_open_mpi():
                command += [
                    "--mca",
                    "pml_monitoring_enable",
                    "2",
                    "--mca",
                    "pml_monitoring_enable_output",
                    "3",
                    "--mca",
                    "pml_monitoring_filename",
                    str(monitoring),
                ]
        command += [str(self.program), str(ROOT / "parameter_files" / configuration.case / f"{configuration.case}.prm")]
        for name, value in configuration.settings + (("Output/Directory", str(output)),):
            command += ["--set", f"{name}={value}"]
        return command


def machine():
    """What the numbers depend on; the load tells whether others were at work."""
    model, cores = platform.processor() or platform.machine(), os.cpu_count()
    memory = None
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
        for line in pathlib.Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("MemTotal"):
                memory = round(int(line.split()[1]) / 1e6, 1)
    except OSError:
        pass
    return {
        "processor": model,
        "cores": cores,
        "memory_gb": memory,
        "system": f"{platform.system()} {platform.release()}",
        "load_before": round(os.getloadavg()[0], 2),
    }


def environment():
    result = dict(os.environ, OMP_NUM_THREADS="1")
    if os.geteuid() == 0:
        result.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    return result


def timed_run(command, env, time_limit, log):
    """Exit code, wall seconds and the peak memory in MB of the largest process (mpirun waits for its ranks, so theirs
    is counted); the exit code is None at the time limit."""
    expired = threading.Event()
    begin = time.monotonic()
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=env, cwd=ROOT, start_new_session=True)

    def stop():
        expired.set()
        os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(time_limit, stop)
    timer.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    finally:
        timer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    return (None if expired.is_set() else process.returncode, time.monotonic() - begin, usage.ru_maxrss / 1024)


ITERATION_TEXTS = ("phase", "mesh")
ITERATION_NUMBERS = (
    "iteration",
    "objective",
    "error",
    "rank",
    "factorizations",
    "state_solves",
    "linear_solves",
    "seconds",
)


def read_iterations(path):
    """The columns that are kept of convergence.csv, row by row; iterations() makes dictionaries of them again."""
    with open(path, newline="", encoding="utf-8") as file:
        return [
            [row[key] for key in ITERATION_TEXTS] + [float(row[key]) for key in ITERATION_NUMBERS]
            for row in csv.DictReader(file)
        ]


def iterations(record, phase):
    rows = (dict(zip(ITERATION_TEXTS + ITERATION_NUMBERS, row)) for row in record["iterations"])
    return [row for row in rows if row["phase"] == phase]


def six_digits(value):
    """Numbers of a record, shortened, as JSON can hold them."""
    if isinstance(value, dict):
        return {key: six_digits(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [six_digits(v) for v in value]
    if isinstance(value, float):
        short = float(f"{value:.6g}") if abs(value) < 1e6 else round(value, 1)
        return None if not math.isfinite(value) else int(short) if short == int(short) else short
    return value


def slim(stages):
    """Seconds with three digits, numbers of nothing left out: results files are kept under version control."""
    for stage in stages:
        stage["seconds"] = {kind: float(f"{s:.3g}") for kind, s in stage["seconds"].items() if s >= 1e-4}
        stage["counts"] = {kind: int(n) for kind, n in stage["counts"].items() if n > 0}
    return stages


def run(configuration, launcher):
    """The record of one run."""
    with tempfile.TemporaryDirectory(prefix="varfield-benchmark-") as folder:
        folder = pathlib.Path(folder)
        env = environment()
        monitoring = None
        if configuration.counts_messages:
            env["PETSC_OPTIONS"] = f"{env.get('PETSC_OPTIONS', '')} -log_view :{folder / 'petsc.py'}:ascii_info_detail"
            monitoring = folder / "monitoring"
        command = launcher.command(configuration, folder / "output", monitoring)
        record = {
            "key": configuration.key(),
            "configuration": dataclasses.asdict(configuration),
            "machine": machine(),
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        }
        with open(folder / "log", "w+", encoding="utf-8") as log:
            code, record["wall_seconds"], record["peak_memory_mb"] = timed_run(command, env, launcher.time_limit, log)
            log.seek(0)
            last_lines = log.read()[-2000:]
        record["exit_code"] = code
        if code not in RUN_IS_COMPLETE:
            record["failed"] = f"time limit of {launcher.time_limit:.0f} s" if code is None else f"exit code {code}"
            record["last_lines"] = last_lines
            return record
        summary = json.loads((folder / "output" / "summary.json").read_text(encoding="utf-8"))
        for name in (
            "version",
            "git_commit",
            "ranks",
            "groups",
            "cells",
            "state_unknowns",
            "measurements",
            "map",
            "inference",
            "elbo",
            "cost",
            "stages",
        ):
            record[name] = summary.get(name)
        slim(record["stages"])
        record["iterations"] = read_iterations(folder / "output" / "convergence.csv")
        if configuration.counts_messages:
            record["petsc"] = petsc_log.read(folder / "petsc.py")
            record["mpi"] = petsc_log.read_monitoring(folder, "monitoring") if configuration.ranks > 1 else None
        return record


class Results:
    """The records of a results file, by key; a later line replaces an earlier one of the same key."""

    def __init__(self, path):
        self.path = path
        self.records = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                record = json.loads(line)
                self.records[record["key"]] = record

    def add(self, record):
        record = six_digits(record)
        self.records[record["key"]] = record
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record, allow_nan=False, separators=(",", ":")) + "\n")

    def get(self, configuration):
        """The record of a run that is there and complete, else None."""
        record = self.records.get(configuration.key())
        return None if record is None or "failed" in record else record

    def failure(self, configuration):
        return self.records.get(configuration.key(), {}).get("failed")


# What records say


def stages(record, *names):
    """The stages whose name begins with one of `names`: as "MAP, 1024 cells" does with "MAP"."""
    return [s for s in record["stages"] if not names or s["name"].split(",")[0] in names]


def count(stage_list, kind):
    return sum(s["counts"].get(kind, 0) for s in stage_list)


def seconds(stage_list):
    return sum(s["total_seconds"] for s in stage_list)


def cells_of(stage, record):
    """Cells of the mesh that a stage is on; the finest where it does not say."""
    words = stage["name"].replace(",", "").split()
    return int(words[-2]) if words[-1] == "cells" else record["cells"]


INFERENCE = ("set-up", "set-up of coarse meshes", "transfer", "MAP", "Laplace", "natural gradient", "stochastic")
DRAWS = ("draws of the posterior",)
AFTERWARDS = ("pointwise variances", "output")
