"""The class `RedisTokenStorage` of the documents, section "Custom Storage Example": their listing unchanged.

What reads and writes the records of other programs is tried with what those programs were told to use.
Only the listing's last lines, its "Usage", are left out: they connect to a server of their own.
"""

from requestforge.interfaces import TokenStorageInterface
from requestforge.config import TokenData
import redis
import json
from datetime import datetime

class RedisTokenStorage(TokenStorageInterface):
    """Redis-based token storage."""

    def __init__(self, redis_client, key_prefix='token'):
        self.redis = redis_client
        self.prefix = key_prefix

    def _make_key(self, key):
        return f"{self.prefix}:{key}"

    def get(self, key):
        data = self.redis.get(self._make_key(key))
        if data:
            token_dict = json.loads(data)
            # Convert expires_at string to datetime
            if token_dict.get('expires_at'):
                token_dict['expires_at'] = datetime.fromisoformat(
                    token_dict['expires_at']
                )
            return TokenData(**token_dict)
        return None

    def set(self, key, token):
        token_dict = {
            'access_token': token.access_token,
            'token_type': token.token_type,
            'expires_at': token.expires_at.isoformat() if token.expires_at else None,
            'refresh_token': token.refresh_token,
            'scope': token.scope,
            'extra': token.extra
        }
        data = json.dumps(token_dict)

        # Calculate TTL
        if token.expires_at:
            ttl = int((token.expires_at - datetime.now()).total_seconds())
            ttl = max(ttl, 60)  # Minimum 60 seconds
            self.redis.setex(self._make_key(key), ttl, data)
        else:
            self.redis.set(self._make_key(key), data)

    def delete(self, key):
        self.redis.delete(self._make_key(key))

    def exists(self, key):
        return self.redis.exists(self._make_key(key))
