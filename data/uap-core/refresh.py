#!/usr/bin/env python3
"""Makes rules.json anew of a wheel of ua-parser-builtins, which is uap-core's regexes.yaml made ready:

    pip download --no-deps ua-parser-builtins
    python3 data/uap-core/refresh.py ua_parser_builtins-*.whl
"""
import json
import pathlib
import sys
import types
import zipfile

# Of the rules for devices, those that tell bots and kinds of devices, and of Amazon's and Apple's,
# which stand before them, so that they aren't taken for bots. The others tell models.
BRANDS = ("Spider", "Generic", "Amazon", "Apple")

FIELDS = {
    "UserAgentParser": ("regex", "family_replacement"),
    "OSParser": ("regex", "os_replacement"),
    "DeviceParser": ("regex", "regex_flag", "device_replacement", "brand_replacement"),
}


def rule(names):
    """What a rule says, but for versions and models."""

    def make(*values):
        return {name: value for name, value in zip(names, values) if value is not None}

    return make


wheel = zipfile.ZipFile(sys.argv[1])
parsers = types.ModuleType("ua_parser.user_agent_parser")
for kind, names in FIELDS.items():
    setattr(parsers, kind, rule(names))
sys.modules["ua_parser"] = types.ModuleType("ua_parser")
sys.modules["ua_parser.user_agent_parser"] = parsers
found = {}
exec(wheel.read("ua_parser_builtins/regexes.py"), found)

lists = {
    "user_agent_parsers": found["USER_AGENT_PARSERS"],
    "os_parsers": found["OS_PARSERS"],
    "device_parsers": [
        rule for rule in found["DEVICE_PARSERS"] if rule.get("brand_replacement", "").startswith(BRANDS)
    ],
}
text = ",\n".join(
    f'"{name}": [\n' + ",\n".join(json.dumps(rule) for rule in rules) + "\n]" for name, rules in lists.items()
)
folder = pathlib.Path(__file__).parent
(folder / "rules.json").write_text("{\n" + text + "\n}\n")
revision = wheel.read("REVISION").decode().strip()
(folder / "VERSION").write_text(f"{pathlib.Path(sys.argv[1]).name}\nuap-core {revision}\n")
