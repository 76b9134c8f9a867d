"""HTTP in: route, bound, decode, limit, append, answer when it is durable.

`Gateway` is the engine of one gateway process, `serve` runs it. Read `engine.py` first, then
`committer.py`: why thousands of durable answers a second need only hundreds of commits.
"""

from trunkline.gateway.engine import Gateway
from trunkline.gateway.server import serve

__all__ = ["Gateway", "serve"]
