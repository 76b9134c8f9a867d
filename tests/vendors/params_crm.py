"""What the kits of analytics and CRM vendors are filled in with: what their simulators expect."""

from collections.abc import Sequence

PARAMS: dict[str, dict[str, str]] = {
    "amplitude": {"API_KEY": "amplitude-simulator-key"},
    "mixpanel": {
        "SERVICE_ACCOUNT": "trunkline.sim.mp-service-account",
        "SERVICE_ACCOUNT_SECRET": "mixpanel-simulator-secret",
        "PROJECT_ID": "2195193",
        "TOKEN": "0123456789abcdef0123456789abcdef",
    },
    "posthog": {"API_KEY": "phc_simulator0123456789abcdefghijklmnopqrstu"},
    "segment": {"WRITE_KEY": "segmentSimulatorWriteKey000000000"},
    "rudderstack": {"WRITE_KEY": "2RudderSimulatorWriteKey000"},
    "braze": {
        "API_KEY": "7c5e1a90-simulator-rest-key",
        "APP_ID": "3f0e5a1c-9b7d-4e55-8d3e-77a1c0ffee00",
    },
    "klaviyo": {"PRIVATE_KEY": "pk_0123456789abcdef0123456789abcdef01"},
    "customer-io": {"SITE_ID": "simulatorsiteid00000", "API_KEY": "simulatorapikey00000"},
    "onesignal": {
        "APP_ID": "5eb5a37e-b458-11e3-ac11-000c2940e62c",
        "API_KEY": "os_v2_app_simulator0123456789",
    },
    "hubspot": {"ACCESS_TOKEN": "pat-eu1-simulator-0000-4000-8000-000000000000"},
    "iterable": {"API_KEY": "0123456789abcdef0123456789abcdef"},
}
WRONG: dict[str, Sequence[dict[str, str]]] = {
    "segment": [],  # answered 200, and dropped
}
