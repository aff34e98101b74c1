mod record;

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};
use zeroize::Zeroize;

pub use record::InvalidTokenRecord;

use crate::token_text::with_prefix;
use crate::{Secret, TokenId};

/// An access token and the data that its issuer sent with it (RFC 6749 5.1). Immutable.
///
/// Neither `Debug` nor any error shows the token, a type or scope that a server made up, or the content of `extra`. The
/// drop of the token data overwrites its memory.
///
/// ```
/// use std::time::Duration;
/// use requestforge::TokenData;
///
/// let token = TokenData::new("2YotnFZFEjr1zCsicMWpAA")
///     .with_expires_in(Duration::from_secs(3600))
///     .with_scope("read write");
/// assert!(!token.is_expired());
/// assert_eq!(token.authorization_header(), "Bearer 2YotnFZFEjr1zCsicMWpAA");
/// ```
#[derive(Clone)]
pub struct TokenData {
    access_token: Secret,
    token_type: String,
    expires_at: Option<DateTime<Utc>>,
    refresh_token: Option<Secret>,
    scope: Option<String>,
    extra: Extra,
    issued_at: Option<DateTime<Utc>>,
}

impl TokenData {
    /// How long before its expiry a token counts as expired, if it lives for at least a minute.
    pub const EXPIRY_MARGIN: Duration = Duration::from_secs(30);

    /// A `Bearer` token that never expires. The `with_…` methods add the other data.
    #[must_use]
    pub fn new(access_token: impl Into<Secret>) -> Self {
        Self {
            access_token: access_token.into(),
            token_type: "Bearer".to_owned(),
            expires_at: None,
            refresh_token: None,
            scope: None,
            extra: Extra(Map::new()),
            issued_at: None,
        }
    }

    /// Sets the type, the first word of the `Authorization` header. With an empty type the header contains the token
    /// alone. Default: `Bearer`.
    #[must_use]
    pub fn with_token_type(mut self, token_type: impl Into<String>) -> Self {
        self.token_type = token_type.into();
        self
    }

    /// Sets the time from which on the issuer refuses the token. Default: never.
    #[must_use]
    pub fn with_expires_at(mut self, expires_at: DateTime<Utc>) -> Self {
        self.expires_at = Some(expires_at);
        self
    }

    /// Sets the issue time to now, and the expiry to the end of this lifetime.
    #[must_use]
    pub fn with_expires_in(self, lifetime: Duration) -> Self {
        self.with_lifetime_from(lifetime, Utc::now())
    }

    /// As [`with_expires_in`](Self::with_expires_in), but the lifetime counts from `issued_at`.
    #[must_use]
    pub fn with_lifetime_from(self, lifetime: Duration, issued_at: DateTime<Utc>) -> Self {
        let expires_at =
            TimeDelta::from_std(lifetime).ok().and_then(|lifetime| issued_at.checked_add_signed(lifetime));
        self.with_issued_at(issued_at).with_expires_at(expires_at.unwrap_or(DateTime::<Utc>::MAX_UTC))
    }

    /// The same token without expiry and issue time, for a storage that stores these beside the record.
    #[must_use]
    pub fn without_times(mut self) -> Self {
        (self.expires_at, self.issued_at) = (None, None);
        self
    }

    /// Sets the refresh token (RFC 6749 1.5).
    #[must_use]
    pub fn with_refresh_token(mut self, refresh_token: impl Into<Secret>) -> Self {
        self.refresh_token = Some(refresh_token.into());
        self
    }

    /// The same token without the refresh token.
    #[must_use]
    pub fn without_refresh_token(mut self) -> Self {
        self.refresh_token = None;
        self
    }

    /// Sets the granted scope: words separated by spaces.
    #[must_use]
    pub fn with_scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// Sets all other fields of the issuer's response.
    #[must_use]
    pub fn with_extra(mut self, extra: Map<String, Value>) -> Self {
        self.extra = Extra(extra);
        self
    }

    /// Sets when the token was issued; its lifetime counts from then. Default: unknown. For a token that a
    /// manager has just fetched, the manager then uses the time at which it called the provider. For a token
    /// that it read from a storage, the lifetime stays unknown, and the manager keeps the full
    /// [margin](Self::usable_until) before the expiry, however short the lifetime. So a storage should keep
    /// the issue time, as [`to_record`](Self::to_record) does.
    #[must_use]
    pub fn with_issued_at(mut self, issued_at: DateTime<Utc>) -> Self {
        self.issued_at = Some(issued_at);
        self
    }

    /// The access token.
    #[must_use]
    pub fn access_token(&self) -> &str {
        self.access_token.expose()
    }

    /// The type: `Bearer`, unless the issuer named another.
    #[must_use]
    pub fn token_type(&self) -> &str {
        &self.token_type
    }

    /// The time when the issuer stops accepting the token. `None`: never.
    #[must_use]
    pub fn expires_at(&self) -> Option<DateTime<Utc>> {
        self.expires_at
    }

