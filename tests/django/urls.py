"""The endpoints. Only what the suites call: no login pages, no application management."""

from django.urls import include, path
from oauth2_provider import views as oauth2

import views

oauth2_urls = [
    path("token/", oauth2.TokenView.as_view(), name="token"),
    path("revoke_token/", oauth2.RevokeTokenView.as_view(), name="revoke-token"),
    path("introspect/", oauth2.IntrospectTokenView.as_view(), name="introspect"),
]

urlpatterns = [
    path("o/", include((oauth2_urls, "oauth2_provider"))),
    path("api/me", views.Me.as_view()),
    path("api/admin", views.Admin.as_view()),
    path("stats", views.stats),
    path("stats/reset", views.reset_stats),
]
