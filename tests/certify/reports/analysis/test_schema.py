from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from neurocert.certify.reports.analysis.schema import FIGURES, Absent, Analysis, Attacks, Plane, Spectrum, Training, from_json, to_json
from neurocert.models.errors import InputError

MakeAnalysis = Callable[..., Analysis]


def test_json_gives_equal_values(make_analysis: MakeAnalysis, make_plain: MakeAnalysis) -> None:
    analyses = make_analysis(), make_plain(), make_analysis("sections", attacks=None, hessian=None)
    again = from_json(to_json(analyses))
    assert again == analyses
    assert isinstance(again[0].hessian, Spectrum)
    assert isinstance(again[1].hessian, Absent)
    assert again[2].hessian is None


@pytest.mark.parametrize("text", ["", "[]", '{"schema_version": 1}'])
def test_another_document_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"analysis: .* \(expected what this package writes into analysis.json\)"):
        from_json(text)


def test_another_version_is_refused() -> None:
    with pytest.raises(InputError, match="analysis: schema_version is 2, expected 1"):
        from_json('{"schema_version": 2, "analyses": []}')


def test_an_unknown_field_is_refused(make_analysis: MakeAnalysis) -> None:
    document = json.loads(to_json([make_analysis()]))
    document["analyses"][0]["extra"] = 1
    with pytest.raises(InputError, match="extra"):
        from_json(json.dumps(document))


def test_parts_agree_with_themselves(make_analysis: MakeAnalysis) -> None:
    analysis = make_analysis()

    def changed(section: Any, **fields: Any) -> dict[str, Any]:
        return {name: getattr(section, name) for name in type(section).model_fields} | fields

    assert isinstance(analysis.attacks, Attacks) and isinstance(analysis.training, Training)
    with pytest.raises(ValidationError, match="fgsm: 4 values at 3 radii"):
        Attacks(**changed(analysis.attacks, epsilons=(0.0, 0.1, 0.2)))
    with pytest.raises(ValidationError, match=r"curves of \[5, 6\] epochs, expected 6"):
        Training(**changed(analysis.training, train=(0.5,) * 5))
    with pytest.raises(ValidationError, match="losses are not 3 by 3"):
        Plane(steps=(-1.0, 0.0, 1.0), losses=((0.0,) * 3,) * 2, centre=0.0, mean_rise=0.0, cosine=0.0)


def test_names_of_figures_and_sections_differ() -> None:
    names = [*FIGURES, *(figure for figures in FIGURES.values() for figure in figures)]
    assert len(names) == len(set(names))
    assert set(FIGURES) < set(Analysis.model_fields)