    /// The refresh token, which renews this token. `None` if the issuer gave none.
    #[must_use]
    pub fn refresh_token(&self) -> Option<&str> {
        self.refresh_token.as_ref().map(Secret::expose)
    }

    /// The granted scope. `None` if the issuer named none.
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }

    /// All other fields of the issuer's response.
    #[must_use]
    pub fn extra(&self) -> &Map<String, Value> {
        &self.extra.0
    }

    /// The time when the token was issued. `None` if it is unknown.
    #[must_use]
    pub fn issued_at(&self) -> Option<DateTime<Utc>> {
        self.issued_at
    }

    /// Whether the access token is in fact an encrypted record of an `EncryptedTokenStorage` (of any
    /// version), read from the inner storage without decryption. A manager treats it as a miss and never
    /// sends it.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        // The record has the form `sealed{version}.{key id}.{rest}`.
        let mut parts = self.access_token().splitn(3, '.');
        let mut next = || parts.next().unwrap_or_default();
        let (version, key_id, sealed) = (next().strip_prefix("sealed").unwrap_or_default(), next(), next());
        let is_number = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
        is_number && !key_id.is_empty() && !sealed.is_empty()
    }

    /// The identity of the access token, which differs from that of every other token.
    #[must_use]
    pub fn id(&self) -> TokenId {
        TokenId::of(self.access_token())
    }

    /// The value of the `Authorization` header: type, space, token. If the type is empty, the token alone.
    #[must_use]
    pub fn authorization_header(&self) -> String {
        with_prefix(&self.token_type, self.access_token())
    }

    /// The value of a `Cookie` header that carries the token as the cookie of this name (RFC 6265 4.2): name,
    /// `=`, token.
    #[must_use]
    pub fn cookie_header(&self, name: &str) -> String {
        format!("{name}={}", self.access_token())
    }

    /// Whether the token is past [`usable_until`](Self::usable_until) by the machine's wall clock. A manager judges by two
    /// clocks, and so notices a wall clock that was set back.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.is_expired_at(Utc::now())
    }

    /// As [`is_expired`](Self::is_expired), for another time than now.
    #[must_use]
    pub fn is_expired_at(&self, now: DateTime<Utc>) -> bool {
        self.usable_until().is_some_and(|until| now >= until)
    }

    /// The time until which a client should send the token: [`EXPIRY_MARGIN`](Self::EXPIRY_MARGIN) before `expires_at`. The
    /// margin is at most half the lifetime, so that a token that lives for 20 seconds is usable. If the issue time is
    /// unknown, so is the lifetime, and the full margin applies. `None`: for ever.
    #[must_use]
    pub fn usable_until(&self) -> Option<DateTime<Utc>> {
        self.usable_until_with(Self::EXPIRY_MARGIN)
    }

    /// As [`usable_until`](Self::usable_until), with another margin.
    #[must_use]
    pub fn usable_until_with(&self, margin: Duration) -> Option<DateTime<Utc>> {
        let expires_at = self.expires_at?;
        let mut margin = TimeDelta::from_std(margin).unwrap_or(TimeDelta::MAX);
        if let Some(issued_at) = self.issued_at {
            let half = expires_at.signed_duration_since(issued_at) / 2;
            margin = margin.min(half.max(TimeDelta::zero()));
        }
        Some(expires_at.checked_sub_signed(margin).unwrap_or(DateTime::<Utc>::MIN_UTC))
    }

    /// The time until which a storage should keep the token: until both the access token and the refresh token have
    /// expired. A refresh token lives as long as the issuer states (`refresh_expires_in` or `refresh_token_expires_in`,
    /// counted from `stored_at`), or else 30 days. `None`: for ever.
    #[must_use]
    pub fn kept_until(&self, stored_at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let expires_at = self.expires_at?;
        if self.refresh_token.is_none() {
            return Some(expires_at);
        }
        let stated = ["refresh_expires_in", "refresh_token_expires_in"]
            .iter()
            .find_map(|field| self.extra.0.get(*field)?.as_u64())
            .and_then(|seconds| TimeDelta::try_seconds(i64::try_from(seconds).ok()?))
            .filter(|lifetime| *lifetime > TimeDelta::zero());
        let lifetime = stated.unwrap_or(DEFAULT_REFRESH_TOKEN_LIFETIME);
        let refreshable_until = stored_at.checked_add_signed(lifetime).unwrap_or(DateTime::<Utc>::MAX_UTC);
        Some(expires_at.max(refreshable_until))
    }
}

const DEFAULT_REFRESH_TOKEN_LIFETIME: TimeDelta = TimeDelta::days(30);

/// Compares the six fields that the Python library knows. The issue time is not one of them.
impl PartialEq for TokenData {
    fn eq(&self, other: &Self) -> bool {
        self.access_token() == other.access_token()
            && self.token_type == other.token_type
            && self.expires_at == other.expires_at
            && self.refresh_token() == other.refresh_token()
            && self.scope == other.scope
            && self.extra.0 == other.extra.0
    }
}

