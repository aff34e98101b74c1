use std::sync::Arc;

use http::HeaderMap;
use reqwest::Request;
use url::Url;

use super::{Secrets, SensitiveNames};
use crate::body::BodyContent;
use crate::origin::{RequestUrl, Trust};

/// The parts of a request that may hold secrets.
pub(crate) struct RequestContent<'a> {
    pub(crate) url: &'a Url,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: BodyContent<'a>,
}

impl<'a> RequestContent<'a> {
    pub(crate) fn of(request: &'a Request) -> Self {
        let body = match request.body().map(reqwest::Body::as_bytes) {
            None => BodyContent::Bytes(&[]),
            Some(Some(body)) => BodyContent::Bytes(body),
            Some(None) => BodyContent::Stream,
        };
        Self { url: request.url(), headers: request.headers(), body }
    }
}

impl Secrets {
    /// Learns the secrets of a request that was redirected to `target`. Returns the target and how to show it:
    /// its host or path may repeat a secret of this hop or of an earlier one.
    pub(crate) fn mask_redirect_target(
        &mut self,
        content: &RequestContent<'_>,
        target: Url,
        trust: &Trust,
        keys: Arc<[String]>,
    ) -> RequestUrl {
        self.learn(content, &SensitiveNames::new(keys), trust);
        match self.masked_redirect(content.url, &target) {
            Some(shown) => RequestUrl::masked(target, shown),
            None => target.into(),
        }
    }
}
