#!/usr/bin/env python3
"""Hands out tasks with data by Tidemill, HyperQueue and Ray, in turns on one machine, and prints tasks a second.

Each of the N tasks is given input bytes of its own and makes output bytes of its own. The time is from handing in the
first input, which is in the requester's memory or in its file by then, to the requester having the last output. Starting
each system, and some tasks to warm it up, are not in it. What differs is said in docs/benchmarks.md.

    pip install hyperqueue ray
    cargo build --release
    python3 docs/bench/rivals.py --tasks 2000 --input 4KiB --output 4KiB
"""

import argparse
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORKSPACE = Path(__file__).resolve().parents[2]
UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "kB": 10**3, "KB": 10**3, "MB": 10**6}
MOST_WARM_UP = 1000


def size(text):
    """Bytes, as Tidemill reads them: `4KiB`, `512 B`."""
    found = re.fullmatch(r"\s*(\d+)\s*([A-Za-z]+)\s*", text)
    if found is None or found[2] not in UNITS:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 4KiB or 512 B")
    count = int(found[1]) * UNITS[found[2]]
    if not 16 <= count <= 64 << 20:
        raise argparse.ArgumentTypeError("it must be 16 B to 64 MiB")
    return count


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=2000, metavar="N", help="tasks of each run [default: 2000]")
    parser.add_argument("--input", type=size, default="4KiB", metavar="SIZE", help="input of each task [default: 4KiB]")
    parser.add_argument("--output", type=size, default="4KiB", metavar="SIZE", help="output of each [default: 4KiB]")
    parser.add_argument("--slots", type=int, default=2, metavar="N", help="tasks at a time [default: 2]")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="runs of each system [default: 3]")
    parser.add_argument("--tidemill", type=Path, default=WORKSPACE / "target/release/tidemill", metavar="FILE")
    parser.add_argument("--directory", type=Path, metavar="DIR", help="where to keep files, on the disk to be measured")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    args = parser.parse_args()
    if min(args.tasks, args.slots, args.rounds) < 1:
        parser.error("--tasks, --slots and --rounds are 1 or more")
    return args


def inputs(count, length):
    """Bytes for each of so many tasks, no two alike."""
    return [os.urandom(length) for _ in range(count)]


def check(outputs, args):
    """A rate for tasks that did something else would be wrong."""
    wrong = [len(output) for output in outputs if len(output) != args.output]
    if wrong:
        raise SystemExit(f"{len(wrong)} of {len(outputs)} outputs have another length, like {wrong[0]} bytes")
    if len(set(outputs)) != len(outputs):
        raise SystemExit("two tasks made the same output")


@contextlib.contextmanager
def quiet():
    """Keeps away what a library prints from below Python."""
    sys.stdout.flush()
    kept, nothing = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    try:
        # And its bars of progress.
        with open(os.devnull, "w") as bars, contextlib.redirect_stderr(bars):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nothing)


def tidemill(args, place):
    """A coordinator and a provider of one slot for each slot, over QUIC, durable, in sandboxes."""
    command = [args.tidemill, "bench", "dispatch", "--json", "--singles", "1", "--directory", place]
    command += ["--tasks", args.tasks, "--providers", args.slots]
    command += ["--input", f"{args.input} B", "--output", f"{args.output} B"]
    # What it could not do is on its standard error.
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)["tasks_per_s"]


def hyperqueue(args, place):
    """A server and a worker. Each task is a process: inputs go to its standard input, its standard output to a file."""
    from hyperqueue import Job, LocalCluster
    from hyperqueue.cluster import WorkerConfig

    # All that HyperQueue offers for data are streams and files; a function would start a Python for each task.
    change = ["tr", "\\000-\\377", "\\001-\\377\\000"]
    replace = ["sh", "-c", f"cat > /dev/null; exec head -c {args.output} /dev/urandom"]
    program = change if args.input == args.output else replace

    def run(client, data, files):
        files.mkdir()
        paths = [files / str(number) for number in range(len(data))]
        begun = time.time()
        job = Job(max_fails=0)
        for given, path in zip(data, paths):
            job.program(program, stdin=given, stdout=str(path), stderr=None)
        client.wait_for_jobs([client.submit(job)])
        # Its client asks once a second whether the job is done, which is no fault of the tasks.
        ended = max(path.stat().st_mtime for path in paths)
        reading = time.time()
        outputs = [path.read_bytes() for path in paths]
        elapsed = ended - begun + time.time() - reading
        check(outputs, args)
        return elapsed

    config = WorkerConfig(cores=args.slots)
    with quiet(), LocalCluster(server_dir=str(place / "server"), worker_config=config) as cluster:
        client = cluster.client()
        run(client, inputs(warm_up(args), args.input), place / "warm-up")
        return args.tasks / run(client, inputs(args.tasks, args.input), place / "outputs")


def ray(args, _):
    """One node with a worker process for each slot. Inputs are arguments, outputs are what a function returns."""
    import ray as library

    def make(given, length):
        import random

        return random.Random(given).randbytes(length)

    def run(data):
        begun = time.perf_counter()
        outputs = library.get([task.remote(given, args.output) for given in data])
        elapsed = time.perf_counter() - begun
        check(outputs, args)
        return elapsed

    library.init(num_cpus=args.slots, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        task = library.remote(num_cpus=1)(make)
        run(inputs(warm_up(args), args.input))
        return args.tasks / run(inputs(args.tasks, args.input))
    finally:
        library.shutdown()


def warm_up(args):
    return min(args.tasks, MOST_WARM_UP)


def installed():
    """The rivals that are there, with their versions. What is missing is said."""
    found = {}
    for name, measure in [("hyperqueue", hyperqueue), ("ray", ray)]:
        if importlib.util.find_spec(name) is None:
            print(f"{name} is not installed and is left out: pip install {name}", file=sys.stderr)
        else:
            found[f"{name} {importlib.metadata.version(name)}"] = measure
    return found


def main():
    args = arguments()
    if not args.tidemill.is_file():
        raise SystemExit(f"there is no {args.tidemill}: cargo build --release")
    systems = {"tidemill": tidemill, **installed()}
    rates = {name: [] for name in systems}
    for number in range(args.rounds):
        for name, measure in systems.items():
            with tempfile.TemporaryDirectory(dir=args.directory, prefix="rivals-") as place:
                rates[name].append(round(measure(args, Path(place)), 1))
            print(f"round {number + 1}: {name} {rates[name][-1]:.0f} tasks/s", file=sys.stderr)
    # Within a round the machine was most alike for all.
    ratio = {
        name: statistics.median(ours / theirs for ours, theirs in zip(rates["tidemill"], rates[name]))
        for name in systems
    }
    if args.json:
        shape = {"tasks": args.tasks, "input_bytes": args.input, "output_bytes": args.output, "slots": args.slots}
        results = {name: {"tasks_per_s": rates[name], "tidemill_ratio": round(ratio[name], 2)} for name in systems}
        print(json.dumps({**shape, "systems": results}, indent=2))
        return
    print(f"{args.tasks} tasks, {args.input} B in and {args.output} B out, {args.slots} at a time")
    print("| system | tasks/s, the rounds | median | tidemill is faster |")
    print("| --- | --- | --- | --- |")
    for name in systems:
        rounds = ", ".join(f"{rate:.0f}" for rate in rates[name])
        times = "" if name == "tidemill" else f"{ratio[name]:.1f} times"
        print(f"| {name} | {rounds} | {statistics.median(rates[name]):.0f} | {times} |")


if __name__ == "__main__":
    main()
