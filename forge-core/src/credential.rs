use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};

use crate::token_text::{is_printable_ascii, is_token_text, with_prefix};
use crate::{AuthenticationError, AuthenticationErrorKind, Secret, TokenData, TokenId};

/// A token that is ready to be sent: it has the formatted header value and the token's identity.
///
/// A [`TokenSource`](crate::TokenSource) hands out credentials. A client puts one on a request with
/// [`apply_to`](Self::apply_to) or [`apply`](Self::apply). If the server rejects it, the client passes it to
/// [`refresh_rejected`](crate::TokenSource::refresh_rejected). If the server accepts it, the client calls
/// [`mark_accepted`](Self::mark_accepted).
///
/// ```
/// use requestforge::{Credential, TokenData};
/// use requestforge::http::{HeaderMap, Method};
///
/// let credential = Credential::new(TokenData::new("abc"))?;
/// let mut headers = HeaderMap::new();
/// credential.apply(&Method::GET, "https://api.example.com/users", &mut headers)?;
/// assert_eq!(headers["authorization"], "Bearer abc");
/// # Ok::<_, requestforge::AuthenticationError>(())
/// ```
pub struct Credential {
    token: TokenData,
    id: TokenId,
    header_value: HeaderValue,
    needs_proof: bool,
    accepted: AtomicBool,
}

impl Credential {
    /// Formats the header value of a token.
    ///
    /// # Errors
    ///
    /// [`AuthenticationErrorKind::InvalidResponse`]: the access token is empty or only spaces, or the access token or
    /// its type contains more than printable ASCII (RFC 6749 A.12). Every token must pass this check, wherever it comes
    /// from. A client does not send a token that fails it, and a manager treats such a token in a storage as a miss.
    pub fn new(token: TokenData) -> Result<Self, AuthenticationError> {
        if !is_token_text(token.access_token()) {
            return Err(invalid("the access token is empty or contains more than printable ASCII"));
        }
        if !is_printable_ascii(token.token_type()) {
            return Err(invalid("the token's type contains more than printable ASCII"));
        }
        let header_value = header_value(token.authorization_header())?;
        let needs_proof = token.token_type().eq_ignore_ascii_case("DPoP");
        Ok(Self { id: token.id(), token, header_value, needs_proof, accepted: AtomicBool::new(false) })
    }

    /// The token.
    #[must_use]
    pub fn token(&self) -> &TokenData {
        &self.token
    }

    /// The access token, as [`TokenData::access_token`].
    #[must_use]
    pub fn access_token(&self) -> &str {
        self.token.access_token()
    }

    /// When the issuer stops accepting the token, as [`TokenData::expires_at`].
    #[must_use]
    pub fn expires_at(&self) -> Option<DateTime<Utc>> {
        self.token.expires_at()
    }

    /// The identity of the token, which differs from that of every other token.
    #[must_use]
    pub fn id(&self) -> TokenId {
        self.id
    }

    /// Whether the issuer has bound the token to a key, so that each request must carry a proof that the sender
    /// holds that key (token type `DPoP`, RFC 9449 5).
    #[must_use]
    pub fn needs_proof(&self) -> bool {
        self.needs_proof
    }

    /// The value of the `Authorization` header, marked sensitive. A clone of it copies no bytes. A token that
    /// [needs a proof](Self::needs_proof) needs more than this value.
    #[must_use]
    pub fn header_value(&self) -> &HeaderValue {
        &self.header_value
    }

    /// The value for a header with another prefix: prefix, space, token. With an empty prefix it is the token alone. Each
    /// call formats the value anew, so keep it for each [`id`](Self::id).
    ///
    /// # Errors
    ///
    /// [`AuthenticationErrorKind::InvalidResponse`]: a header cannot contain a character of the prefix or of the
    /// token. [`AuthenticationErrorKind::Configuration`]: the token [needs a proof](Self::needs_proof).
    pub fn header_value_with_prefix(&self, prefix: &str) -> Result<HeaderValue, AuthenticationError> {
        self.check_bearer()?;
        header_value(with_prefix(prefix, self.access_token()))
    }

