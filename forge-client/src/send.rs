//! The loop: credential, request, answer, and what follows of it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use forge_core::Credential;
use http_body::{Frame, SizeHint};
use reqwest::{Request, Response};

use crate::auth::{AuthSession, BoundTokenAuth, Next, RejectedResponse};
use crate::client::Inner;
use crate::hop::Hop;
use crate::redirect::Redirects;
use crate::{HttpClientError, HttpResponse};

/// Sends one call. Whatever happens on the way, only this loop sleeps.
pub(crate) async fn send(
    client: &Inner,
    mut hop: Hop,
    timeout: Option<Duration>,
) -> Result<HttpResponse, HttpClientError> {
    let mut redirects = Redirects::at_most(client.max_redirects);
    let mut session = client.token_auth.as_ref().map(|auth| (auth, auth.session()));
    loop {
        let at = |error: HttpClientError, hop: &Hop| error.at(&hop.method, &hop.url);
        let mut authenticating = session.as_mut().filter(|(auth, _)| authenticates(auth, &hop));

        let credential = match &mut authenticating {
            Some((auth, session)) => Some(credential(auth, session).await.map_err(|error| at(error, &hop))?),
            None => None,
        };
        let request =
            request(client, &mut hop, credential.as_deref(), timeout).map_err(|error| at(error, &hop))?;
        let sent = client.http.execute(request).await;
        let mut response = sent.map_err(|error| at(HttpClientError::exchange(&error), &hop))?;

        if let (Some((auth, session)), Some(credential)) = (authenticating, credential) {
            let examined = examine(session, &credential, response).await;
            let (next, whole) = examined.map_err(|error| at(HttpClientError::exchange(&error), &hop))?;
            response = whole;
            if let Next::Renew(delay) = next {
                // Also where the body cannot be sent again: the next request must not meet the same fate.
                let renewed = auth.source().refresh_rejected(&credential).await;
                let renewed = renewed.map_err(|error| at(error.into(), &hop))?;
                if hop.body.can_be_sent() && session.replay_with(&credential, renewed) {
                    tracing::debug!(method = %hop.method, "replaying with another token after a 401");
                    tokio::time::sleep(delay).await;
                    continue;
                }
            }
        }
        if !redirects.follow(&mut hop, &response, &client.trust).map_err(|error| at(error, &hop))? {
            return Ok(HttpResponse::new(hop.method, hop.url, response));
        }
    }
}

/// A token goes along to trusted origins, where the path is not excluded and the caller has not set
/// the header.
fn authenticates(auth: &BoundTokenAuth, hop: &Hop) -> bool {
    hop.is_trusted() && auth.applies_to(&hop.url) && !hop.headers.contains_key(auth.header_name())
}

async fn credential(
    auth: &BoundTokenAuth,
    session: &mut AuthSession<'_>,
) -> Result<Arc<Credential>, HttpClientError> {
    match session.take_renewed().or_else(|| auth.source().cached()) {
        Some(at_hand) => Ok(at_hand),
        None => Ok(auth.source().get_token().await?),
    }
}

fn request(
    client: &Inner,
    hop: &mut Hop,
    credential: Option<&Credential>,
    timeout: Option<Duration>,
) -> Result<Request, HttpClientError> {
    let mut request = Request::new(hop.method.clone(), hop.url.clone());
    *request.headers_mut() = hop.headers_to_send(&client.trust);
    if let (Some(auth), Some(credential)) = (&client.token_auth, credential) {
        auth.apply(credential, &hop.method, &hop.url, request.headers_mut())?;
    }
    *request.body_mut() = hop.body.send();
    *request.timeout_mut() = timeout;
    Ok(request)
}

/// What token auth makes of an answer, and the answer, whole.
async fn examine(
    session: &AuthSession<'_>,
    credential: &Credential,
    response: Response,
) -> Result<(Next, Response), reqwest::Error> {
    let (body, response) = if session.reads_body(response.status(), response.headers()) {
        peek(response).await?
    } else {
        (None, response)
    };
    let rejected =
        RejectedResponse { status: response.status(), headers: response.headers(), body: body.as_deref() };
    Ok((session.after(credential, &rejected), response))
}

const MAX_EXAMINED: usize = 64 * 1024;

/// Reads a body that is not too large, and gives it back unread.
async fn peek(mut response: Response) -> Result<(Option<Bytes>, Response), reqwest::Error> {
    let mut read = BytesMut::new();
    let mut is_complete = true;
    while let Some(chunk) = response.chunk().await? {
        read.extend_from_slice(&chunk);
        if read.len() > MAX_EXAMINED {
            is_complete = false;
            break;
        }
    }
    let read = read.freeze();
    let (parts, rest) = http::Response::<reqwest::Body>::from(response).into_parts();
    let whole = reqwest::Body::wrap(Unread { first: Some(read.clone()), rest });
    Ok((is_complete.then_some(read), http::Response::from_parts(parts, whole).into()))
}

/// A body of which the first part was read already.
struct Unread {
    first: Option<Bytes>,
    rest: reqwest::Body,
}

impl http_body::Body for Unread {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        match self.first.take().filter(|first| !first.is_empty()) {
            Some(first) => Poll::Ready(Some(Ok(Frame::data(first)))),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
