from __future__ import annotations

import re
from typing import Any

import pytest


@pytest.mark.parametrize("path", ["/docs", "/api/docs"])
async def test_the_page_names_no_other_host(client: Any, path: str) -> None:
    answer = await client.get(path, headers={"authorization": ""})
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    links = re.findall(r'(?:src|href)="([^"]*)"', answer.text)
    assert len(links) >= 4
    for link in links:
        assert link.startswith("/docs/assets/")
        asset = await client.get(link)
        assert asset.status_code == 200, link
        assert len(asset.content) > 100


async def test_the_bundle_is_swagger_ui_5(client: Any) -> None:
    bundle = await client.get("/docs/assets/swagger-ui-bundle.js")
    assert bundle.headers["content-type"].startswith("text/javascript")
    assert re.search(r'PACKAGE_VERSION:"5\.\d+', bundle.text)


@pytest.mark.parametrize("name", ["nope.js", "..%2F..%2Fpyproject.toml", "redoc.standalone.js"])
async def test_only_named_assets_are_served(client: Any, name: str) -> None:
    assert (await client.get(f"/docs/assets/{name}")).status_code == 404
