/// A body in the form in which [`Mask`](crate::logging::Mask) searches it for secrets.
#[derive(Clone, Copy)]
pub(crate) enum BodyContent<'a> {
    /// The whole body; empty if the request has none.
    Bytes(&'a [u8]),
    Stream,
}
