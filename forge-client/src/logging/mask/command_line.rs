//! What else is masked where a whole request is shown, not told of.

use http::{HeaderName, HeaderValue};
use url::{Url, form_urlencoded};

use super::{Fields, MASKED, Mask};
use crate::hop::Trust;

impl Mask {
    /// With its query, as far as the names in there are harmless.
    pub(crate) fn url(&self, url: &Url) -> String {
        let mut shown = url.clone();
        if let Some(query) = url.query() {
            let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            shown.set_query(Some(&self.form(&pairs)));
        }
        shown.into()
    }

    pub(crate) fn header_value(
        &self,
        name: &HeaderName,
        value: &HeaderValue,
        url: &Url,
        trust: &Trust,
    ) -> String {
        self.header(name, value, url, trust).unwrap_or_else(|| MASKED.to_owned())
    }

    /// A body of which the names tell what is secret: JSON, or a form.
    pub(crate) fn known_body(&self, content_type: Option<&HeaderValue>, body: &[u8]) -> Option<String> {
        Fields::read(content_type, body).map(|fields| self.fields(fields))
    }
}
