"""The states of the United States by name, as vendors want them: `california` is `ca`."""

from __future__ import annotations

from collections.abc import Mapping

_NAMES = """
al Alabama, ak Alaska, az Arizona, ar Arkansas, ca California, co Colorado, ct Connecticut,
de Delaware, dc District of Columbia, fl Florida, ga Georgia, hi Hawaii, id Idaho, il Illinois,
in Indiana, ia Iowa, ks Kansas, ky Kentucky, la Louisiana, me Maine, md Maryland,
ma Massachusetts, mi Michigan, mn Minnesota, ms Mississippi, mo Missouri, mt Montana,
ne Nebraska, nv Nevada, nh New Hampshire, nj New Jersey, nm New Mexico, ny New York,
nc North Carolina, nd North Dakota, oh Ohio, ok Oklahoma, or Oregon, pa Pennsylvania,
pr Puerto Rico, ri Rhode Island, sc South Carolina, sd South Dakota, tn Tennessee, tx Texas,
ut Utah, vt Vermont, va Virginia, wa Washington, wv West Virginia, wi Wisconsin, wy Wyoming
"""

# The name in lower case and without spaces → two letters.
US_STATES: Mapping[str, str] = {
    name.replace(" ", "").lower(): code
    for code, _, name in (entry.strip().partition(" ") for entry in _NAMES.split(","))
}
