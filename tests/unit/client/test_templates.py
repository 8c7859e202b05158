"""Go templates as docker users write them."""

from __future__ import annotations

import pytest

from corten.rows import Row
from corten.templates import Template, TemplateError

DATA = {
    "Name": "/web", "State": {"Running": True, "Pid": 42, "Code": 0}, "Labels": {"a.b": "x", "c": "y"},
    "Ports": [{"Port": 80}, {"Port": 443}], "Empty": [], "Nil": None, "Args": ["-c", "a b"], "Rate": 1.5,
    "Html": "<a&b>",
}  # fmt: skip


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("plain", "plain"),
        ("{{.Name}}", "/web"),
        ("{{ .State.Pid }}/{{.State.Running}}", "42/true"),
        ("{{.Nil}}", "<no value>"),
        ("{{.Args}}", "[-c a b]"),
        ("{{.Labels}}", "map[a.b:x c:y]"),
        ("{{.Rate}}", "1.5"),
        ("{{json .State}}", '{"Running":true,"Pid":42,"Code":0}'),
        ("{{json .Html}}", '"<a&b>"'),
        ("{{.State | json}}", '{"Running":true,"Pid":42,"Code":0}'),
        ('{{index .Labels "a.b"}}', "x"),
        ('{{index .Labels "none"}}', "<no value>"),
        ("{{(index .Ports 1).Port}}", "443"),
        ("{{index .Args 1}}", "a b"),
        ("{{range .Ports}}{{.Port}},{{end}}", "80,443,"),
        ("{{range $i, $p := .Ports}}{{$i}}={{$p.Port}} {{end}}", "0=80 1=443 "),
        ("{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}", "a.b=x;c=y;"),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"),
        ("{{range .Ports}}{{if eq .Port 443}}{{break}}{{end}}{{.Port}}{{end}}", "80"),
        ("{{range .Ports}}{{if eq .Port 80}}{{continue}}{{end}}{{.Port}}{{end}}", "443"),
        ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
        ("{{if .State.Code}}a{{else if .State.Running}}b{{else}}c{{end}}", "b"),
        ("{{if and .State.Running (eq .State.Pid 42)}}yes{{end}}", "yes"),
        ("{{if not .Empty}}empty{{end}}", "empty"),
        ("{{if or .Empty .Nil}}a{{else}}b{{end}}", "b"),
        ("{{with .State}}{{.Pid}}{{end}}{{with .Nil}}x{{else}}y{{end}}", "42y"),
        ("{{$x := .State.Pid}}{{$x}}{{$x = 5}}{{$x}}", "425"),
        ("{{range .Ports}}{{$.Name}}{{end}}", "/web/web"),
        ("a {{- .Name -}} b", "a/webb"),
        ("{{/* nothing */}}x{{- /* here */ -}} y", "xy"),
        ('{{printf "%s-%d|%5d|%-4s|%q|%v|%%|%.2f" .Name 7 42 "ab" "q" true 1.5}}', '/web-7|   42|ab  |"q"|true|%|1.50'),
        ("{{print 1 2 \"a\" 3}}{{println .Name}}", "1 2a3/web\n"),
        ('{{join .Args ","}} {{upper .Name}} {{lower "AB"}} {{title "ab cd"}}', "-c,a b /WEB ab Ab Cd"),
        ('{{range split "a,b" ","}}<{{.}}>{{end}}', "<a><b>"),
        ('{{truncate "abcdef" 3}}{{pad "x" 1 2}}|{{len .Args}}{{len "ü"}}', "abc x  |22"),
        ('{{slice "abcdef" 1 3}} {{html "<&>"}} {{urlquery "a b"}} {{js "a\\"b"}}', 'bc &lt;&amp;&gt; a+b a\\"b'),
        ("{{ne 1 2}} {{lt 1 2}} {{ge 2 2}} {{eq 1 2 1}}", "true true true true"),
        ("{{true}} {{`raw \\n`}}", "true raw \\n"),
        ('{{.Name | printf "%s!" | upper}}', "/WEB!"),
    ],
)  # fmt: skip
def test_rendering(source: str, text: str) -> None:
    assert Template(source).render(DATA) == text


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{.Name", "unclosed action"),
        ("{{if .Name}}x", "unexpected EOF"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{}}", "unexpected"),
        ("{{nope .Name}}", 'function "nope" not defined'),
        ("{{.Name | 5}}", "non-function"),
        ("{{(.Name}}", "unclosed left paren"),
        ("{{.Name )}}", "unexpected"),
        ("{{$x}}", "undefined variable"),
        ("{{.Name.Foo}}", "can't evaluate field Foo"),
        ("{{.Nil.Foo}}", "nil data"),
        ("{{.Missing}}", 'no entry for key "Missing"'),
        ("{{index .Args 9}}", "index out of range"),
        ("{{index .Nil 1}}", "index of untyped nil"),
        ("{{range .Name}}{{end}}", "range can't iterate over"),
        ("{{join .Name}}", "error calling join"),
        ("{{lt 1 .Name}}", "incompatible types"),
        ('{{printf "%99999d" 1}}', "width too large"),
        ("{{if .Name}}" * 200 + "{{end}}" * 200, "nest too deeply"),
        ("{{" + "(" * 300 + "1" + ")" * 300 + "}}", "nest too deeply"),
        ("{{.Name ? }}", "unexpected '?'"),
    ],
)  # fmt: skip
def test_mistakes_are_told(source: str, said: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template(source).render(DATA)
    assert said in caught.value.message


def test_an_unknown_field_names_those_there_are() -> None:
    with pytest.raises(TemplateError) as caught:
        Template("{{.State.Foo}}").render(DATA)
    assert caught.value.hint == "There are: Code, Pid, Running"


def test_rows_have_methods() -> None:
    """`.Label "key"`, and `json` of a row has its fields only, sorted."""
    row = Row({"ID": "1", "Names": "b", "Image": "i"}, {"Label": lambda key: key.upper()})
    assert Template('{{.Label "a"}} {{json .}}').render(row) == 'A {"ID":"1","Image":"i","Names":"b"}'


def test_json_never_carries_control_characters() -> None:
    assert Template("{{json .}}").render("\x1b\x9b\u202e") == r'"\u001b\u009b\u202e"'
