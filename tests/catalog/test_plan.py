"""How a plan reads, held against the whole text of one."""

from __future__ import annotations

from pathlib import Path

from tests.support.workspaces import FULL, apply, new_home

PLAN = """\
~ organisation
~   name: "Trunkline" → "Acme"
+ app Wallet
+   platform: "android"
+   s2s.enabled: true
+   s2s.dev_key: •••
+   s2s.allowed_ips: ["203.0.113.7", "2001:db8::/32"]
+ key Wallet/backend
+   type: "server"
+   secret: •••
+ key Wallet/web
+   type: "client"
+   secret: •••
+   allowed_origins: ["https://wallet.example"]
+ event Wallet/Purchase Completed
+   revenue: true
+   accept: "server"
+ destination Wallet/ledger
+   kind: "webhook"
+   settings.url: "https://ops.example/hook"
+   settings.secret: •••
+   filter.types: ["track"]"""


def test_the_plan_of_the_contract_s_file(tmp_path: Path) -> None:
    assert "\n".join(apply(new_home(tmp_path), FULL).lines) == PLAN


def test_a_password_inside_an_address_is_not_told(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    text = (
        "apps: [{id: zcmwmxbkmuodelu, name: A, destinations: [{id: d, kind: klaviyo, "
        "settings: {url: 'https://me:hush@k.example', api_key: hush-hush, pages: 1}}]}]"
    )
    lines = apply(home, text).lines
    lines += apply(home, text.replace("pages: 1", "pages: 2").replace("//me:", "//you:")).lines
    assert '~   settings.url: "https://•••@k.example" → "https://•••@k.example"' in lines
    assert "hush" not in "\n".join(lines)


def test_a_removal_reads_like_one(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    apply(home, FULL)
    assert apply(home, "apps: []", prune=True).lines == (
        "- app Wallet",
        "- key Wallet/backend",
        "- key Wallet/web",
        "- event Wallet/Purchase Completed",
        "- destination Wallet/ledger",
    )
