"""A box that the calcium, receptor and IP3 of an astrocyte network cannot leave, proved by the signs of the equations on its faces."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from neurocert.models.errors import InputError
from neurocert.models.snan.astrocytes import Astrocyte
from neurocert.models.snan.glutamate import Glutamate
from neurocert.models.snan.network import Network


@dataclass(frozen=True)
class AstrocyteBox:
    """0 <= Ca <= calcium, 0 <= h <= 1, 0 <= IP3 <= ip3, in uM; forward invariant for the continuous equations (not for a step of a
    numerical method), for any glutamate and any network of astrocytes that begin in the box."""

    calcium: Fraction
    ip3: Fraction


def invariant_box(astrocyte: Astrocyte, glutamate: Glutamate) -> AstrocyteBox:
    """The box Ca <= c0 / (1 + c1), IP3 <= IP3_rest + (v4 + J_glu) / ip3_decay.

    On each face the vector field points inward, or along it; diffusion does too, since neighbours are in the box. In exact
    arithmetic, for positive constants:

    - Ca = 0: J_leak = v2 c0 > 0, J_in >= 0, and the channel, the pump and the extrusion vanish.
    - Ca = c0 / (1 + c1): (c0 - Ca) / c1 = Ca, so channel and leak vanish, and J_in < v6 must not exceed pump and extrusion.
    - h = 0: a2 Q2 > 0. h = 1: -a2 Ca <= 0.
    - IP3 = 0: IP3_rest ip3_decay >= 0, J_plc >= 0, J_glu >= 0.
    - IP3 at its limit: decay takes v4 + J_glu, and J_plc < v4.

    Raises:
        InputError: a constant that is not positive, alpha outside [0, 1], an influx that the pump cannot balance, or initial values
            outside the box.
    """
    free = astrocyte.calcium_diffusion, astrocyte.ip3_diffusion, glutamate.production
    positive = [
        name
        for name, value in astrocyte._asdict().items()
        if name not in ("alpha", "calcium_diffusion", "ip3_diffusion") and not 0 < value < math.inf
    ]
    if positive or not 0 <= astrocyte.alpha <= 1 or not all(0 <= value < math.inf for value in free):
        raise InputError(f"astrocyte: {positive or astrocyte}, expected positive constants, diffusion and production >= 0, 0 <= alpha <= 1")
    p = {name: Fraction(value) for name, value in astrocyte._asdict().items()}
    calcium = p["c0"] / (1 + p["c1"])
    pumped = p["v3"] * calcium**2 / (p["k3"] ** 2 + calcium**2) + p["k1"] * calcium
    if p["v6"] > pumped:
        raise InputError(
            f"astrocyte: at Ca = {float(calcium):g} uM the influx may be {astrocyte.v6:g} uM/s, more than {float(pumped):g} leave"
        )
    ip3 = p["ip3_rest"] + (p["v4"] + Fraction(glutamate.production)) / p["ip3_decay"]
    if p["calcium"] > calcium or p["receptor"] > 1 or p["ip3"] > ip3:
        got = f"calcium {astrocyte.calcium:g}, receptor {astrocyte.receptor:g}, IP3 {astrocyte.ip3:g}"
        raise InputError(f"astrocyte: it begins at {got}, expected at most {float(calcium):g}, 1 and {float(ip3):g}: outside its box")
    return AstrocyteBox(calcium, ip3)


def require_possible(network: Network) -> AstrocyteBox:
    """The box of a network's astrocytes, in which its calcium map must lie.

    Raises:
        InputError: a calcium that these astrocytes cannot reach; or see ``invariant_box``.
    """
    box = invariant_box(network.settings.astrocyte, network.settings.glutamate)
    low, high = float(network.calcium.min()), float(network.calcium.max())
    if low < 0 or high > box.calcium:
        message = f"calcium map: {low:g} to {high:g} uM, expected 0 to {float(box.calcium):g}, which the equations cannot leave"
        raise InputError(message, "the map was not made by this network's astrocytes; train it again")
    return box
