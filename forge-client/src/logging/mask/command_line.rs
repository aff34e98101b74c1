//! Masking for `curl` command lines. They show a whole request, while the log describes one.

use http::{HeaderName, HeaderValue};
use url::Url;

use super::fields::{BodyKind, Pair, pairs};
use super::{MASKED, Mask, TextPosition};
use crate::body::Part;
use crate::origin::Trust;

impl Mask {
    /// The URL with its query, in which values with sensitive names are masked.
    pub(crate) fn url(&self, url: &Url) -> String {
        let mut shown = url.clone();
        if let Some(query) = url.query() {
            shown.set_query(Some(&self.form(&pairs(query.as_bytes()))));
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

    /// A body in which names tell which values are secret: JSON, or a form.
    pub(crate) fn known_body(&self, content_type: Option<&HeaderValue>, body: &[u8]) -> Option<String> {
        BodyKind::of(content_type)?.read(body).and_then(|fields| self.fields(fields))
    }

    /// The masked values of the parts of a multipart form; `None` for each value that is not text.
    pub(crate) fn part_values(&self, parts: &[Part<'_>]) -> Vec<Option<String>> {
        let pairs: Vec<_> = parts.iter().map(Pair::of).collect();
        let siblings = self.names.of_pairs(&pairs);
        let shown = |(part, pair): (&Part<'_>, &Pair)| {
            let text = part.text()?;
            let is_secret = pair.value.is_none() || siblings.is_secret(&pair.name);
            Some(if is_secret { MASKED.to_owned() } else { self.text(text, TextPosition::Named) })
        };
        parts.iter().zip(&pairs).map(shown).collect()
    }
}