    /// The value of a `Cookie` header, as [`TokenData::cookie_header`], marked sensitive. Each call formats it
    /// anew, so keep it for each [`id`](Self::id).
    ///
    /// # Errors
    ///
    /// [`AuthenticationErrorKind::InvalidResponse`]: the token contains a `;`, which would end the cookie, or the
    /// name contains a character that no header can contain. [`AuthenticationErrorKind::Configuration`]: the token
    /// [needs a proof](Self::needs_proof).
    pub fn cookie_header_value(&self, name: &str) -> Result<HeaderValue, AuthenticationError> {
        self.check_bearer()?;
        if self.access_token().contains(';') {
            return Err(invalid("the token contains a `;`, which would end the cookie"));
        }
        header_value(self.token.cookie_header(name))
    }

    /// Sets the headers that carry this credential on one request.
    ///
    /// # Errors
    ///
    /// [`AuthenticationErrorKind::Configuration`]: the token [needs a proof](Self::needs_proof), which depends on
    /// the method and the URL. The headers stay unchanged: a server rejects such a token without its proof, and the
    /// credential never falls back to `Bearer`.
    pub fn apply(
        &self,
        method: &Method,
        url: &str,
        headers: &mut HeaderMap,
    ) -> Result<(), AuthenticationError> {
        // A proof will cover method and URL. A bearer token depends on neither.
        let _ = (method, url);
        self.set(headers)
    }

    /// As [`apply`](Self::apply), for a request of the `http` crate whose URI is absolute.
    ///
    /// The caller decides whether the origin of the request may receive the credential.
    ///
    /// ```
    /// # fn send(_: http::Request<()>) {}
    /// # let credential = requestforge::Credential::new(requestforge::TokenData::new("abc"))?;
    /// use requestforge::http;
    ///
    /// let request = http::Request::get("https://api.example.com/users").body(()).unwrap();
    /// let (mut parts, body) = request.into_parts();
    /// credential.apply_to(&mut parts)?;
    /// # assert_eq!(parts.headers["authorization"], "Bearer abc");
    /// send(http::Request::from_parts(parts, body));
    /// # Ok::<_, requestforge::AuthenticationError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`apply`](Self::apply).
    pub fn apply_to(&self, request: &mut Parts) -> Result<(), AuthenticationError> {
        // Not through `apply`, which takes the URI as text: nothing reads that text yet.
        self.set(&mut request.headers)
    }

    /// Checks that the token can be sent as it is, without a proof.
    ///
    /// # Errors
    ///
    /// [`AuthenticationErrorKind::Configuration`]: the token [needs a proof](Self::needs_proof).
    #[doc(hidden)] // for our other crates
    pub fn check_bearer(&self) -> Result<(), AuthenticationError> {
        if !self.needs_proof {
            return Ok(());
        }
        let error = AuthenticationError::new("", AuthenticationErrorKind::Configuration);
        Err(error.with_message(
            "the token is bound to a key (DPoP): each request needs a proof, which only an `AuthSession` can add, and \
             this version cannot make proofs",
        ))
    }

    fn set(&self, headers: &mut HeaderMap) -> Result<(), AuthenticationError> {
        self.check_bearer()?;
        headers.insert(AUTHORIZATION, self.header_value.clone());
        Ok(())
    }

