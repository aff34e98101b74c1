"""Does to a Redis what the suite `interop` says, one command of JSON per line, and answers in the same way."""

import json
import sys
from datetime import datetime

import redis
from document_storage import RedisTokenStorage
from requestforge.config import TokenData


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
    key = command["key"]
    match command["do"]:
        case "get":
            return shown(storage.get(key))
        case "set":
            return storage.set(key, made(command["token"]))
        case "delete":
            return storage.delete(key)
        case "exists":
            return storage.exists(key)


def main():
    storage = RedisTokenStorage(redis.Redis(host="127.0.0.1", port=int(sys.argv[1])))
    for line in sys.stdin:
        try:
            answer = {"ok": done(storage, json.loads(line))}
        except Exception as error:
            answer = {"error": repr(error)}
        print(json.dumps(answer), flush=True)


main()
