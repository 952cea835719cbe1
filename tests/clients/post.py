# Posts the JSON of standard input with urllib: post.py SERVER TOKEN KIND WAY
import base64
import gzip
import sys
from urllib.parse import urlencode
from urllib.request import Request, urlopen

server, token, kind, way = sys.argv[1:5]
url = f"{server}/v1/{kind}/track"
json = sys.stdin.buffer.read()
if way == "form":
    # It says of any body that it is a form, unless told otherwise.
    request = Request(url, urlencode({"api_token": token, "data": base64.b64encode(json)}).encode())
else:
    request = Request(f"{url}?api_token={token}", gzip.compress(json) if way == "gzip" else json)
    request.add_header("Content-Type", "application/json")
    if way == "gzip":
        request.add_header("Content-Encoding", "gzip")
with urlopen(request) as answer:
    print(answer.read().decode())
