#!/usr/bin/env python3
"""Measures what varfield costs: solves, factorisations, seconds, memory, messages, against mesh, ranks, draws, family
and optimiser.

  benchmarks/run.py --list              # the suites
  benchmarks/run.py mesh --quick        # a small version of one suite, in a minute or two
  benchmarks/run.py                     # everything: hours; results that are there are not made again

Tables (Markdown), figures (PNG) and results.jsonl, with everything that was measured, go to benchmark-output/.
"""
import argparse
import os
import pathlib
import re
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import harness  # noqa: E402
import suites  # noqa: E402
import tables  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", nargs="*", help="names of suites; none: all")
    parser.add_argument("--list", action="store_true", help="list the suites and their number of runs, and end")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="small versions, minutes")
    size.add_argument("--full", action="store_true", help="with the largest problems")
    parser.add_argument(
        "--results", type=pathlib.Path, default=pathlib.Path("benchmark-output"), help="folder for results"
    )
    parser.add_argument("--again", action="store_true", help="run what is there already once more")
    parser.add_argument(
        "--report-only", action="store_true", help="no runs: tables and figures of the results that are there"
    )
    parser.add_argument(
        "--insert",
        type=pathlib.Path,
        metavar="FILE",
        help="put the report of a suite also into this file, between <!-- begin SUITE --> and <!-- end SUITE -->",
    )
    parser.add_argument("--program", type=pathlib.Path, default=harness.ROOT / "build" / "release" / "varfield")
    parser.add_argument(
        "--mpirun", default="mpirun --oversubscribe --bind-to none -np {ranks}", help="how ranks are started"
    )
    parser.add_argument("--time-limit", type=float, default=7200, help="seconds after which a run is ended")
    return parser.parse_args()


def chosen_suites(names):
    unknown = [name for name in names if name not in suites.SUITES]
    if unknown:
        raise harness.UserError(f"There is no suite '{unknown[0]}'. The suites are {', '.join(suites.SUITES)}.")
    return {name: suites.SUITES[name] for name in names or suites.SUITES}


def size_of(options):
    return "quick" if options.quick else "full" if options.full else "default"


def list_suites(options):
    for name, suite in suites.SUITES.items():
        numbers = [len(suite.configurations(size)) for size in ("quick", "default", "full")]
        print(f"{name:12} {suite.__doc__.splitlines()[0]}")
        print(f"{'':12} runs: {numbers[0]} quick, {numbers[1]} default, {numbers[2]} full")


def make_runs(configurations, results, launcher, again):
    missing = [c for c in configurations if again or c.key() not in results.records]
    for done, configuration in enumerate(missing):
        print(f"  {done + 1}/{len(missing)}  {configuration.key()}", end="", flush=True)
        begin = time.monotonic()
        record = harness.run(configuration, launcher)
        results.add(record)
        print(
            f"  {time.monotonic() - begin:.1f} s{'  FAILED: ' + record['failed'] if 'failed' in record else ''}",
            flush=True,
        )


def insert(path, name, body, folder):
    """Replaces what is between the two marks of a suite in a document; figures are found from there."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    text = path.read_text(encoding="utf-8")
    if begin not in text or end not in text:
        raise harness.UserError(f"{path}: has no lines '{begin}' and '{end}'.")
    body = re.sub(r"\]\((\w+\.png)\)", lambda m: f"]({os.path.relpath(folder / m[1], path.parent)})", body)
    path.write_text(
        text[: text.index(begin)] + f"{begin}\n\n{body.strip()}\n\n" + text[text.index(end) :], encoding="utf-8"
    )


def write_report(name, suite, configurations, results, options):
    body = suite.report(configurations, results, options.results)
    failures = [f"- {c.key()}: {results.failure(c)}" for c in configurations if results.failure(c)]
    if failures:
        body += "\nFailed:\n\n" + "\n".join(failures) + "\n"
    missing = sum(c.key() not in results.records for c in configurations)
    if missing:
        body += f"\n{missing} of {len(configurations)} runs are missing.\n"
    body += "\n" + tables.source([results.get(c) for c in configurations])
    size = "" if size_of(options) == "default" else f" --{size_of(options)}"
    body += f"\nMade by `benchmarks/run.py {name}{size} --results {options.results}`.\n"
    text = f"# {name}: {suite.__doc__.strip()}\n\n{body}"
    (options.results / f"{name}.md").write_text(text, encoding="utf-8")
    if options.insert:
        insert(options.insert, name, body, options.results)
    print("\n" + text)


def main():
    options = arguments()
    if options.list:
        list_suites(options)
        return 0
    chosen = chosen_suites(options.suite)
    if not options.report_only and not options.program.exists():
        raise harness.UserError(
            f"{options.program}: is not there. Build it with scripts/build.sh, or name it with --program."
        )
    options.results.mkdir(parents=True, exist_ok=True)
    launcher = harness.Launcher(options.program.resolve(), options.mpirun, options.time_limit)
    results = harness.Results(options.results / "results.jsonl")
    if tables.pyplot() is None:
        print(f"{sys.executable} has no matplotlib: no figures. Debian's python3-matplotlib is for /usr/bin/python3.")
    failed = False
    for name, suite in chosen.items():
        configurations = suite.configurations(size_of(options))
        if not options.report_only:
            print(f"{name}: {len(configurations)} runs", flush=True)
            make_runs(configurations, results, launcher, options.again)
        write_report(name, suite, configurations, results, options)
        failed = failed or any(results.failure(c) for c in configurations)
    print(f"Tables and figures: {options.results}/")
    return 1 if failed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))  # ends the run at hand too
    try:
        sys.exit(main())
    except harness.UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
