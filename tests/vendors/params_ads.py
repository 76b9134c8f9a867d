"""What the kits of ad platforms are filled in with: what their simulators expect."""

from __future__ import annotations

from collections.abc import Sequence

from trunkline.simulators.google_sign_in import CLIENT_EMAIL, private_key_pem

PARAMS: dict[str, dict[str, str]] = {
    "meta": {"ACCESS_TOKEN": "EAAB-simulated-token", "DATASET_ID": "1234567890"},
    "ga4": {"API_SECRET": "ga4-simulated-secret"},
    "google-ads": {"CLIENT_EMAIL": CLIENT_EMAIL, "PRIVATE_KEY": private_key_pem()},
    "tiktok": {"ACCESS_TOKEN": "tt-simulated-token"},
    "snapchat": {"ACCESS_TOKEN": "snap-simulated-token", "ASSET_ID": "pixel-0001"},
    "pinterest": {"ACCESS_TOKEN": "pina-simulated-token"},
    "reddit": {"ACCESS_TOKEN": "reddit-simulated-token", "PIXEL_ID": "a2_simulated"},
    "linkedin": {"ACCESS_TOKEN": "linkedin-simulated-token"},
    "microsoft-uet": {"ACCESS_TOKEN": "uet-simulated-token"},
    "x": {
        "CONSUMER_KEY": "x-consumer-key",
        "CONSUMER_SECRET": "x-consumer-secret",
        "ACCESS_TOKEN": "x-access-token",
        "TOKEN_SECRET": "x-token-secret",
    },
}
WRONG: dict[str, Sequence[dict[str, str]]] = {
    "ga4": [],  # answered 204, too
}
