"""The semantic events of shops and mobile apps, in canonical form, whole and with parts missing.

`FULL` holds every event of the public e-commerce and mobile vocabulary, and one each of identify,
page, screen, group and alias, with every property that the vocabulary names and a context like a
library's. `BARE` are the same with nothing that is optional; `lacking()` yields them with one part
missing at a time. All of them are plain JSON; take a copy before changing one.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from trunkline.model.event import JsonObject

PRODUCT: JsonObject = {
    "product_id": "507f1f77bcf86cd799439011",
    "sku": "45790-32",
    "category": "Games",
    "name": "Monopoly: 3rd Edition",
    "brand": "Hasbro",
    "variant": "200 pieces",
    "price": 18.99,
    "quantity": 1,
    "coupon": "MAYDEALS",
    "position": 3,
    "url": "https://shop.example.com/product/path?ref=1",
    "image_url": "https://shop.example.com/product/path.jpg",
}
OTHER_PRODUCT: JsonObject = {
    **PRODUCT,
    "product_id": "505bd76785ebb509fc183733",
    "sku": "46493-32",
    "name": "بازی اونو",
    "price": 3,
    "quantity": 2,
    "position": 4,
}
PRODUCTS = [PRODUCT, OTHER_PRODUCT]
_ORDER: JsonObject = {
    "order_id": "50314b8e9bcf000000000000",
    "affiliation": "Google Store",
    "revenue": 25.0,
    "shipping": 3,
    "tax": 2,
    "discount": 2.5,
    "coupon": "hasbros",
    "currency": "USD",
    "products": PRODUCTS,
}
_COUPON: JsonObject = {
    "order_id": "50314b8e9bcf000000000000",
    "cart_id": "923923929jd29jd92dj9j93fj3",
    "coupon_id": "may_deals_2016",
    "coupon_name": "May Deals 2016",
}
_WISHLIST: JsonObject = {"wishlist_id": "skdjsidjsdkdj29j", "wishlist_name": "Loved Games"}
_STEP: JsonObject = {
    "checkout_id": "50314b8e9bcf000000000000",
    "step": 2,
    "shipping_method": "Fedex",
    "payment_method": "Visa",
}
_CAMPAIGN: JsonObject = {
    "source": "Network/FB/AdWords/MoPub/Source",
    "name": "Campaign Name",
    "medium": "push",
    "content": "Organic Content Title",
    "term": "games",
    "ad_creative": "Red Hello World Ad",
    "ad_group": "Red Ones",
}
_CART: JsonObject = {"cart_id": "d92jd29jd92jd29j92d92jd", "products": PRODUCTS}
_SHARED: JsonObject = {
    "share_via": "email",
    "share_message": "Hey, check out this item",
    "recipient": "friend@example.com",
}
_PROMOTION: JsonObject = {
    "promotion_id": "promo_1",
    "creative": "top_banner_2",
    "name": "75% store-wide shoe sale",
    "position": "home_banner_top",
}
_LIST: JsonObject = {"list_id": "hot_deals_1", "category": "Deals", "products": PRODUCTS}
_VERSION: JsonObject = {"version": "1.2.3", "build": "1234"}
_OPENED: JsonObject = {
    "from_background": False,
    "url": "shop://location",
    "referring_application": "GoogleMail",
    **_VERSION,
}
_PUSH: JsonObject = {"action": "Accept", "campaign": _CAMPAIGN}
_LINK: JsonObject = {"provider": "Branch Metrics", "url": "shop://landing?id=1"}

TRACKED: dict[str, JsonObject] = {
    "Products Searched": {"query": "blue hotpants"},
    "Product List Viewed": _LIST,
    "Product List Filtered": {
        **_LIST,
        "filters": [{"type": "department", "value": "beauty"}, {"type": "price", "value": "under"}],
        "sorts": [{"type": "price", "value": "desc"}],
    },
    "Promotion Viewed": _PROMOTION,
    "Promotion Clicked": _PROMOTION,
    "Product Clicked": PRODUCT,
    "Product Viewed": {**PRODUCT, "currency": "USD", "value": 18.99},
    "Product Added": {**PRODUCT, "cart_id": "skdjsidjsdkdj29j"},
    "Product Removed": {**PRODUCT, "cart_id": "skdjsidjsdkdj29j"},
    "Cart Viewed": _CART,
    "Checkout Started": {**_ORDER, "value": 30},
    "Checkout Step Viewed": _STEP,
    "Checkout Step Completed": _STEP,
    "Payment Info Entered": {**_STEP, "order_id": "50314b8e9bcf000000000000"},
    "Order Completed": {**_ORDER, "checkout_id": "fksdjfsdj", "subtotal": 22.5, "total": 27.5},
    "Order Updated": {**_ORDER, "total": 27.5},
    "Order Cancelled": {**_ORDER, "total": 27.5},
    "Order Refunded": {**_ORDER, "total": 27.5},
    "Coupon Entered": _COUPON,
    "Coupon Applied": {**_COUPON, "discount": 23.32},
    "Coupon Denied": {**_COUPON, "reason": "Coupon expired"},
    "Coupon Removed": {**_COUPON, "discount": 23.32},
    "Product Added to Wishlist": {**PRODUCT, **_WISHLIST},
    "Product Removed from Wishlist": {**PRODUCT, **_WISHLIST},
    "Wishlist Product Added to Cart": {**PRODUCT, **_WISHLIST, "cart_id": "99j2d92j9dj29dj29d2d"},
    "Product Shared": {**PRODUCT, **_SHARED},
    "Cart Shared": {**_CART, **_SHARED},
    "Product Reviewed": {
        "product_id": "507f1f77bcf86cd799439011",
        "review_id": "kdfjrj39fj39jf3",
        "review_body": "I love this product",
        "rating": 5,
    },
    "Application Installed": _VERSION,
    "Application Opened": _OPENED,
    "Application Backgrounded": _VERSION,
    "Application Foregrounded": _VERSION,
    "Application Updated": {**_VERSION, "previous_version": "1.1.2", "previous_build": "1220"},
    "Application Uninstalled": _VERSION,
    "Application Crashed": _VERSION,
    "Install Attributed": {"provider": "Tune", "campaign": _CAMPAIGN},
    "Push Notification Received": _PUSH,
    "Push Notification Tapped": _PUSH,
    "Push Notification Bounced": _PUSH,
    "Deep Link Opened": _LINK,
    "Deep Link Clicked": _LINK,
    "Something of Our Own": {"count": 7, "nested": {"list": [1, "two", None, []], "empty": {}}},
}
TRAITS: JsonObject = {
    "email": "  Jane.Doe+Shop@Gmail.com ",
    "phone": "+98 (912) 000-1234",
    "firstName": "Jane",
    "lastName": "O'Neil-Smith",
    "username": "janed",
    "gender": "Female",
    "birthday": "1990-05-07T00:00:00Z",
    "city": "New York",
    "state": "NY",
    "country": "United States",
    "zipcode": "94025-1234",
    "address": {
        "street": "1 Main St",
        "city": "New York",
        "state": "NY",
        "postalCode": "94025-1234",
        "country": "US",
    },
}
_PAGE: JsonObject = {
    "title": "Sale | Shop",
    "url": "https://shop.example.com/sale?gclid=Cj0K&utm_source=google#top",
    "path": "/sale",
    "search": "?gclid=Cj0K&utm_source=google",
    "referrer": "https://www.search.example/find?q=games",
}
# What the vendors' tags leave behind on a page: a provider each, and its fields.
_TAGS: dict[str, tuple[str, ...]] = {
    "acuityAds": ("auid", "cauid"), "adMarketplace": ("gclid",), "adroll": ("adct", "fpc_cookie"),
    "amobee": ("uid",), "appsFlyer": ("appsFlyerId",), "axon": ("alart", "aleid"),
    "bing": ("mid", "msclkid"), "button": ("btn_ref",), "commissionJunction": ("cjevent",),
    "engageFront": ("attr_cookie", "twn_id"), "facebookTag": ("_fbc", "_fbp"),
    "google": ("cid", "dclid", "gclid"), "googleFirebase": ("appInstanceId",),
    "hubSpotTag": ("hubspotutk",), "kargo": ("puid",), "mediaMath": ("mm_id",),
    "microsoftAds": ("mid", "msclkid"), "movableInkCustomerData": ("mi_u",),
    "nextdoor": ("ndclid",), "openAI": ("oppref",), "optimizely": ("optimizelyEndUserId",),
    "partnerize": ("clickref",), "perion": ("sessionID", "utid"), "pinterestCAPI": ("epik",),
    "pinterest": ("derived_epik", "epik"), "rakuten": ("landTimestamp", "ranSiteID"),
    "redditAds": ("rdt_cid",), "revjet": ("revjet_vid",), "roku": ("wfivefivec",),
    "ringierAxelSpringerPoland": ("adp_session", "dlapi_aid", "dlapi_lu"),
    "snapchatCAPI": ("ScCid", "_scid"), "teads": ("auctid",), "teadsCAPI": ("auctid",),
    "tiktok": ("ttclid", "ttp"), "twitterConversion": ("twclid",), "xandr": ("uid", "uid2"),
    "wirtualnaPolska": ("sessionId", "statid", "userId"), "yahooCAPI": ("vmcid",),
    "yahooMedia": ("vmcid", "yahoo_id"),
}  # fmt: skip
_PROVIDERS: JsonObject = {
    **{name: {field: f"{field}-1" for field in fields} for name, fields in _TAGS.items()},
    "googleGtag": {
        "data": {
            "ga": "GA1.2.1033501218.1368477899",
            "gclid": "GCL.1612345678.EAIaIQob",
            "dclid": "GCL.1612345678.CKih",
            "wbraid": "GCL.1612345678.Cj8K",
            "sessionID": "1612345678",
            "sessionCount": 3,
            "timezone_offset": -300,
        }
    },
    "googleAnalytics4": {"sessionID": "1612345678", "sessionCount": 3},
    "CM360": {"dclid": "CKih", "gclid": "Cj0K"},
    "adobe": {"mid": "38400000000000000000", "aam_uuid": "aam-1", "fire_sync_chain": True},
    "awin": {"awc": "1001_1_a", "gclid": "Cj0K"},
    "clinch": {"id": "c1"},
    "convert": {"conv_v": "vi:1*sc:2*pv:3*seg:{bf:CH}"},
    "linkedIn": {"li_fat_id": "6a4c3d"},
    "roomvo": {"ffvisitorids": {"flooring": "v-1"}},
    "theTradeDesk": {"ttd_id": "ttd-1"},
    "unifiedId2": {"encrypted": {"data": {"body": {"advertising_token": "A4A"}}}},
    "xAds": {"twclid": "tw1"},
}
CONTEXT: JsonObject = {
    "active": True,
    "ip": "203.0.113.7",
    "ipv4": "203.0.113.7",
    "ipv6": "2001:db8::7",
    "locale": "en-US",
    "timezone": "America/New_York",
    "userAgent": "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/126.0 Safari",
    "app": {"name": "Shop", "version": "1.2.3", "build": "1234", "namespace": "com.example.shop"},
    "campaign": _CAMPAIGN,
    "consent": {"optOut": {"C0004": False}, "tcf": {"tcString": "CPokAsAPokAsA"}},
    "device": {
        "id": "B5372DB0-C21E-11E4-8DFC-AA07A5B093DB",
        "advertisingId": "38400000-8cf0-11bd-b23e-10b96e40000d",
        "adTrackingEnabled": True,
        "manufacturer": "Google",
        "model": "Pixel 8",
        "name": "shiba",
        "type": "android",
    },
    "library": {"name": "analytics.js", "version": "2.11.1"},
    "location": {"city": "New York", "country": "United States", "latitude": 40.7, "speed": 0},
    "network": {"bluetooth": False, "carrier": "T-Mobile US", "cellular": True, "wifi": False},
    "os": {"name": "Android", "version": "14"},
    "page": _PAGE,
    "providers": _PROVIDERS,
    "screen": {"width": 1080, "height": 2400, "density": 3},
}
_ENVELOPE: JsonObject = {
    "anonymousId": "507f191e-810c-4197-29de-860ea1000000",
    "userId": "u-42",
    "timestamp": "2026-11-20T10:15:30.123Z",
    "originalTimestamp": "2026-11-20T10:15:30.100Z",
    "sentAt": "2026-11-20T10:15:30.200Z",
    "receivedAt": "2026-11-20T10:15:30.323Z",
    "integrations": {"All": True},
    "context": CONTEXT,
    "traits": TRAITS,
    "app": "zcmwmxbkmuodelu",
    "source": {"protocol": "tracking", "key": "website"},
}
_REQUIRED = ("messageId", "type", "event", "name", "timestamp", "receivedAt", "app", "source")


def _event(number: int, type: str, **own: Any) -> JsonObject:
    return copy.deepcopy({"messageId": f"semantic-{number:03}", "type": type, **_ENVELOPE, **own})


def _full() -> list[JsonObject]:
    found = [
        _event(number, "track", event=name, properties=properties)
        for number, (name, properties) in enumerate(TRACKED.items())
    ]
    screen = {"name": "Home", "build": "1234"}
    return [
        *found,
        _event(900, "identify", traits=TRAITS),
        _event(901, "page", name="Sale", category="Shop", properties={**_PAGE, "name": "Sale"}),
        _event(902, "screen", name="Home", properties=screen),
        _event(903, "group", groupId="g-1", traits={"name": "Initech", "employees": 329}),
        _event(904, "alias", previousId="anon-1"),
    ]


FULL: list[JsonObject] = _full()
BARE: list[JsonObject] = [
    {key: value for key, value in event.items() if key in _REQUIRED or key == "anonymousId"}
    for event in FULL
]


def named(name: str) -> JsonObject:
    """Return a copy of the full event of that name, or of that type."""
    return copy.deepcopy(next(e for e in FULL if name in (e.get("event"), e["type"])))


def lacking() -> Iterator[JsonObject]:
    """Yield copies of every full event with one optional part missing at a time.

    The parts: each field of the envelope, each property and trait, each part of the context, and
    each field of the first product.
    """
    for event in FULL:
        for path in _optional_paths(event):
            yield _without(event, path)


def _optional_paths(event: JsonObject) -> list[tuple[str | int, ...]]:
    paths: list[tuple[str | int, ...]] = [(key,) for key in event if key not in _REQUIRED]
    for part in ("properties", "traits", "context"):
        paths += [(part, key) for key in event.get(part, ())]
    if event.get("properties", {}).get("products"):
        paths += [("properties", "products", 0, key) for key in PRODUCT]
        paths.append(("properties", "products", 0))
    return paths


def _without(event: JsonObject, path: tuple[str | int, ...]) -> JsonObject:
    lean = copy.deepcopy(event)
    inner: Any = lean
    for step in path[:-1]:
        inner = inner[step]
    del inner[path[-1]]
    return lean
