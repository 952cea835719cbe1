# Sends the JSON of standard input with urllib: get.py SERVER TOKEN KIND
import base64
import sys
from urllib.parse import urlencode
from urllib.request import urlopen

server, token, kind = sys.argv[1:]
data = base64.b64encode(sys.stdin.buffer.read())
query = urlencode({"api_token": token, "data": data})
with urlopen(f"{server}/v1/{kind}/track?{query}") as answer:
    print(answer.read().decode())
