"""Keys, secrets, and who is recognised when."""

from __future__ import annotations

import hashlib
import re

import pytest

from callcentre.credentials import ApiKey, generate_sip_secret, ha1, same_secret
from callcentre.database.decisions import Outcome
from callcentre.database.runner import Deadline, UnavailableError
from callcentre.principals import (
    ABSENT,
    FRESH,
    SIZE,
    STALE,
    ApiKeyAuthenticator,
    CacheUse,
    Principal,
    TokenAuthenticator,
    cache_use,
)


def test_a_key_is_found_again_from_its_text_and_hides_its_secret() -> None:
    key = ApiKey.generate()
    assert re.fullmatch(r"otk_[A-Za-z0-9]{8}_[A-Za-z0-9_-]{43}", key.text)
    assert ApiKey.parse(key.text) == key
    assert key.secret not in repr(key)
    assert key.digest == hashlib.sha256(key.secret.encode()).digest()


@pytest.mark.parametrize(
    "text", ["", "otk_", "otk_abcdefgh_short", "otk_abc_efgh_" + "A" * 43, "otk_abcdefgh_" + "é" * 43]
)
def test_other_texts_are_no_keys(text: str) -> None:
    assert ApiKey.parse(text) is None


def test_ha1_is_that_of_the_standard() -> None:
    """The example of RFC 2617, 3.5."""
    assert ha1("Mufasa", "testrealm@host.com", "Circle Of Life") == "939e7578ed9e3c518a452acee763bce9"


def test_sip_secrets_are_long_and_differ() -> None:
    made = {generate_sip_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9]{24,}", secret) for secret in made)


def test_secrets_outside_ascii_are_compared_and_not_an_error() -> None:
    assert not same_secret("é\udc80", "token")
    assert same_secret("token", "token")


async def test_a_token_is_one_principal() -> None:
    authenticator = TokenAuthenticator("edge", "right-token")
    assert await authenticator.authenticate("right-token", Deadline()) == Principal("edge", "edge")
    assert await authenticator.authenticate("wrong-token", Deadline()) is None


@pytest.mark.parametrize(
    ("age", "present", "primary_known", "use"),
    [
        (None, False, True, CacheUse.LOOK_UP),
        (FRESH - 1, True, True, CacheUse.HIT),
        (FRESH, True, True, CacheUse.REFRESH),
        (FRESH, True, False, CacheUse.HIT),
        (STALE, True, False, CacheUse.LOOK_UP),
        (ABSENT - 1, False, True, CacheUse.HIT),
        (ABSENT, False, True, CacheUse.LOOK_UP),
    ],
)
def test_when_a_cached_key_is_used(age: float | None, present: bool, primary_known: bool, use: CacheUse) -> None:
    assert cache_use(age, present=present, primary_known=primary_known) is use


class Keys:
    """A database of keys with a clock and a switch."""

    def __init__(self) -> None:
        self.now = 0.0
        self.up = True
        self.digests: dict[str, bytes] = {}
        self.lookups = 0
        self.authenticator = ApiKeyAuthenticator(self.find, lambda: self.up, lambda: self.now)

    async def find(self, prefix: str, deadline: Deadline) -> bytes | None:
        self.lookups += 1
        if not self.up:
            raise UnavailableError(Outcome.UNKNOWN, "down", 1)
        return self.digests.get(prefix)

    async def ask(self, key: ApiKey) -> Principal | None:
        return await self.authenticator.authenticate(key.text, Deadline())


async def test_a_known_key_needs_no_database_in_a_failover() -> None:
    keys, key = Keys(), ApiKey.generate()
    keys.digests[key.prefix] = key.digest
    assert await keys.ask(key) == Principal("api-key", key.prefix)
    keys.up, keys.now = False, STALE - 1
    assert await keys.ask(key) == Principal("api-key", key.prefix)
    assert keys.lookups == 1


async def test_after_the_bound_an_unreachable_database_means_nothing_was_done() -> None:
    keys, key = Keys(), ApiKey.generate()
    keys.digests[key.prefix] = key.digest
    await keys.ask(key)
    keys.up, keys.now = False, STALE
    with pytest.raises(UnavailableError) as caught:
        await keys.ask(key)
    assert caught.value.outcome is Outcome.NOT_DONE


async def test_a_revoked_key_ends_within_the_bound_and_here_at_once() -> None:
    keys, key = Keys(), ApiKey.generate()
    keys.digests[key.prefix] = key.digest
    await keys.ask(key)
    del keys.digests[key.prefix]
    keys.now = FRESH
    assert await keys.ask(key) is None
    other = ApiKey.generate()
    keys.authenticator.remember(other.prefix, other.digest)
    assert await keys.ask(other) is not None
    keys.authenticator.remember(other.prefix, None)
    assert await keys.ask(other) is None


async def test_a_right_prefix_with_a_wrong_secret_is_nobody() -> None:
    keys, key = Keys(), ApiKey.generate()
    keys.digests[key.prefix] = key.digest
    assert await keys.ask(ApiKey(key.prefix, ApiKey.generate().secret)) is None
    assert await keys.ask(ApiKey("notthere", key.secret)) is None


async def test_guessing_does_not_grow_the_cache() -> None:
    keys = Keys()
    for number in range(SIZE + 10):
        await keys.ask(ApiKey(f"{number:08d}", "A" * 43))
    assert len(keys.authenticator._cache) == SIZE
