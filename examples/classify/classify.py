#!/usr/bin/env python3
"""Makes requests of lines of text, each to be answered by JSON of a schema, and prints the answers as a table.

    python3 classify.py requests messages.txt > requests.jsonl
    python3 classify.py answers ../../out/classify
"""

import json
import sys
from pathlib import Path

ASK = "Which department should answer this message of a customer, and how urgent is it?\n\n"
SCHEMA = {
    "type": "object",
    "properties": {
        "department": {"enum": ["billing", "delivery", "repairs", "other"]},
        "urgent": {"type": "boolean"},
    },
    "required": ["department", "urgent"],
    "additionalProperties": False,
}


def requests(path):
    for number, text in enumerate(Path(path).read_text().splitlines()):
        body = {
            "model": "smollm2",
            "messages": [{"role": "user", "content": ASK + text}],
            "response_format": {"type": "json_schema", "json_schema": {"name": "message", "schema": SCHEMA}},
            "max_tokens": 40,
            "temperature": 0,
        }
        line = {"custom_id": f"{number:03}", "method": "POST", "url": "/v1/chat/completions", "body": body}
        print(json.dumps(line))


def answers(folder):
    for path in sorted(Path(folder).rglob("output.jsonl")):
        for line in path.read_text().splitlines():
            answer = json.loads(line)
            # The schema holds whatever the model says, so this cannot fail.
            found = json.loads(answer["response"]["body"]["choices"][0]["message"]["content"])
            print(f"{answer['custom_id']}  {found['department']:10}{'urgent' if found['urgent'] else ''}")


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("requests", "answers"):
        sys.exit(__doc__)
    (requests if sys.argv[1] == "requests" else answers)(sys.argv[2])
