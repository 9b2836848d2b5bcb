#!/usr/bin/env python3
"""How much faster a batch is on two ranks than on one: 200 members of 16 x 16 cells with data of their own seeds, 10 of them bad.

usage: benchmarks/batch.py [members]      the program is that of $VARFIELD, or the one in build/release
"""
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests"))
from program import INVALID, command, finish, start  # noqa: E402

members = int(sys.argv[1]) if len(sys.argv) > 1 else 200
with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    for file in ("base.prm", "heads.csv"):
        (folder / file).write_text((INVALID / file).read_text())
    rows = [f'm{k:03},base.prm,{k + 1},"16, 16",{"-1" if k % 20 == 1 else ""}\n' for k in range(members)]
    (folder / "members.csv").write_text("name,case,Random seed,Mesh/Subdivisions,Fields/log k/spde/Correlation length\n" + "".join(rows))
    seconds = []
    for ranks in (1, 2):
        begin = time.monotonic()
        code, out, err = finish(start(command("batch", "members.csv", "--output", f"on-{ranks}", ranks=ranks), folder), 3600)
        seconds.append(time.monotonic() - begin)
        summary = next(line for line in out.splitlines() if "bad input" in line and " in " in line)
        print(f"{ranks} rank{'s' if ranks > 1 else ''}: {seconds[-1]:.1f} s, exit code {code}: {summary}")
    print(f"{seconds[0] / seconds[1]:.2f} times faster on two")
