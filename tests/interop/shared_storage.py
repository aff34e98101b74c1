import json
from datetime import datetime, timedelta, timezone

from requestforge.config import TokenData
from requestforge.interfaces import TokenStorageInterface


def utc_now():
    return datetime.now(timezone.utc).replace(tzinfo=None)


class UtcTokenData(TokenData):
    """A token whose `expires_at` is naive UTC, whatever the time zone of the process."""

    @property
    def is_expired(self):
        return self.expires_at is not None and utc_now() >= self.expires_at - timedelta(seconds=30)


class SharedTokenStorage(TokenStorageInterface):
    """Access tokens that Python and Rust share: records of JSON in Redis, without refresh tokens."""

    def __init__(self, redis_client, key_prefix="token"):
        self.redis = redis_client
        self.prefix = key_prefix

    def _make_key(self, key):
        return f"{self.prefix}:{key}"

    def get(self, key):
        data = self.redis.get(self._make_key(key))
        if data is None:
            return None
        record = json.loads(data)
        expires_at = record.get("expires_at")
        return UtcTokenData(
            access_token=record["access_token"],
            token_type=record.get("token_type") or "Bearer",
            expires_at=datetime.fromisoformat(expires_at) if expires_at else None,
            scope=record.get("scope"),
            extra=record.get("extra") or {},
        )

    def set(self, key, token):
        record = {
            "access_token": token.access_token,
            "token_type": token.token_type,
            "expires_at": token.expires_at.isoformat() if token.expires_at else None,
            "refresh_token": None,
            "scope": token.scope,
            "extra": token.extra,
        }
        if token.expires_at:
            seconds = int((token.expires_at - utc_now()).total_seconds())
            self.redis.setex(self._make_key(key), max(seconds, 60), json.dumps(record))
        else:
            self.redis.set(self._make_key(key), json.dumps(record))

    def delete(self, key):
        self.redis.delete(self._make_key(key))

    def exists(self, key):
        return bool(self.redis.exists(self._make_key(key)))
