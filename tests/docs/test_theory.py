"""The page about the rules is what the rules say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "docs" / "theory" / "generate.py"


def test_the_page_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("generate", SCRIPT)
    assert spec is not None and spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert generate.page() == generate.PAGE.read_text(encoding="utf-8"), "run python docs/theory/generate.py"
    assert all(name in generate.page() for name in ("`Fire`", "`MaskRouting`", "`optimised`", "`float32`"))
