import re
from pathlib import Path

import pytest

from experiments.ablations.suite import Suite

TEXT = Path(__file__).parents[3] / "CONTRIBUTING.md"


@pytest.mark.usefixtures("unchecked")
def test_the_example_is_a_suite_of_less_than_60_lines():
    code = re.search(r"```python\n(.*?)```", TEXT.read_text("utf-8"), re.DOTALL).group(1)
    assert len(code.splitlines()) < 60
    made = {}
    exec(compile(code, "window.py", "exec"), made)  # its own text, kept with these tests
    suite = made["SUITE"]
    assert isinstance(suite, Suite)
    assert list(suite.variants(suite.budgets["cpu"])) == ["4", "16", "64"]
