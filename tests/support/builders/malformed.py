"""Bodies that are no records, and ids outside their alphabet: signed, they are their author's."""

import json

AT = "2026-11-24T10:00:00.000Z"
HEAD = f'{{"at":"{AT}","kind":"story","n":0,"story":"x"'
BODIES = {
    "a key twice": HEAD + ',"title":"a","title":"b"}',
    "a key twice, escaped": HEAD + ',"title":"a","t\\u0069tle":"b"}',
    "a field nobody knows": f'{{"admin":true,{HEAD[1:]}}}',
    "null": HEAD + ',"title":null}',
    "NaN": HEAD.replace('"n":0', '"n":NaN') + "}",
    "infinity": HEAD.replace('"n":0', '"n":1e400') + "}",
    "a float": HEAD.replace('"n":0', '"n":0.0') + "}",
    "past 2^53": HEAD.replace('"n":0', '"n":9007199254740993') + "}",
    "5,000 digits": HEAD.replace('"n":0', '"n":' + "9" * 5000) + "}",
    "true for a number": HEAD.replace('"n":0', '"n":true') + "}",
    "a counter past its end": HEAD.replace('"n":0', '"n":65536') + "}",
    "a lone surrogate": HEAD + ',"title":"\\ud800"}',
    "a lone surrogate, raw": (HEAD + ',"title":"').encode() + b'\xed\xa0\x80"}',
    "not UTF-8": (HEAD + ',"title":"').encode() + b'\xff"}',
    "spaces": HEAD.replace(":", ": ", 1) + "}",
    "unsorted": f'{{"kind":"story","at":"{AT}","n":0,"story":"x"}}',
    "16,000 brackets": "[" * 16_000,
    "deep": HEAD + ',"title":' + "[" * 40 + "]" * 40 + "}",
    "cut short": HEAD,
    "a list": "[]",
    "two of them": "{}{}",
    "year 1": HEAD.replace(AT, "0001-01-01T00:00:00.000Z") + "}",
    "year 9999": HEAD.replace(AT, "9999-12-31T23:59:59.999Z") + "}",
    "a leap second": HEAD.replace(AT, "2026-12-31T23:59:60.000Z") + "}",
    "another zone": HEAD.replace(AT, "2026-11-24T10:00:00.000+00:00") + "}",
    "escape sequences": HEAD + ',"title":"\\u001b[31mred"}',
    "C1, raw": HEAD + ',"title":"\u009b31m"}',
    "a title of 257 characters": HEAD + ',"title":"' + "x" * 257 + '"}',
    "300 labels": f'{{"at":"{AT}","kind":"story","labels":'
    + json.dumps(["l"] * 300 + [""], separators=(",", ":")) + ',"n":0,"story":"x"}',
}  # fmt: skip

IDS = {
    "look-alike": "аdmin",  # the first letter is Cyrillic
    "bidi": "s\u202e1",
    "dots": "..",
    "a path": "a/../../etc",
    "NUL": "a\\u0000",
    "a percent sign": "%2e%2e",
    "300 characters": "a" * 300,
    "empty": "",
    "a space": "a b",
    "a dash first": "-rf",
    "a full-width letter": "\uff41",
    "a newline": "a\\n",
}
