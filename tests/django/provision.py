"""Creates the user and the applications, with new secrets at every start: none is in the repository."""

import secrets

from django.contrib.auth.models import User
from oauth2_provider.models import Application

# All that a sloppy client gets wrong in Basic credentials and in form bodies: a space, form-encoding's
# own space, the start of a percent escape and a complete one, the separator of Basic credentials, the
# separators of a form, a slash and a letter outside ASCII.
AWKWARD = " +%%41:/&=é"


def provision():
    return {
        "clients": {
            "confidential": _application("confidential", Application.GRANT_CLIENT_CREDENTIALS, AWKWARD),
            "password": _application("password", Application.GRANT_PASSWORD),
        },
        "user": _user("ada"),
    }


def _application(name, grant_type, extra=""):
    client_id = f"{name}-{secrets.token_hex(8)}"
    # The awkward part stands in the middle, where no trimming hides a mistake.
    client_secret = secrets.token_urlsafe(16) + extra + secrets.token_urlsafe(16)
    Application.objects.update_or_create(
        name=name,
        defaults={
            "client_id": client_id,
            "client_secret": client_secret,
            "client_type": Application.CLIENT_CONFIDENTIAL,
            "authorization_grant_type": grant_type,
        },
    )
    return {"client_id": client_id, "client_secret": client_secret}


def _user(username):
    password = secrets.token_urlsafe(16) + AWKWARD + secrets.token_urlsafe(16)
    user, _ = User.objects.get_or_create(username=username)
    user.set_password(password)
    user.save()
    return {"username": username, "password": password}
