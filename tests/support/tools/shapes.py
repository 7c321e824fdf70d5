"""Types of msgspec as text without the names of classes, for tests that pin what crosses JSON.

An object is ``{field: type}``; ``?`` marks a field that may be left out, ``= value`` its default,
and ``closed`` an object that takes no other fields. A list of one type is ``[type ...]``.
"""

import json

import msgspec

WIDTH = 100


def shape(kind, names=None, prefix=""):
    """A type's lines.

    Args:
        names: text of shapes, by which a part is called that looks the same.
        prefix: what the first line begins with.
    """
    schema = msgspec.json.schema(kind, schema_hook=_own)
    parts = _Parts(schema.pop("$defs", {}), names or {})
    return _laid_out(prefix, parts.of(schema), "")


def flat(kind):
    """A type in one line, to be called by a name in others."""
    schema = msgspec.json.schema(kind, schema_hook=_own)
    return _flat(_Parts(schema.pop("$defs", {}), {}).of(schema))


def shape_of(value, prefix=""):
    """The lines of a value read from JSON; of a list what its elements are."""
    return _laid_out(prefix, _seen(value), "")


def _own(kind):
    """Our own values cross JSON as strings."""
    if isinstance(kind, type) and issubclass(kind, str | bytes):
        return {"type": "string"}
    raise NotImplementedError(kind)


class _Parts:
    """Reads a JSON schema; a part is a text, or (opening, separator, parts, closing)."""

    def __init__(self, defs, names):
        self.defs = defs
        self.names = {text: name for name, text in names.items()}

    def of(self, schema):
        part = self._of(schema)
        return self.names.get(_flat(part), part)

    def _of(self, schema):
        if "$ref" in schema:
            return self.of(self.defs[schema["$ref"].rpartition("/")[2]])
        if "enum" in schema:
            return ("", " | ", sorted(map(json.dumps, schema["enum"])), "")
        if "anyOf" in schema:
            parts = sorted(map(self.of, schema["anyOf"]), key=_flat)
            return ("", " | ", sorted(parts, key=lambda part: part == "null"), "")
        match schema.get("type"):
            case None:
                return "any"
            case "object" if "properties" in schema:
                return self._object(schema)
            case "object":
                values = ("string: ", "", [self._values(schema)], "")
                return ("{", ", ", [values], "}" + _bounds(schema))
            case "array" if "prefixItems" in schema:
                return ("[", ", ", [self.of(one) for one in schema["prefixItems"]], "]")
            case "array":
                return ("[", "", [self.of(schema.get("items", {}))], " ...]" + _bounds(schema))
            case plain:
                return plain + _bounds(schema)

    def _values(self, schema):
        values = schema.get("additionalProperties", {})
        return self.of(values if isinstance(values, dict) else {})

    def _object(self, schema):
        fields = []
        for name, field in sorted(schema["properties"].items(), key=_tag_first):
            needed = name in schema.get("required", ())
            default = f" = {json.dumps(field['default'])}" if "default" in field else ""
            fields.append((f"{name}{'' if needed else '?'}: ", "", [self.of(field)], default))
        closed = schema.get("additionalProperties") is False
        return ("closed {" if closed else "{", ", ", fields, "}")


def _tag_first(field):
    return len(field[1].get("enum", "12")) > 1, field[0]


def _bounds(schema):
    words = {
        "minimum": "from", "maximum": "to", "exclusiveMaximum": "below", "minLength": "from",
        "maxLength": "to", "minItems": "from", "maxItems": "to", "maxProperties": "to",
        "pattern": "like",
    }  # fmt: skip
    told = [f"{words[name]} {schema[name]}" for name in words if name in schema]
    return f" ({' '.join(told)})" if told else ""


def _seen(value):
    match value:
        case dict():
            fields = [(f"{name}: ", "", [_seen(one)], "") for name, one in sorted(value.items())]
            return ("{", ", ", fields, "}")
        case list():
            parts = {_flat(part): part for part in map(_seen, value)}
            some = [parts[text] for text in sorted(parts)]
            return ("[", "", some if len(some) == 1 else [("", " | ", some, "")], " ...]")
        case None:
            return "null"
        case _:
            return {str: "string", bool: "boolean", int: "integer", float: "number"}[type(value)]


def _flat(part):
    if isinstance(part, str):
        return part
    opening, separator, parts, closing = part
    return f"{opening}{separator.join(map(_flat, parts))}{closing}"


def _laid_out(prefix, part, indent):
    """In one line if it fits; else each part in lines of its own."""
    line = f"{indent}{prefix}{_flat(part)}"
    if len(line) <= WIDTH or isinstance(part, str):
        return [line]
    opening, separator, parts, closing = part
    if len(parts) == 1 and not separator:
        *lines, last = _laid_out(prefix + opening, parts[0], indent)
        return [*lines, last + closing]
    lines = [f"{indent}{prefix}{opening}".rstrip()] if prefix or opening else []
    deeper, bar = (f"{indent}  " if lines else indent), ("| " if separator == " | " else "")
    for one in parts:
        lines += _laid_out(bar, one, deeper)
    return [*lines, f"{indent}{closing}"] if closing else lines
