"""The protected API, and what the server counted."""

from django.http import JsonResponse
from django.views.decorators.http import require_GET, require_POST
from oauth2_provider.models import RefreshToken
from oauth2_provider.views.generic import ScopedProtectedResourceMetadataView

import stats as counters


class Protected(ScopedProtectedResourceMetadataView):
    """Answers with who called. Without a valid token the toolkit answers, with a challenge."""

    def verify_request(self, request):
        valid, oauth = super().verify_request(request)
        if valid:
            request.token_client = oauth.client
            request.token_scopes = oauth.scopes
        return valid, oauth

    def get(self, request):
        user = request.resource_owner
        # Nothing of the token itself: tests compare what arrived through introspection instead.
        return JsonResponse(
            {
                "client_id": request.token_client.client_id,
                "user": user.get_username() if user else None,
                "scope": " ".join(request.token_scopes),
            }
        )

    post = get


class Me(Protected):
    required_scopes = ["read"]


class Admin(Protected):
    """Needs a scope that no client has unless it asks for it."""

    required_scopes = ["admin"]


@require_GET
def stats(request):
    live = RefreshToken.objects.filter(revoked__isnull=True)
    revoked = RefreshToken.objects.filter(revoked__isnull=False)
    return JsonResponse(
        counters.snapshot()
        | {
            # From the database, so a reset does not touch them: compare before and after.
            "refresh_tokens_live": live.count(),
            "refresh_tokens_revoked": revoked.count(),
            # A family is all refresh tokens that descend from one grant.
            "families_revoked": revoked.exclude(token_family__in=live.values("token_family"))
            .values("token_family")
            .distinct()
            .count(),
        }
    )


@require_POST
def reset_stats(request):
    counters.reset()
    return JsonResponse({})
