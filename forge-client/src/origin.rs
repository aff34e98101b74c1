//! Origins: the scheme, host and port that a request goes to, and the headers that may go there.

mod header;
mod public_headers;
mod target;
mod trust;

pub(crate) use header::header;
pub(crate) use public_headers::check_public;
pub(crate) use target::{BaseUrl, Origin, RequestUrl, absolute, origin_text, without_query};
pub(crate) use trust::Trust;
