"""Does to a Redis what the suite `interop` says, one command of JSON per line, and answers in the same way.

Arguments: the port of the Redis, and the storage: `document`, which is the class of the documents, or `shared`,
which is the one that MIGRATING.md has people add.
"""

import json
import sys
from datetime import datetime

import redis
from document_storage import RedisTokenStorage
from requestforge import ClientCredentialsTokenProvider, TokenManager
from requestforge.config import TokenData
from shared_storage import SharedTokenStorage

STORAGES = {"document": RedisTokenStorage, "shared": SharedTokenStorage}


def shown(token):
    if token is None:
        return None
    return {
        "access_token": token.access_token,
        "token_type": token.token_type,
        "expires_at": token.expires_at.isoformat(timespec="microseconds") if token.expires_at else None,
        "refresh_token": token.refresh_token,
        "scope": token.scope,
        "extra": token.extra,
        "is_expired": token.is_expired,
    }


def made(fields):
    if fields.get("expires_at"):
        fields = {**fields, "expires_at": datetime.fromisoformat(fields["expires_at"])}
    return TokenData(**fields)


def done(storage, command):
    key = command.get("key")
    match command["do"]:
        case "get":
            return shown(storage.get(key))
        case "set":
            return storage.set(key, made(command["token"]))
        case "delete":
            return storage.delete(key)
        case "exists":
            return storage.exists(key)
        case "token":
            # As a service of Python's gets its tokens.
            manager = TokenManager(ClientCredentialsTokenProvider(**command["provider"]), storage)
            return manager.get_token().access_token


def main():
    storage = STORAGES[sys.argv[2]](redis.Redis(host="127.0.0.1", port=int(sys.argv[1])))
    for line in sys.stdin:
        try:
            answer = {"ok": done(storage, json.loads(line))}
        except Exception as error:
            answer = {"error": repr(error)}
        print(json.dumps(answer), flush=True)


main()
