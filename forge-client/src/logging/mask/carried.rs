use std::sync::Arc;

use http::HeaderMap;
use reqwest::Request;
use url::Url;

use super::{Names, Secrets};
use crate::hop::Trust;
use crate::target::RequestUrl;

/// What a request carries, as far as secrets may be in it.
pub(crate) struct Carried<'a> {
    pub(crate) url: &'a Url,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: CarriedBody<'a>,
}

#[derive(Clone, Copy)]
pub(crate) enum CarriedBody<'a> {
    /// Empty where there is none.
    Bytes(&'a [u8]),
    Stream,
}

impl<'a> Carried<'a> {
    pub(crate) fn by(request: &'a Request) -> Self {
        let body = match request.body().map(reqwest::Body::as_bytes) {
            None => CarriedBody::Bytes(&[]),
            Some(Some(body)) => CarriedBody::Bytes(body),
            Some(None) => CarriedBody::Stream,
        };
        Self { url: request.url(), headers: request.headers(), body }
    }
}

impl Secrets {
    /// Learns what a request has carried whose answer redirects to `target`, and says how that is shown: its
    /// path may repeat what this hop or an earlier one has carried.
    pub(crate) fn redirect(
        &mut self,
        carried: &Carried<'_>,
        target: Url,
        trust: &Trust,
        keys: Arc<[String]>,
    ) -> RequestUrl {
        self.learn(carried, &Names::new(keys), trust);
        match self.masked_redirect(carried.url, &target) {
            Some(shown) => RequestUrl::masked(target, shown),
            None => target.into(),
        }
    }
}