impl fmt::Debug for TokenData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Attack: a server may echo a secret in any field that it fills, so show only values that are known to be none.
        let known = ["Bearer", "DPoP"].into_iter().find(|name| *name == self.token_type);
        f.debug_struct("TokenData")
            .field("access_token", &format_args!("[redacted]"))
            .field("token_type", &known.unwrap_or("[other]"))
            .field("expires_at", &self.expires_at)
            .field("has_refresh_token", &self.refresh_token.is_some())
            .field("has_scope", &self.scope.is_some())
            .field("extra_fields", &self.extra.0.len())
            .finish_non_exhaustive()
    }
}

/// The other fields of a response. They may contain secrets, such as identity tokens, so `drop` overwrites them.
#[derive(Clone)]
struct Extra(Map<String, Value>);

impl Drop for Extra {
    fn drop(&mut self) {
        self.0.values_mut().for_each(wipe);
    }
}

pub(crate) fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn the_margin_is_30_seconds_but_at_most_half_the_lifetime() {
        let hour = TokenData::new("t").with_issued_at(at(0)).with_expires_at(at(3600));
        assert!(!hour.is_expired_at(at(3569)));
        assert!(hour.is_expired_at(at(3570)));

        let short = TokenData::new("t").with_issued_at(at(0)).with_expires_at(at(20));
        assert!(!short.is_expired_at(at(9)));
        assert!(short.is_expired_at(at(10)));

        let unknown_issue = TokenData::new("t").with_expires_at(at(3600));
        assert!(unknown_issue.is_expired_at(at(3570)));
        assert!(!TokenData::new("t").is_expired_at(DateTime::<Utc>::MAX_UTC));
    }

    #[test]
    fn inv09_a_token_is_kept_as_long_as_its_refresh_token_is_of_use() {
        let day = 24 * 3600;
        let token = TokenData::new("t").with_expires_at(at(3600));
        assert_eq!(token.kept_until(at(0)), Some(at(3600)));
        assert_eq!(TokenData::new("t").with_refresh_token("r").kept_until(at(0)), None);

        let refreshable = token.with_refresh_token("r");
        assert_eq!(refreshable.kept_until(at(0)), Some(at(30 * day)));
        for (stated, until) in [(7200, 7200), (60, 3600), (0, 30 * day)] {
            let extra = [("refresh_expires_in".to_owned(), Value::from(stated))].into_iter().collect();
            assert_eq!(refreshable.clone().with_extra(extra).kept_until(at(0)), Some(at(until)));
        }
        let absurd = [("refresh_expires_in".to_owned(), Value::from(u64::MAX))].into_iter().collect();
        assert_eq!(refreshable.with_extra(absurd).kept_until(at(0)), Some(at(30 * day)));
    }

    #[test]
    fn inv20_an_encrypted_record_of_any_version_is_told_from_tokens() {
        for sealed in ["sealed1.k1.AAAA", "sealed2.2026-11.A.B", "sealed10.k.A"] {
            assert!(TokenData::new(sealed).is_sealed(), "{sealed}");
        }
        for token in [
            "",
            "sealed",
            "sealed1",
            "sealed1.k1",
            "sealed1.k1.",
            "sealed1..A",
            "sealed.k1.A",
            "sealedx.k.A",
            "eyJ.a.b",
        ] {
            assert!(!TokenData::new(token).is_sealed(), "{token}");
        }
    }

    #[test]
    fn a_blank_type_adds_nothing_before_the_token() {
        for token_type in ["", " ", "  "] {
            let token = TokenData::new("abc").with_token_type(token_type);
            assert_eq!(token.authorization_header(), "abc");
        }
        for token_type in ["Token", "Token ", " Token"] {
            let token = TokenData::new("abc").with_token_type(token_type);
            assert_eq!(token.authorization_header(), "Token abc");
        }
    }

    #[test]
    fn an_absurd_lifetime_does_not_overflow() {
        assert!(!TokenData::new("t").with_expires_in(Duration::MAX).is_expired());
        assert!(TokenData::new("t").with_expires_in(Duration::ZERO).is_expired());
        assert!(!TokenData::new("t").with_expires_in(Duration::from_secs(20)).is_expired());
    }

    #[test]
    fn an_expiry_at_the_ends_of_time_does_not_overflow() {
        let token = TokenData::new("t").with_issued_at(DateTime::<Utc>::MAX_UTC);
        assert!(token.clone().with_expires_at(DateTime::<Utc>::MIN_UTC).is_expired_at(at(0)));
        assert!(!token.with_expires_at(DateTime::<Utc>::MAX_UTC).is_expired_at(at(0)));
    }

    #[test]
    fn inv16_debug_shows_nothing_that_a_server_could_have_echoed() {
        let mut extra = Map::new();
        extra.insert("id_token".to_owned(), Value::from("canary-extra"));
        let token = TokenData::new("canary-access")
            .with_token_type("canary-type")
            .with_refresh_token("canary-refresh")
            .with_scope("canary-scope")
            .with_extra(extra);
        let shown = format!("{token:?} {token:#?}");
        assert!(!shown.contains("canary"), "{shown}");
    }
}
