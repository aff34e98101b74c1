"""Settings of an authorization server that lives for one test run. Never use them elsewhere.

serve.py hands over what differs from run to run through the environment.
"""

import os
import secrets
from pathlib import Path

DATA_DIR = Path(os.environ["FORGE_DJANGO_DATA_DIR"])

DEBUG = False
# Nothing signed with it has to survive a restart.
SECRET_KEY = secrets.token_urlsafe(48)
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "oauth2_provider",
]

# Django's CommonMiddleware is left out on purpose: without it a token URL that lacks its trailing
# slash is an HTML 404, and every answer carries `Connection: close`. Clients meet both.
MIDDLEWARE = ["stats.CountCalls"]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA_DIR / "db.sqlite3",
        "OPTIONS": {
            # The server has a thread per connection. A transaction that starts as a reader and then
            # wants to write fails at once with "database is locked", whatever the timeout; one that
            # takes the write lock first waits for its turn.
            "transaction_mode": "IMMEDIATE",
            "timeout": 60,
            # With WAL readers do not wait for the writer. Nobody needs the data after a power cut.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;",
        },
    }
}

# Client secrets and passwords go through this hasher too, on every token call. The default one takes
# 300 ms on purpose, which would make each suite a measurement of PBKDF2. The secrets here are random
# and die with the process, so a fast hash gives nothing away.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

OAUTH2_PROVIDER = {
    "ACCESS_TOKEN_EXPIRE_SECONDS": int(os.environ["FORGE_DJANGO_ACCESS_TOKEN_SECONDS"]),
    # The strict end of what servers do: each refresh token works once, and a second use revokes all
    # that came from the same grant.
    "ROTATE_REFRESH_TOKEN": True,
    "REFRESH_TOKEN_REUSE_PROTECTION": True,
    "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": 0,
    "SCOPES": {
        "read": "Read",
        "write": "Write",
        "admin": "See /api/admin",
        "introspection": "Introspect with a bearer token instead of client credentials",
    },
    # Whoever wants more has to ask for it by name.
    "DEFAULT_SCOPES": ["read", "write"],
    "OIDC_ENABLED": False,
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        # It has handlers of its own, and writes the whole request line, where a query may hold a token.
        "django.server": {"handlers": [], "level": "CRITICAL", "propagate": False},
        # Every password grant would be a paragraph on RFC 9700.
        "oauth2_provider": {"level": "ERROR"},
    },
}
