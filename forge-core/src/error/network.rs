use std::error::Error;

/// Why an exchange over the network failed, without anything that the peer said: it may have said
/// our own secrets. Stands in the [`source`](Error::source) chain for the error of an HTTP client.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct NetworkError(String);

impl NetworkError {
    /// An `https` URL was called by a program that was built without TLS.
    #[must_use]
    pub fn without_tls() -> Self {
        Self("https needs one of the features rustls, rustls-no-provider and native-tls".to_owned())
    }

    /// What the operating system or the TLS library said, wherever it is in the chain.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let mut deepest = None;
        let mut cause = Some(error);
        while let Some(error) = cause {
            let io = error.downcast_ref::<std::io::Error>();
            deepest = io.map(ToString::to_string).or(deepest);
            // What an `io::Error` wraps is not its source.
            let wrapped = io.and_then(std::io::Error::get_ref);
            cause = wrapped.map_or_else(|| error.source(), |wrapped| Some(wrapped));
        }
        Self(deepest.unwrap_or_else(|| "the peer closed the connection or broke the protocol".to_owned()))
    }
}
