#!/usr/bin/env python3
"""Makes requests of a folder of texts, and prints the answers, one line for each text.

    python3 summarise.py requests texts > requests.jsonl
    python3 summarise.py answers ../../out/summarise
"""

import json
import sys
from pathlib import Path

ASK = "Summarise the following text in one short sentence.\n\n"


def requests(folder):
    for path in sorted(Path(folder).glob("*.txt")):
        body = {
            "model": "smollm2",
            "messages": [{"role": "user", "content": ASK + path.read_text()}],
            "max_tokens": 60,
            "temperature": 0,
        }
        line = {"custom_id": path.stem, "method": "POST", "url": "/v1/chat/completions", "body": body}
        print(json.dumps(line))


def answers(folder):
    for path in sorted(Path(folder).rglob("answers.jsonl")):
        for line in path.read_text().splitlines():
            answer = json.loads(line)
            message = answer["response"]["body"]["choices"][0]["message"]["content"]
            print(f"{answer['custom_id']:12}  {' '.join(message.split())}")


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("requests", "answers"):
        sys.exit(__doc__)
    (requests if sys.argv[1] == "requests" else answers)(sys.argv[2])
