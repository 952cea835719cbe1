# Sends what the mixpanel package sends: mixpanel_posts.py SERVER TOKEN NAME
import json
import sys

from mixpanel import BufferedConsumer, Consumer, Mixpanel, __version__

server, token, name = sys.argv[1:]
urls = {
    f"{what}_url": f"{server}/v1/{kind}/track?api_token={token}"
    for what, kind in {"events": "events", "import": "events", "people": "users"}.items()
}


def sends(call, *arguments, **options):
    """The package takes no status but 1, and looks for an `error` that an answer of 200 doesn't have."""
    try:
        call(*arguments, **options)
    except KeyError as error:
        assert error.args == ("error",), error
    else:
        raise AssertionError("it took the answer for its own server's")


client = Mixpanel("unused", Consumer(**urls, retry_limit=0))
sends(client.track, "u1", "signed up", {"plan": "pro", "who": "zoë 😀"}, meta={"type": f"{name} one", "user_id": "u1"})
sends(client.people_set, "u1", {"plan": "pro"}, meta={"id": f"{name} u1"})
buffered = BufferedConsumer(max_size=3, **urls, retry_limit=0)
for number in range(2):
    buffered.send("events", json.dumps({"type": f"{name} many", "n": number, "text": "a+b & c=d ÿ"}))
sends(buffered.send, "events", json.dumps({"type": f"{name} many", "n": 2, "text": "😀"}))
print(__version__)
