"""Calcium, IP3 and its receptor in astrocytes, Eq. (10)-(18), after Ullah, Jung and Cornell-Bell (2006)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neurocert.models.snan.compiled import compiled
from neurocert.models.snan.neurons import Floats


class Astrocyte(NamedTuple):
    """Constants of Table 1 in uM and seconds (``a2`` is missing there; its value is Ullah's).

    Attributes:
        c0: total calcium, uM; c1: volume of the endoplasmic reticulum over that of the cytosol.
        v1: channel flux, 1/s; v2: leak, 1/s; v3: pump, uM/s; v4: IP3 production, uM/s; v6: influx, uM/s.
        k1: extrusion, 1/s; k2: half-saturation of the influx; k3: of the pump; k4: of IP3 production, uM.
        d1, d2, d3, d5: dissociation, inhibition and activation of the receptor, uM; a2: its rate, 1/(uM s).
        alpha: share of IP3 production that does not need calcium, as 1 - alpha.
        ip3_rest: uM; ip3_decay: 1/s.
        calcium_diffusion, ip3_diffusion: through gap junctions, 1/s.
        calcium, receptor, ip3: initial values, uM and dimensionless.
    """

    c0: float = 2.0
    c1: float = 0.185
    v1: float = 6.0
    v2: float = 0.11
    v3: float = 2.2
    v4: float = 0.3
    v6: float = 0.2
    k1: float = 0.5
    k2: float = 1.0
    k3: float = 0.1
    k4: float = 1.1
    d1: float = 0.13
    d2: float = 1.049
    d3: float = 0.9434
    d5: float = 0.082
    a2: float = 0.14
    alpha: float = 0.8
    ip3_rest: float = 0.16
    ip3_decay: float = 0.14
    calcium_diffusion: float = 0.05
    ip3_diffusion: float = 0.05
    calcium: float = 0.072495
    receptor: float = 0.886314
    ip3: float = 0.820204


@compiled
def derivatives(ca: float, h: float, ip3: float, p: Astrocyte) -> tuple[float, float, float]:
    """(dCa/dt, dh/dt, dIP3/dt) of one isolated astrocyte without glutamate, in uM/s and 1/s.

    dCa/dt = J_chan - J_pump + J_leak + J_in - J_out, dh/dt = a2 (Q2 (1 - h) - Ca h) with Q2 = d2 (IP3 + d1) / (IP3 + d3), and
    dIP3/dt = (IP3_rest - IP3) ip3_decay + J_plc, Eq. (10); with c = (c0 - Ca) / c1 - Ca and Eq. (11)-(16):
    J_chan = c1 v1 (IP3 / (IP3 + d1) Ca / (Ca + d5) h)^3 c, J_leak = c1 v2 c, J_pump = v3 Ca^2 / (k3^2 + Ca^2),
    J_in = v6 IP3^2 / (k2^2 + IP3^2), J_out = k1 Ca, J_plc = v4 (Ca + (1 - alpha) k4) / (Ca + k4).
    """
    gradient = (p.c0 - ca) / p.c1 - ca
    opening = ip3 / (ip3 + p.d1) * (ca / (ca + p.d5)) * h
    channel = p.c1 * p.v1 * (opening * opening * opening) * gradient
    leak = p.c1 * p.v2 * gradient
    pump = p.v3 * (ca * ca) / (p.k3 * p.k3 + ca * ca)
    influx = p.v6 * (ip3 * ip3) / (p.k2 * p.k2 + ip3 * ip3)
    production = p.v4 * (ca + (1.0 - p.alpha) * p.k4) / (ca + p.k4)
    inhibition = p.d2 * (ip3 + p.d1) / (ip3 + p.d3)
    return (
        channel - pump + leak + influx - p.k1 * ca,
        p.a2 * (inhibition * (1.0 - h) - ca * h),
        (p.ip3_rest - ip3) * p.ip3_decay + production,
    )


@compiled
def laplacian(field: Floats, row: int, column: int) -> float:
    """Sum of (neighbour - own) over the up to four neighbours of a cell, Eq. (17)-(18): no flux through the edges."""
    total = 0.0
    if row > 0:
        total += field[row - 1, column] - field[row, column]
    if row + 1 < field.shape[0]:
        total += field[row + 1, column] - field[row, column]
    if column > 0:
        total += field[row, column - 1] - field[row, column]
    if column + 1 < field.shape[1]:
        total += field[row, column + 1] - field[row, column]
    return total


@compiled
def advance(cells: Floats, production: Floats, dt: float, p: Astrocyte) -> Floats:
    """One Runge-Kutta step (RK4, Eq. 10) of a grid; diffusion and glutamate's share are constant over the step.

    Args:
        cells: (3, R, C): calcium and IP3 in uM, and the receptor's open share between them: (Ca, h, IP3).
        production: (R, C), J_glu in uM/s; see ``glutamate``.
        dt: in seconds.

    Returns:
        The cells after the step.
    """
    after = np.empty_like(cells)
    for row in range(cells.shape[1]):
        for column in range(cells.shape[2]):
            ca, h, ip3 = cells[0, row, column], cells[1, row, column], cells[2, row, column]
            to_ca = p.calcium_diffusion * laplacian(cells[0], row, column)
            to_ip3 = p.ip3_diffusion * laplacian(cells[2], row, column) + production[row, column]
            a0, a1, a2 = derivatives(ca, h, ip3, p)
            b0, b1, b2 = derivatives(ca + 0.5 * dt * (a0 + to_ca), h + 0.5 * dt * a1, ip3 + 0.5 * dt * (a2 + to_ip3), p)
            c0, c1, c2 = derivatives(ca + 0.5 * dt * (b0 + to_ca), h + 0.5 * dt * b1, ip3 + 0.5 * dt * (b2 + to_ip3), p)
            d0, d1, d2 = derivatives(ca + dt * (c0 + to_ca), h + dt * c1, ip3 + dt * (c2 + to_ip3), p)
            after[0, row, column] = ca + dt * ((a0 + 2.0 * b0 + 2.0 * c0 + d0) / 6.0 + to_ca)
            after[1, row, column] = h + dt * ((a1 + 2.0 * b1 + 2.0 * c1 + d1) / 6.0)
            after[2, row, column] = ip3 + dt * ((a2 + 2.0 * b2 + 2.0 * c2 + d2) / 6.0 + to_ip3)
    return after
