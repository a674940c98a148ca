#!/usr/bin/env python3
"""Counts what each message costs (see counts.rs), and compares it with the table in COUNTS.md.

Fails when a count has grown by more than --within percent. With --accept the new counts become
the table. Needs valgrind and gungraun-runner, in the version that Cargo.lock has of gungraun.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys

TABLE = pathlib.Path(__file__).parent / "COUNTS.md"
# Each bench does its thing a thousand times.
TIMES = 1000
# Counts this small may change by as much without a reason.
SLACK = {"instructions": 10, "allocations": 0.1, "bytes": 10}
ROW = re.compile(r"^\| ([a-z]+ [a-z_]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", re.MULTILINE)


def measured():
    command = ["cargo", "bench", "--bench", "counts", "--", "--output-format=json"]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode:
        sys.exit(f"{' '.join(command)} failed")
    counts = {}
    for bench in map(json.loads, run.stdout.splitlines()):
        of = {tool["tool"]: tool["data"]["total"]["metrics"] for tool in bench["profiles"]}
        counts[f"{bench['function_name']} {bench['id']}"] = {
            "instructions": latest(of["Callgrind"]["Ir"]),
            "allocations": latest(of["DHAT"]["TotalBlocks"]),
            "bytes": latest(of["DHAT"]["TotalBytes"]),
        }
    return counts


def latest(metric):
    return metric["values"]["new"] / TIMES


def committed():
    rows = ROW.findall(TABLE.read_text())
    return {name: dict(zip(SLACK, map(float, counts))) for name, *counts in rows}


def row(name, count):
    return "| {} | {:.0f} | {:.1f} | {:.0f} |".format(name, *count.values())


def accept(counts):
    rows = "\n".join(row(name, count) for name, count in counts.items())
    text = TABLE.read_text()
    header = text[: text.index("| --- |")]
    rule = "| --- | ---: | ---: | ---: |"
    TABLE.write_text(f"{header}{rule}\n{rows}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--within", type=float, default=20, metavar="PERCENT")
    parser.add_argument("--accept", action="store_true")
    options = parser.parse_args()
    counts = measured()
    grown = [f"{name} is not in the other" for name in counts.keys() ^ committed().keys()]
    for name, count in counts.items():
        print(row(name, count))
        for what, before in committed().get(name, {}).items():
            if count[what] > before * (1 + options.within / 100) + SLACK[what]:
                grown.append(f"{name}: {what} from {before:g} to {count[what]:g}")
    if options.accept:
        accept(counts)
    elif grown:
        sys.exit("\n".join(["", *grown, f"If that is right: {sys.argv[0]} --accept"]))


if __name__ == "__main__":
    main()
