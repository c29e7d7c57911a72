"""`[clients.NAME]`, `[pools.NAME]` and `[gateway]` in the file and in variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from dispatcher.policy.period_budgets import PeriodBudget
from hookchain.settings.load import SettingsError, load_settings

UPSTREAMS = '[upstreams.main]\nurl = "http://x"\n[upstreams.spare]\nurl = "http://y"\n'


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("[clients.a]\nkye = 'k'", "[clients.a]: unknown key 'kye'. Did you mean \"key\"?"),
        ("[clients.a]\nkey = 'short'", "[clients.a]: key has 5 characters; a key needs at least 8"),
        ("[clients.a]\nkey = 'long enough'", "[clients.a]: key contains a blank"),
        ("[clients.a]\nkey = '12345678'\n[clients.b]\nkey = '12345678'", "[clients.b]: key is also the key of a"),
        ("[clients.a]\npool = 'mian'", "[clients.a]: pool is 'mian', which is neither a pool nor an upstream. Did you mean \"main\"?"),
        ("[clients.a]\npool = ['main', 'spar']", "there is no upstream 'spar'. Did you mean \"spare\"?"),
        ("[clients.a]\nhook_secret = 'whsec_?'", "[clients.a]: hook_secret must be whsec_ followed by base64"),
        ("[clients.a]\nnotify_hook = 'bot'", "[clients.a]: notify_hook is not a URL that can be called"),
        ("[clients.a]\nnotify_hook = 'http://me:12345678@bot'", "notify_hook has a user name or a password"),
        ("[clients.a]\nhook_hosts = ['10.0.0.1/8']", "[clients.a]: hook_hosts: 10.0.0.1/8 has host bits set"),
        ("[clients.a]\nqueue_max = 0", "[clients.a]: queue_max is 0; it must be between 1 and"),
        ("[clients.'a b']", "client 'a b': the name may have"),
        ("[pools.both]\nupstreams = ['mane']", "[pools.both]: upstreams: there is no upstream 'mane'"),
        ("[pools.both]\nupstreams = []", "[pools.both]: upstreams is empty"),
        ("[pools.main]\nupstreams = ['spare']", "[pools.main] has the name of an upstream"),
        ("[pools.b]\nupstreams = ['main']\nweights = { spare = 1 }", "'spare' is not one of the pool's upstreams"),
        ("[pools.b]\nupstreams = ['main']\norder = 'weight'\nweights = { main = 0 }", "every weight is 0"),
        ("[gateway]\ncors_origins = ['https://App.example.com/']", "is not an origin; write * for all"),
        ("[gateway]\nspool_limit_bytes = 10000", "less than submit_limit_bytes"),
        ("[gateway]\nenable = true", "[gateway]: unknown key 'enable'. Did you mean \"enabled\"?"),
    ],
)  # fmt: skip
def test_a_mistake_is_named(tmp_path: Path, toml: str, says: str) -> None:
    """Where it is, and what to write instead; a key is never shown."""
    (tmp_path / "hookchain.toml").write_text(f"{UPSTREAMS}{toml}\n")
    with pytest.raises(SettingsError) as raised:
        load_settings({}, tmp_path)
    assert says in str(raised.value)
    assert "12345678" not in str(raised.value)


def test_all_can_be_set_by_variables_alone(tmp_path: Path) -> None:
    """One pool or several upstreams, all rules or some."""
    settings = load_settings(
        {
            "HOOKCHAIN_UPSTREAM_URL": "http://x",
            "HOOKCHAIN_UPSTREAMS_SPARE_URL": "http://y",
            "HOOKCHAIN_CLIENTS_SHOP_KEY": "a-key-of-a-shop",
            "HOOKCHAIN_CLIENTS_SHOP_POOL": "both",
            "HOOKCHAIN_CLIENTS_SHOP_RULES": "off",
            "HOOKCHAIN_CLIENTS_BOT_POOL": "spare, main",
            "HOOKCHAIN_CLIENTS_BOT_RULES": "upscale-all",
            "HOOKCHAIN_POOLS_BOTH_UPSTREAMS": "main, spare",
            "HOOKCHAIN_POOLS_BOTH_MODES": "main=fast turbo, spare=relax",
            "HOOKCHAIN_POOLS_BOTH_WEIGHTS": "main=2.5",
            "HOOKCHAIN_GATEWAY_CORS_ORIGINS": "https://a.example.com, http://localhost:3000",
        },
        tmp_path,
    )
    shop, bot, both = settings.clients["shop"], settings.clients["bot"], settings.pools["both"]
    assert (shop.name, shop.key, shop.pool, shop.rules) == ("shop", "a-key-of-a-shop", "both", False)
    assert (bot.name, bot.pool, bot.rules) == ("bot", ["spare", "main"], ["upscale-all"])
    assert (both.upstreams, both.weights) == (["main", "spare"], {"main": 2.5})
    assert both.modes == {"main": ["fast", "turbo"], "spare": ["relax"]}
    assert settings.gateway.cors_origins == ["https://a.example.com", "http://localhost:3000"]


def test_the_gateway_is_on_if_it_has_a_client_or_is_switched_on(tmp_path: Path) -> None:
    """And off in spite of a client, if it is switched off."""
    client = {"HOOKCHAIN_CLIENTS_A_KEY": "12345678"}
    assert not load_settings({}, tmp_path).gateway_is_on
    assert load_settings(client, tmp_path).gateway_is_on
    assert load_settings({"HOOKCHAIN_GATEWAY": "1"}, tmp_path).gateway_is_on
    assert not load_settings(client | {"HOOKCHAIN_GATEWAY": "0"}, tmp_path).gateway_is_on


def test_the_day_keys_are_budgets_of_that_client(tmp_path: Path) -> None:
    """One for each; a budget of the file with the same name is refused."""
    variables = {
        "HOOKCHAIN_CLIENTS_A_SUBMISSIONS_PER_DAY": "5",
        "HOOKCHAIN_CLIENTS_A_SPEND_PER_DAY": "0.5",
        "HOOKCHAIN_CLIENTS_B_RATE": "1",
    }
    settings = load_settings(variables, tmp_path)
    assert settings.plan is not None
    assert settings.all_budgets == [
        PeriodBudget(per="day", client="a", submissions=5),
        PeriodBudget(per="day", client="a", spend=0.5),
    ]
    twice = variables | {"HOOKCHAIN_BUDGETS": "per=day, client=a, submissions=9"}
    with pytest.raises(SettingsError, match="also called 'submissions per day of client a'"):
        load_settings(twice, tmp_path)
