"""Nothing joins a path onto a container's root: what lies below one is reached through `linux.saferoot` only."""

import ast
from collections.abc import Iterator
from pathlib import Path

DAEMON = Path(__file__).resolve().parents[2] / "daemon"
ROOTS = {"rootfs", "staging", "merged", "upper", "upperdir", "mountpoint", "container_root"}
"""Names that stand for a directory whose content an image or a container made."""

ALLOWED = {
    "cortend/linux/saferoot.py": "it is the one way",
}


def joins(tree: ast.AST) -> Iterator[ast.expr]:
    """Every `x / …`, `join(x, …)`, `Path(x, …)`, `f"{x}/…"` of the module: the expression x."""
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div | ast.Add):
            yield node.left
        elif isinstance(node, ast.Call) and len(node.args) > 1 and _name(node.func) in {"join", "Path", "joinpath"}:
            yield node.args[0]
        elif isinstance(node, ast.JoinedStr):
            for value, following in zip(node.values, node.values[1:], strict=False):
                starts = isinstance(following, ast.Constant) and str(following.value).startswith("/")
                if isinstance(value, ast.FormattedValue) and starts:
                    yield value.value


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _offences(source: str) -> list[int]:
    return [expr.lineno for expr in joins(ast.parse(source)) if _name(expr) in ROOTS]


def test_the_rule_sees_every_form() -> None:
    forms = [
        'rootfs / "etc"', 'os.path.join(x.rootfs, "etc")', 'f"{rootfs}/etc"', 'rootfs + "/etc"', 'Path(merged, "a")',
    ]  # fmt: skip
    assert [bool(_offences(form)) for form in forms] == [True] * len(forms)
    assert not _offences('self.root / "content"')


def test_no_path_is_joined_onto_a_root() -> None:
    found = [
        f"{path.relative_to(DAEMON)}:{line}"
        for path in DAEMON.rglob("*.py")
        if str(path.relative_to(DAEMON)) not in ALLOWED
        for line in _offences(path.read_text())
    ]
    assert not found, "use linux.saferoot: " + ", ".join(found)
