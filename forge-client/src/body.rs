//! Request bodies: their content, how often the client can send it, and how much of it a strategy or the log
//! may read.

mod content;
mod examined;
mod multipart;
mod peek;
mod request_body;
mod stream_watch;
mod typed_body;

pub use examined::ExaminedResponse;

pub(crate) use content::BodyContent;
pub(crate) use examined::MAX_EXAMINED;
pub(crate) use multipart::{Part, multipart_parts, parameter};
pub(crate) use peek::{PeekedResponse, peek};
pub(crate) use request_body::RequestBody;
pub(crate) use stream_watch::StreamWatch;
pub(crate) use typed_body::TypedBody;
