"""An agent that spends as fast as it can: rounds of 20 parallel streamed calls, until a whole round is refused.

Standard library only. It commits some work first and leaves some uncommitted; it ends with 1, as a script does whose
calls fail, and knows nothing of budgets.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

PARALLEL = 20
BODY = json.dumps(
    {
        "model": os.environ["HAIKUD_MODEL"],
        "max_tokens": 2000,
        "stream": True,
        "messages": [{"role": "user", "content": "Spend."}],
    }
).encode()
HEADERS = {
    "x-api-key": os.environ["ANTHROPIC_API_KEY"],
    "anthropic-version": "2023-06-01",
    "content-type": "application/json",
}


def call(statuses: list[int]) -> None:
    """One call, read to its end."""
    connection = http.client.HTTPConnection(urlsplit(os.environ["ANTHROPIC_BASE_URL"]).netloc, timeout=60)
    try:
        connection.request("POST", "/v1/messages", BODY, HEADERS)
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
    except (OSError, http.client.HTTPException):
        statuses.append(0)  # broken: the next round may do better
    finally:
        connection.close()


if __name__ == "__main__":
    with Path("calc.py").open("a") as file:
        file.write("# committed\n")
    subprocess.run(["git", "commit", "-qam", "Work"], check=True)
    Path("begun.txt").write_text("not committed\n")
    statuses: list[int] = [200]
    while {0, 200} & set(statuses):
        statuses = []
        threads = [threading.Thread(target=call, args=(statuses,)) for _ in range(PARALLEL)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sys.stdout.write(f"{sorted(statuses)}\n")
        sys.stdout.flush()
    sys.exit(1)
