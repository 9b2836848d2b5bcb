"""Reads what PETSc's log and Open MPI's monitoring count."""
import json
import re

LINE = re.compile(r'Stages\["(?P<stage>[^"]+)"\]\["(?P<event>[^"]+)"\]\[(?P<rank>\d+)\] = (?P<numbers>\{.*\})')
EVENTS = (
    "summary",
    "MatMult",
    "MatMultTranspose",
    "MatAssemblyBegin",
    "BuildTwoSided",
    "BuildTwoSidedF",
    "SFSetUp",
    # The program's own.
    "multigrid CG",
    "multigrid CG, block",
    "multigrid cycle",
    "multigrid cycle, block",
    "multigrid set-up",
    "Jacobi CG",
    "ghost values",
    "MUMPS factorisation",
    "MUMPS solve",
    "solution home",
)  # those that are kept
FIELDS = {
    "count": "count",
    "messages": "numMessages",
    "bytes": "messageLength",
    "reductions": "numReductions",
    "flop": "flop",
}


def read(path):
    """{stage: {event: {count, messages, bytes, reductions, flop}}} of a log that -log_view :file:ascii_info_detail
    wrote. The event "summary" is the whole stage. Messages, bytes and flop are sums over the ranks, and in `*_max` the
    largest of any rank; counts and reductions are those of the first rank. The file has messages sent plus received:
    half of them are counted here. Messages to the own rank are among them."""
    result = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        match = LINE.match(line)
        if not match or match["event"] not in EVENTS:
            continue
        numbers = json.loads(re.sub(r"(\d)\.(?=[,}\s])", r"\1.0", match["numbers"]))
        if match["event"] != "summary" and numbers.get("count", 0) == 0:
            continue
        event = result.setdefault(match["stage"], {}).setdefault(
            match["event"], {name: 0 for name in FIELDS} | {"messages_max": 0, "bytes_max": 0, "flop_max": 0}
        )
        for name, theirs in FIELDS.items():
            value = numbers.get(theirs, 0) / (2 if name in ("messages", "bytes") else 1)
            if name in ("count", "reductions"):
                event[name] = value if match["rank"] == "0" else event[name]
            else:
                event[name] += value
                event[name + "_max"] = max(event[name + "_max"], value)
    return result


def read_monitoring(folder, name):
    """{kind: {messages, bytes}} sent by all ranks: "point to point" by the libraries and the program themselves, of
    these "to the own rank", and "collective" by collective operations as Open MPI carries them out; None if there are
    no files."""
    totals = {kind: {"messages": 0, "bytes": 0} for kind in ("point to point", "to the own rank", "collective")}
    paths = sorted(folder.glob(f"{name}*.prof"))
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            words = line.split()
            if len(words) < 7 or words[0] not in ("E", "I"):
                continue
            kinds = ["point to point"] if words[0] == "E" else ["collective"]
            if words[0] == "E" and words[1] == words[2]:
                kinds.append("to the own rank")
            for kind in kinds:
                totals[kind]["messages"] += int(words[5])
                totals[kind]["bytes"] += int(words[3])
    return totals if paths else None
