"""The API's description as one page of HTML: no scripts, nothing loaded from anywhere, readable with curl too."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2430; }
nav a { margin-right: .8rem } h2 { margin-top: 2.5rem; border-bottom: 1px solid #d5dbe3; }
details { border: 1px solid #d5dbe3; border-radius: 6px; margin: .5rem 0; padding: .4rem .8rem; }
summary { cursor: pointer } code { font: 13px ui-monospace, monospace; }
.m { display: inline-block; width: 4.2rem; font-weight: 600 } .get { color: #14609c } .post { color: #1d7a3c }
.patch { color: #8a5a00 } .delete { color: #b02323 } .q { color: #5b6675 }
table { border-collapse: collapse; margin: .5rem 0 } td, th { text-align: left; padding: .15rem .8rem .15rem 0; vertical-align: top }
"""  # noqa: E501


def render(document: dict[str, Any]) -> str:
    """The page for an OpenAPI document."""
    info = document["info"]
    operations = list(_operations(document))
    tags = list(dict.fromkeys(operation["tags"][0] for _, _, operation in operations))
    schemas = document.get("components", {}).get("schemas", {})
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>{_text(info['title'])} API</title><style>{_STYLE}</style>",
        f"<h1>{_text(info['title'])} {_text(info['version'])}</h1>",
        *(f"<p>{_prose(part)}</p>" for part in info.get("description", "").split("\n\n")),
        "<p>As a document: <a href=openapi.json>openapi.json</a></p><nav>",
        *(f"<a href='#{_text(tag)}'>{_text(tag)}</a>" for tag in tags),
        "<a href='#types'>types</a></nav>",
    ]
    for tag in tags:
        parts.append(f"<h2 id='{_text(tag)}'>{_text(tag)}</h2>")
        parts += (_operation(m, path, op) for m, path, op in operations if op["tags"][0] == tag)
    parts.append("<h2 id=types>types</h2>")
    parts += (_schema(name, schema) for name, schema in sorted(schemas.items()))
    return "\n".join(parts) + "</html>\n"


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    text = operation.get("description", "")
    summary, _, rest = text.partition("\n")
    rows = [_parameter(parameter) for parameter in operation.get("parameters", [])]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body is not None:
        rows.append(f"<tr><td class=q>body<td class=q>JSON<td>{_type(body)}<td>")
    for status, answer in operation.get("responses", {}).items():
        media: list[dict[str, Any]] = list(answer.get("content", {}).values())
        schema = media[0].get("schema") if media else None
        rows.append(f"<tr><td class=q>answers<td class=q>{_text(status)}<td>{_type(schema) if schema else ''}<td>")
    return (
        f"<details><summary><span class='m {method}'>{method.upper()}</span> <code>{_text(path)}</code> "
        f"<span class=q>{_prose(summary)}</span></summary>{f'<p>{_prose(rest)}</p>' if rest.strip() else ''}"
        f"<table>{''.join(rows)}</table></details>"
    )


def _parameter(parameter: dict[str, Any]) -> str:
    where = parameter["in"] + (", required" if parameter.get("required") else "")
    kind, text = _type(parameter.get("schema", {})), _prose(parameter.get("description", ""))
    return f"<tr><td><code>{_text(parameter['name'])}</code><td class=q>{_text(where)}<td>{kind}<td>{text}"


def _schema(name: str, schema: dict[str, Any]) -> str:
    required = set(schema.get("required", []))
    rows = [
        f"<tr><td><code>{_text(key)}</code><td class=q>{'required' if key in required else ''}<td>{_type(value)}"
        f"<td class=q>{_text(value['default']) if value.get('default') not in (None, '', [], {}) else ''}"
        for key, value in schema.get("properties", {}).items()
    ]
    values = " ".join(f"<code>{_text(value)}</code>" for value in schema.get("enum", []))
    return (
        f"<details id='type-{_text(name)}'><summary><code>{_text(name)}</code></summary>"
        f"<p>{_prose(schema.get('description', ''))} {values}</p><table>{''.join(rows)}</table></details>"
    )


def _type(schema: dict[str, Any]) -> str:
    """A schema in a few words, linking to types that have a name."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"<a href='#type-{_text(name)}'>{_text(name)}</a>"
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"map of {_type(schema['additionalProperties'])}"
    if "enum" in schema:
        return " | ".join(f"<code>{_text(value)}</code>" for value in schema["enum"])
    return _text(f"{kind} ({schema['format']})" if "format" in schema else kind)


def _text(value: object) -> str:
    return html.escape(str(value))


def _prose(text: str) -> str:
    """Text with `code` marked."""
    pieces = _text(text).split("`")
    return "".join(f"<code>{piece}</code>" if at % 2 else piece for at, piece in enumerate(pieces))
