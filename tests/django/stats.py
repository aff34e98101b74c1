"""Counts what reached the server, so that a test need not believe its client."""

import threading
from collections import Counter, defaultdict

_lock = threading.Lock()


def _empty():
    return {
        "token_calls_by_grant": defaultdict(Counter),
        "token_calls_by_auth": Counter(),
        "protected_calls_by_status": Counter(),
        "introspection_calls_by_status": Counter(),
        "revocation_calls_by_status": Counter(),
    }


_counts = _empty()


def reset():
    global _counts
    with _lock:
        _counts = _empty()


def snapshot():
    with _lock:
        by_grant = {grant: dict(by_status) for grant, by_status in _counts["token_calls_by_grant"].items()}
        flat = {name: dict(counter) for name, counter in _counts.items() if name != "token_calls_by_grant"}
    return {
        "token_calls": sum(sum(by_status.values()) for by_status in by_grant.values()),
        "token_calls_by_grant": by_grant,
        **flat,
        "protected_calls": sum(flat["protected_calls_by_status"].values()),
    }


class CountCalls:
    """Middleware. It counts when the answer is ready, so a call still under way is not in yet."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        status = str(response.status_code)
        with _lock:
            if request.path == "/o/token/":
                grant = request.POST.get("grant_type", "none")
                _counts["token_calls_by_grant"][grant][status] += 1
                _counts["token_calls_by_auth"][_client_auth(request)] += 1
            elif request.path == "/o/introspect/":
                _counts["introspection_calls_by_status"][status] += 1
            elif request.path == "/o/revoke_token/":
                _counts["revocation_calls_by_status"][status] += 1
            elif request.path.startswith("/api/"):
                _counts["protected_calls_by_status"][status] += 1
        return response


def _client_auth(request):
    if request.headers.get("Authorization", "").startswith("Basic "):
        return "basic"
    return "body" if "client_secret" in request.POST else "none"
