use std::error::Error;

/// A failure of the network or of TLS, in the words of the operating system or of the TLS library.
///
/// This error takes the place of an HTTP client's error in a [`source`](Error::source) chain. It repeats nothing that
/// the peer sent, because a peer may send our own secrets back.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct NetworkError(String);

impl NetworkError {
    /// The error of a program that calls an `https` URL and was built without TLS.
    #[must_use]
    pub fn without_tls() -> Self {
        Self("https needs one of the features `rustls`, `rustls-no-provider` or `native-tls`".to_owned())
    }

    /// The deepest error of the operating system or of the TLS library in this chain.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let mut deepest = None;
        let mut cause = Some(error);
        while let Some(error) = cause {
            let io = error.downcast_ref::<std::io::Error>();
            deepest = io.map(ToString::to_string).or(deepest);
            // The `source` of an `io::Error` skips the error that it wraps.
            let wrapped = io.and_then(std::io::Error::get_ref);
            cause = wrapped.map_or_else(|| error.source(), |wrapped| Some(wrapped));
        }
        Self(deepest.unwrap_or_else(|| "the peer closed the connection or broke the protocol".to_owned()))
    }
}
