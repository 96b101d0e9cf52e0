"""A hybrid decides by its maps alone; the control by the resampled image."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from neurocert.models.snan.hybrid import Hybrid
from neurocert.models.snan.network import Network
from neurocert.models.snan.preprocessor import Preprocessor

CLASSIFIER = nn.Sequential(nn.Flatten(), nn.Linear(25, 4)).eval()


def test_a_hybrid_and_its_control_see_different_maps(trained: Network, patterns: np.ndarray) -> None:
    preprocessor = Preprocessor(trained, 5)
    hybrid, control = Hybrid(preprocessor, CLASSIFIER), Hybrid(preprocessor, CLASSIFIER, spiking=False)
    assert torch.equal(hybrid.maps(patterns), preprocessor.maps(patterns))
    assert torch.equal(control.maps(patterns), preprocessor.shrink(patterns))
    assert not torch.equal(hybrid.maps(patterns), control.maps(patterns))


def test_each_image_is_decided_alone(trained: Network) -> None:
    images: Tensor = torch.rand(6, 1, 5, 5, generator=torch.Generator().manual_seed(0)) ** 2
    hybrid = Hybrid(Preprocessor(trained, 5), CLASSIFIER)
    expected = CLASSIFIER(hybrid.preprocessor(images)).argmax(1)
    assert torch.equal(hybrid(images), expected)
    assert torch.equal(hybrid(images[2:3]), expected[2:3])
