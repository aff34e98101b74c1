use std::fmt;
use std::io::{self, Read};
use std::time::Duration;

use bytes::Bytes;
use http::{Extensions, HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use url::Url;

use super::runtime;
use crate::HttpClientError;

/// A response, of any status: see [`error_for_status`](Self::error_for_status). Methods that read the body wait
/// for it, and return an error [within a runtime](super#where-it-is-refused).
///
/// ```no_run
/// # fn run(client: requestforge::blocking::HttpClient) -> Result<(), Box<dyn std::error::Error>> {
/// let response = client.get("/users").send()?;
/// if response.is_success() {
///     let users: Vec<String> = response.json()?;
/// }
///
/// let mut file = std::fs::File::create("export.csv")?;
/// std::io::copy(&mut client.get("/export").send()?.error_for_status()?.into_reader(), &mut file)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct HttpResponse(crate::HttpResponse);

impl HttpResponse {
    pub(super) fn new(response: crate::HttpResponse) -> Self {
        Self(response)
    }

    /// The status.
    #[must_use]
    pub fn status_code(&self) -> StatusCode {
        self.0.status_code()
    }

    /// Whether the status is one of 200 to 299.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.0.is_success()
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.0.headers()
    }

    /// As [`url`](crate::HttpResponse::url).
    #[must_use]
    pub fn url(&self) -> &Url {
        self.0.url()
    }

    /// As [`attempts`](crate::HttpResponse::attempts).
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts()
    }

    /// As [`elapsed`](crate::HttpResponse::elapsed).
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// As [`extensions`](crate::HttpResponse::extensions).
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        self.0.extensions()
    }

    /// The response itself, or an error if its status is 400 or above.
    ///
    /// # Errors
    ///
    /// [`is_status`](HttpClientError::is_status).
    pub fn error_for_status(self) -> Result<Self, HttpClientError> {
        self.0.error_for_status().map(Self)
    }

    /// As [`error_for_status_with_body`](crate::HttpResponse::error_for_status_with_body); waits for the body.
    ///
    /// # Errors
    ///
    /// [`is_status`](HttpClientError::is_status).
    pub fn error_for_status_with_body(self) -> Result<Self, HttpClientError> {
        runtime::block_on(self.0.error_for_status_with_body())?.map(Self)
    }

    /// Reads the body as text, in the charset that the response names, else UTF-8.
    ///
    /// # Errors
    ///
    /// As [`bytes`](crate::HttpResponse::bytes).
    pub fn text(self) -> Result<String, HttpClientError> {
        runtime::block_on(self.0.text())?
    }

    /// Reads the whole body.
    ///
    /// # Errors
    ///
    /// As [`bytes`](crate::HttpResponse::bytes).
    pub fn bytes(self) -> Result<Bytes, HttpClientError> {
        runtime::block_on(self.0.bytes())?
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    ///
    /// As [`json`](crate::HttpResponse::json).
    pub fn json<T: DeserializeOwned>(self) -> Result<T, HttpClientError> {
        runtime::block_on(self.0.json())?
    }

    /// Reads the body as JSON. `None` if it is not such JSON, did not arrive whole, is too large, or if this thread
    /// [must not wait](super#where-it-is-refused).
    pub fn json_or_none<T: DeserializeOwned>(self) -> Option<T> {
        self.json().ok()
    }

    /// A reader of the body, of any size.
    pub fn into_reader(self) -> BodyReader {
        BodyReader { response: self.0, piece: Bytes::new() }
    }
}

/// The body of a response, as it arrives: see [`into_reader`](HttpResponse::into_reader).
///
/// Its errors hold an [`HttpClientError`]: the connection was cut, or no more came in time
/// ([`TimedOut`](io::ErrorKind::TimedOut)).
#[must_use = "the reader reads nothing by itself"]
pub struct BodyReader {
    response: crate::HttpResponse,
    piece: Bytes,
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !buffer.is_empty() {
            match self.next_piece().map_err(io_error)? {
                Some(piece) => self.piece = piece,
                None => break,
            }
        }
        let length = self.piece.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.piece.split_to(length));
        Ok(length)
    }
}

impl BodyReader {
    fn next_piece(&mut self) -> Result<Option<Bytes>, HttpClientError> {
        runtime::block_on(self.response.chunk())?
    }
}

fn io_error(error: HttpClientError) -> io::Error {
    let kind = if error.is_timeout() { io::ErrorKind::TimedOut } else { io::ErrorKind::Other };
    io::Error::new(kind, error)
}

impl fmt::Debug for BodyReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyReader").field("response", &self.response).finish_non_exhaustive()
    }
}
