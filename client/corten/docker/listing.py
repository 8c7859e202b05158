"""Listings in docker's formats: `table`, `table TEMPLATE`, `json`, `TEMPLATE`, and `-q`."""

from __future__ import annotations

from corten.output import align, escape_lines, out, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from corten.flags import Flag
    from corten.rows import Row

_HEADER_FUNCTIONS = ("json", "split", "join", "title", "lower", "upper", "truncate", "pad", "slice")


class Listing:
    """One kind of listing.

    `columns` are the fields of the plain table; `headers` says each field's heading; `identity`
    is the field that `-q` prints.
    """

    def __init__(self, columns: Sequence[str], headers: dict[str, str], identity: str = "ID") -> None:
        self._columns, self._headers, self._identity = columns, headers, identity

    def show(self, rows: Iterable[Row], form: str, *, quiet: bool = False) -> None:
        """Print the rows as `form` (the value of `--format`) asks."""
        form = form.strip()
        if form in ("", "table"):
            self._table(rows, quiet=quiet)
        elif form == "json":
            self._template(rows, "{{json .}}")
        elif form.startswith("table "):
            self._table_template(rows, _unescape(form[6:].strip()))
        else:
            self._template(rows, _unescape(form))

    def _table(self, rows: Iterable[Row], *, quiet: bool) -> None:
        if quiet:
            out(table([str(row[self._identity])] for row in rows), end="")
            return
        cells = [[str(row[column]) for column in self._columns] for row in rows]
        out(table(cells, [self._headers[column] for column in self._columns]), end="")

    def _template(self, rows: Iterable[Row], source: str) -> None:
        from corten.templates import Template

        template = Template(source)
        for row in rows:
            out(escape_lines(template.render(row)))

    def _table_template(self, rows: Iterable[Row], source: str) -> None:
        from corten.rows import Row
        from corten.templates import Template

        template = Template(source)
        plain: dict[str, Callable[..., Any]] = dict.fromkeys(_HEADER_FUNCTIONS, _first)
        heading = Row(dict(self._headers), {"Label": lambda key: key.rpartition(".")[2].upper()})
        lines = [Template(source, plain).render(heading)]
        lines += [template.render(row) for row in rows]
        out(align("\n".join(lines)), end="")


def _first(value: Any, *rest: Any) -> Any:
    """A function over a heading is the heading."""
    return value


def _unescape(text: str) -> str:
    r"""`\t` and `\n` as typed in a shell's single quotes."""
    return text.replace("\\t", "\t").replace("\\n", "\n")


def format_flag(*, short: str = "") -> Flag:
    """`--format`, as every listing has it."""
    from corten.flags import Flag

    return Flag("format", "string", "'table', 'table TEMPLATE', 'json', or a Go template", short=short)


def filter_flag() -> Flag:
    """`--filter`, as every listing has it."""
    from corten.flags import Flag

    return Flag("filter", "filter", "Show only what meets the condition (name=value)", short="f", convert=_filter)


def _filter(text: str) -> str:
    if "=" not in text:
        raise ValueError("bad format of filter (expected name=value)")
    return text


def encode_filters(filters: Sequence[str]) -> str | None:
    """`--filter` values as the API's JSON; None without any."""
    if not filters:
        return None
    from corten import jsontext

    found: dict[str, dict[str, bool]] = {}
    for entry in filters:
        name, _, value = entry.partition("=")
        found.setdefault(name.strip().lower(), {})[value.strip()] = True
    return jsontext.dumps({name: dict(sorted(found[name].items())) for name in sorted(found)})


def print_formatted(value: Any, form: str) -> None:
    """One object by a `--format` that is `json` or a template (version, info)."""
    from corten.templates import Template

    source = "{{json .}}" if form.strip() == "json" else _unescape(form)
    out(escape_lines(Template(source).render(value)))
