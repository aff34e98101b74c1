use std::fmt;

use async_trait::async_trait;
use http::{HeaderValue, Method};

use crate::AuthenticationError;

/// Makes the proofs that requests with a key-bound token carry (`DPoP`, RFC 9449).
///
/// The client asks for a new proof for each attempt and each hop: a server may accept a proof only once. The
/// signing key may be remote, so making a proof is asynchronous.
#[async_trait]
pub trait ProofOfPossession: Send + Sync + fmt::Debug {
    /// The thumbprint of the public key (RFC 7638), which names the key and is no secret.
    fn thumbprint(&self) -> &str;

    /// A new proof for this request: the value of its `DPoP` header.
    ///
    /// # Errors
    ///
    /// The key could not be read, or the signer failed. The client then does not send the request.
    async fn prove(&self, request: ProofRequest<'_>) -> Result<HeaderValue, AuthenticationError>;
}

/// The request that a proof is for (RFC 9449 4.2).
#[derive(Clone, Copy)]
pub struct ProofRequest<'a> {
    method: &'a Method,
    url: &'a str,
    access_token: Option<&'a str>,
    nonce: Option<&'a str>,
}

impl<'a> ProofRequest<'a> {
    /// A request without a token, such as one to a token endpoint. The URL is the one that the client finally
    /// requests, after joining and redirects.
    #[must_use]
    pub fn new(method: &'a Method, url: &'a str) -> Self {
        Self { method, url, access_token: None, nonce: None }
    }

    /// The access token that the request carries; the proof repeats its hash (`ath`).
    #[must_use]
    pub fn with_access_token(mut self, access_token: &'a str) -> Self {
        self.access_token = Some(access_token);
        self
    }

    /// The nonce that the server sent last, if it sent one (RFC 9449 8 and 9).
    #[must_use]
    pub fn with_nonce(mut self, nonce: Option<&'a str>) -> Self {
        self.nonce = nonce;
        self
    }

    /// The method (`htm`).
    #[must_use]
    pub fn method(&self) -> &'a Method {
        self.method
    }

    /// The URL with query and fragment. The proof leaves both out (`htu`).
    #[must_use]
    pub fn url(&self) -> &'a str {
        self.url
    }

    /// The access token, if the request carries one.
    #[must_use]
    pub fn access_token(&self) -> Option<&'a str> {
        self.access_token
    }

    /// The nonce, if the server asked for one.
    #[must_use]
    pub fn nonce(&self) -> Option<&'a str> {
        self.nonce
    }
}

impl fmt::Debug for ProofRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The query of a URL may hold a secret.
        f.debug_struct("ProofRequest")
            .field("method", self.method)
            .field("has_access_token", &self.access_token.is_some())
            .field("has_nonce", &self.nonce.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inv16_a_request_for_a_proof_shows_neither_token_nor_query() {
        let method = Method::GET;
        let request = ProofRequest::new(&method, "https://api.example.com/?key=canary")
            .with_access_token("canary")
            .with_nonce(Some("canary"));
        assert!(!format!("{request:?}").contains("canary"));
        assert_eq!((request.access_token(), request.nonce()), (Some("canary"), Some("canary")));
    }
}
