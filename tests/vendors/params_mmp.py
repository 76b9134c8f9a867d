"""What attribution, push, Metrix and Slack kits are filled in with: what simulators expect."""

from trunkline.simulators.fcm import FcmSimulator
from trunkline.simulators.slack import SlackSimulator

PARAMS: dict[str, dict[str, str]] = {
    "appsflyer": {"APP_ID": "com.shop.app", "S2S_TOKEN": "af-s2s-token-1"},
    "adjust": {
        "APP_TOKEN": "abc123def456",
        "S2S_TOKEN": "adjust-s2s-token-1",
        "PURCHASE_TOKEN": "f0ob4r",
    },
    "fcm": {
        "PROJECT_ID": FcmSimulator.credentials["project_id"],
        "CLIENT_EMAIL": FcmSimulator.credentials["client_email"],
        "PRIVATE_KEY": FcmSimulator.credentials["private_key"],
    },
    "metrix-s2s": {
        "APP_ID": "simulatedappids",
        "DEV_KEY": "simulated-dev-key",
        "PURCHASE_SLUG": "taqsq",
    },
    "singular": {"SDK_KEY": "singular_sdk_key_1"},
    "branch": {"BRANCH_KEY": "key_live_abcdefghijklmnop"},
    "airbridge": {"APP_NAME": "koshop", "API_TOKEN": "airbridge-api-token-1"},
    "slack": {"WEBHOOK": SlackSimulator.credentials["webhook_path"].removeprefix("/services/")},
    "metrix-rest": {"APPLICATION_ID": "simulatedappids", "API_KEY": "simulated-server-key"},
    "kochava": {"APP_ID": "koshop-android-abc1"},
    "tenjin": {"SDK_KEY": "TENJINSDKKEY1", "BUNDLE_ID": "com.shop.app"},
}
