#!/usr/bin/env python3
"""Runs one model file by Tidemill's engine and by llama.cpp, in turns on one machine, and prints tokens a second.

A prompt of 233 tokens is read and 128 more are written, the most likely one each time, and sixteen requests with prompts
of 16 tokens are answered together with 64 each. Loading the model is not in it, and nothing of a prompt is kept from before. llama.cpp is the PyPI
package xllamacpp, as it is published.

    pip install xllamacpp
    cargo xtask models
    cargo build --release
    python3 docs/bench/infer-rivals.py --threads 2
"""

import argparse
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

WORKSPACE = Path(__file__).resolve().parents[2]
# As `tidemill bench infer` has them.
PROMPT, ANSWER, TOGETHER, SHORT_PROMPT, TOGETHER_ANSWER = 233, 128, 16, 16, 64
FIGURES = ["prompt_tok_s", "decode_tok_s", "batch16_tok_s"]


def default_model():
    home = os.environ.get("TIDEMILL_HOME")
    cache = Path(home) if home else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tidemill"
    return cache / "models/smollm2/model.gguf"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=default_model(), metavar="FILE", help="a GGUF file")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), metavar="N", help="[default: one for each core]")
    parser.add_argument("--isa", metavar="NAME", help="instruction set of Tidemill's engine [default: the fastest]")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="runs of each engine [default: 5]")
    parser.add_argument("--seconds", type=int, default=3, metavar="N", help="of each of Tidemill's runs [default: 3]")
    parser.add_argument("--tidemill", type=Path, default=WORKSPACE / "target/release/tidemill", metavar="FILE")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    args = parser.parse_args()
    for path, how in [(args.model, "cargo xtask models"), (args.tidemill, "cargo build --release")]:
        if not path.is_file():
            parser.error(f"there is no {path}: {how}")
    return args


def tidemill(args):
    command = [args.tidemill, "bench", "infer", "--json", "--model", args.model, "--threads", args.threads]
    command += ["--seconds", args.seconds] + (["--isa", args.isa] if args.isa else [])
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


class LlamaCpp:
    """Its server, in this process; requests and answers do not pass HTTP."""

    def __init__(self, args):
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(args.model)
        params.n_ctx = TOGETHER * 512
        params.n_parallel = TOGETHER
        params.n_gpu_layers = 0
        params.cpuparams.n_threads = args.threads
        params.cpuparams_batch.n_threads = args.threads
        params.verbosity = 0
        self.server = xllamacpp.Server(params)
        self.number = 0

    def timings(self, prompt, answer):
        self.number += 1
        # Tokens that no earlier request had.
        prompt = [(1000 + self.number * 7919 + at * 37 % 5000) % 40000 for at in range(prompt)]
        return self.answer(prompt, answer)["timings"]

    def answer(self, prompt, answer):
        request = {
            "prompt": prompt,
            "n_predict": answer,
            "temperature": 0,
            "ignore_eos": True,
            "cache_prompt": False,
        }
        body = self.server.handle_completions(request)
        body = json.loads(body) if isinstance(body, (str, bytes)) else body
        if "timings" not in body:
            raise SystemExit(f"llama.cpp gave no answer: {body}")
        return body

    def measure(self):
        alone = self.timings(PROMPT, ANSWER)
        with ThreadPoolExecutor(TOGETHER) as threads:
            lengths = [SHORT_PROMPT] * TOGETHER, [TOGETHER_ANSWER] * TOGETHER
            together = list(threads.map(self.timings, *lengths))
        # All answers are written at the same time, once their short prompts are read.
        written = sum(timing["predicted_n"] for timing in together)
        return {
            "prompt_tok_s": alone["prompt_per_second"],
            "decode_tok_s": alone["predicted_per_second"],
            "batch16_tok_s": written / max(timing["predicted_ms"] for timing in together) * 1000,
        }


def main():
    args = arguments()
    try:
        version = importlib.metadata.version("xllamacpp")
    except importlib.metadata.PackageNotFoundError:
        raise SystemExit("llama.cpp is not installed: pip install xllamacpp") from None
    llama = LlamaCpp(args)
    llama.measure()
    rounds = []
    for number in range(args.rounds):
        ours, theirs = tidemill(args), llama.measure()
        rounds.append((ours, theirs))
        said = ", ".join(f"{figure} {ours[figure]:.0f} beside {theirs[figure]:.0f}" for figure in FIGURES)
        print(f"round {number + 1}: {said}", file=sys.stderr)
        time.sleep(0.5)
    # Within a round the machine was most alike for both.
    ratio = {f: statistics.median(ours[f] / theirs[f] for ours, theirs in rounds) for f in FIGURES}
    first = rounds[0][0]
    own = {f: statistics.median(ours[f] for ours, _ in rounds) for f in [*FIGURES, "check_ratio", "ttft_ms"]}
    rival = {f: statistics.median(theirs[f] for _, theirs in rounds) for f in FIGURES}
    if args.json:
        shape = {name: first[name] for name in ("model", "isa", "threads")}
        print(json.dumps({**shape, "rounds": args.rounds, "rival": f"xllamacpp {version}", "tidemill": own,
                          "llama_cpp": rival, "ratio": ratio}, indent=2))
        return
    print(f"{first['model']}, {first['threads']} threads, {args.rounds} rounds, xllamacpp {version}")
    print(f"| | Tidemill ({first['isa']}) | llama.cpp | ratio |")
    print("| --- | --- | --- | --- |")
    for figure in FIGURES:
        print(f"| {figure} | {own[figure]:.0f} | {rival[figure]:.0f} | {ratio[figure]:.2f} |")
    print(f"| check_ratio | {own['check_ratio']:.2f} | | |")
    print(f"| ttft_ms | {own['ttft_ms']:.0f} | | |")


if __name__ == "__main__":
    main()
