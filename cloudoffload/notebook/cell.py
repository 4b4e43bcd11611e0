"""Runs the body of a cell magic as if the cell had no magic."""

from __future__ import annotations

import ast
from typing import Any


def run_cell(shell: Any, source: str) -> object:
    """Run a cell's source in the user's namespace.

    The shell's own ``run_cell`` is not used: it shows an exception itself, and a caller that passes the failure on
    would have it shown twice.

    Parameters
    ----------
    shell : IPython.core.interactiveshell.InteractiveShell
        Its input transformations, AST transformations and namespace are used.
    source : str
        As the user wrote it; magics and shell escapes are allowed.

    Returns
    -------
    object
        Value of the last statement if that is an expression, else None.

    Raises
    ------
    BaseException
        Whatever the cell raises, also SyntaxError; nothing of it ran in that case.
    """
    __tracebackhide__ = True  # IPython leaves this frame out of the user's traceback
    text = shell.transform_cell(source)
    number = len(shell.history_manager.input_hist_parsed) - 1  # execution_count may be the next cell's already
    name = shell.compile.cache(text, number, raw_code=source)
    module = shell.transform_ast(shell.compile.ast_parse(text, name))
    last = module.body.pop() if module.body and isinstance(module.body[-1], ast.Expr) else None
    body = shell.compile(module, name, "exec")
    value = shell.compile(ast.Expression(last.value), name, "eval") if last is not None else None
    exec(body, shell.user_ns)  # noqa: S102 - running the user's cell is what the magic is for
    return eval(value, shell.user_ns) if value is not None else None  # noqa: S307