    /// Records that a server accepted a request with this credential. If the server rejects the token later, a manager
    /// renews it at once only if at least one request with the last renewed token was accepted.
    pub fn mark_accepted(&self) {
        // Order: read before writing. A write for each response would move the cache line between the cores.
        if !self.was_accepted() {
            self.accepted.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a server has accepted a request with this credential.
    #[must_use]
    pub fn was_accepted(&self) -> bool {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("token", &self.token).finish_non_exhaustive()
    }
}

fn header_value(text: String) -> Result<HeaderValue, AuthenticationError> {
    let value = Secret::from(text).into_header_value();
    value.map_err(|_| invalid("the token or its type contains characters that a header cannot carry"))
}

fn invalid(message: &str) -> AuthenticationError {
    AuthenticationError::new("", AuthenticationErrorKind::InvalidResponse).with_message(message)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::{StaticTokenSource, TokenSource, token_source_fn};

    #[test]
    fn inv16_the_header_value_is_sensitive_and_debug_is_silent() {
        let credential = Credential::new(TokenData::new("canary")).unwrap();
        assert!(credential.header_value().is_sensitive());
        assert!(credential.header_value_with_prefix("Token").unwrap().is_sensitive());
        assert!(!format!("{credential:?} {:?}", credential.header_value()).contains("canary"));
    }

    #[test]
    fn a_token_that_needs_a_proof_is_set_on_no_request_without_one() {
        for token_type in ["DPoP", "dpop"] {
            let credential = Credential::new(TokenData::new("canary").with_token_type(token_type)).unwrap();
            assert!(credential.needs_proof());
            let mut request = http::Request::get("https://api.example.com/").body(()).unwrap().into_parts().0;
            let mut headers = HeaderMap::new();
            for refused in [
                credential.apply(&Method::GET, "https://api.example.com/", &mut headers),
                credential.apply_to(&mut request),
                credential.header_value_with_prefix("Bearer").map(drop),
                credential.cookie_header_value("session").map(drop),
            ] {
                let error = refused.unwrap_err();
                assert_eq!(*error.kind(), AuthenticationErrorKind::Configuration);
                let text = format!("{error} {error:?}");
                assert!(text.contains("AuthSession") && !text.contains("canary"), "{text}");
            }
            assert!(headers.is_empty() && request.headers.is_empty());
        }
        assert!(!Credential::new(TokenData::new("abc")).unwrap().needs_proof());
    }

    #[test]
    fn a_token_that_would_split_the_header_is_refused_without_being_echoed() {
        let error = Credential::new(TokenData::new("canary\r\nX-Evil: 1")).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"));
    }

    #[test]
    fn inv15_what_is_no_token_is_no_credential_wherever_it_comes_from() {
        for text in ["", " ", "canary\u{e9}", "canary\t", "canary\u{7f}", "\u{feff}canary"] {
            let token = || TokenData::new(text);
            let from_a_closure =
                at_once(token_source_fn(move || async move { Ok(TokenData::new(text)) }).get_token());
            for refused in [
                Credential::new(token()).map(drop),
                StaticTokenSource::new(token()).map(drop),
                from_a_closure.map(drop),
                Credential::new(TokenData::new("t").with_token_type("canary\u{e9}")).map(drop),
            ] {
                let error = refused.unwrap_err();
                assert_eq!(*error.kind(), AuthenticationErrorKind::InvalidResponse, "{text:?}");
                assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
            }
        }
    }

    fn at_once<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("it waits"),
        }
    }

    #[test]
    fn inv16_a_cookie_is_sensitive_and_a_token_that_makes_two_cookies_is_refused() {
        let cookie =
            Credential::new(TokenData::new("s1")).unwrap().cookie_header_value("JSESSIONID").unwrap();
        assert!(cookie.is_sensitive());
        assert_eq!(cookie, "JSESSIONID=s1");
        let two = Credential::new(TokenData::new("canary; admin=1")).unwrap();
        let error = two.cookie_header_value("JSESSIONID").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }

    #[test]
    fn an_empty_prefix_gives_the_bare_token() {
        let credential = Credential::new(TokenData::new("abc")).unwrap();
        assert_eq!(credential.header_value_with_prefix("").unwrap(), "abc");
        assert_eq!(credential.header_value_with_prefix("Token").unwrap(), "Token abc");
        assert_eq!(credential.header_value_with_prefix(" ").unwrap(), "abc");
        assert_eq!(credential.header_value_with_prefix("Token ").unwrap(), "Token abc");
        let untyped = Credential::new(TokenData::new("abc").with_token_type("")).unwrap();
        assert_eq!(untyped.header_value(), "abc");
    }
}
