#!/usr/bin/env python3
"""Makes requests of the sentences of documents, and finds the sentences that are closest to a question.

    python3 search.py requests ../../docs/threat-model.md ../../docs/network.md ../../docs/economics.md > requests.jsonl
    python3 search.py query ../../out/search "what happens to a provider that lies?"

A query is embedded as the sentences were, by `tidemill run --here`.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Sentences of one request: they are read together.
TOGETHER = 16


def sentences(paths):
    """The sentences of Markdown files, without tables, code and headings."""
    files = [path for name in paths for path in ([Path(name)] if Path(name).is_file() else sorted(Path(name).rglob("*.md")))]
    for path in files:
        text = re.sub(r"```.*?```", " ", path.read_text(), flags=re.S)
        lines = [line for line in text.splitlines() if not line.startswith(("|", "#", ">"))]
        for paragraph in re.split(r"\n\s*\n|\n\s*- ", "\n".join(lines)):
            words = re.sub(r"\[([^]]*)\]\([^)]*\)|\*\*", r"\1", " ".join(paragraph.split()))
            for sentence in re.split(r"(?<=[.?!])\s+(?=[A-Z])", words):
                # What is longer than the model reads is left out.
                if 40 <= len(sentence) <= 600:
                    yield sentence


def request(name, texts):
    body = {"model": "minilm", "input": texts}
    return {"custom_id": name, "method": "POST", "url": "/v1/embeddings", "body": body}


def requests(paths):
    known = list(dict.fromkeys(sentences(paths)))
    for at in range(0, len(known), TOGETHER):
        print(json.dumps(request(f"{at:06}", known[at : at + TOGETHER])))


def vectors(folder, asked):
    """Texts with their vectors: the answers in a folder to the requests of a file."""
    lines = (json.loads(line) for line in Path(asked).read_text().splitlines())
    texts = {line["custom_id"]: line["body"]["input"] for line in lines}
    for path in sorted(Path(folder).rglob("output.jsonl")):
        for line in path.read_text().splitlines():
            answer = json.loads(line)
            found = answer["response"]["body"]["data"]
            yield from zip(texts[answer["custom_id"]], (one["embedding"] for one in found))


def query(folder, question):
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        job = (HERE / "job.toml").read_text().replace('name = "search"', 'name = "query"', 1)
        (place / "job.toml").write_text(job)
        (place / "requests.jsonl").write_text(json.dumps(request("query", [question])) + "\n")
        command = ["tidemill", "run", "--here", "--out", place / "out", place / "job.toml"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        [(_, wanted)] = vectors(place / "out", place / "requests.jsonl")
    # Vectors have length 1, so their product is the cosine of the angle between them.
    scored = [(sum(a * b for a, b in zip(wanted, vector)), text) for text, vector in vectors(folder, HERE / "requests.jsonl")]
    for score, text in sorted(scored, reverse=True)[:5]:
        print(f"{score:.2f}  {text}")


if __name__ == "__main__":
    if len(sys.argv) >= 3 and sys.argv[1] == "requests":
        requests(sys.argv[2:])
    elif len(sys.argv) == 4 and sys.argv[1] == "query":
        query(sys.argv[2], sys.argv[3])
    else:
        sys.exit(__doc__)
