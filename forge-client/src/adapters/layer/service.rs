use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::{AuthServiceError, BodyCopy, CloneBody, Guard};
use crate::ExaminedResponse;
use crate::adapters::{add_credentials, decide_replay, pause};
use crate::auth::AuthRequest;

/// A service whose requests are authenticated; see [`AuthLayer`](super::AuthLayer).
pub struct AuthService<S, C = CloneBody> {
    inner: S,
    guard: Arc<Guard>,
    copy: C,
}

impl<S, C> AuthService<S, C> {
    pub(super) fn new(inner: S, guard: Arc<Guard>, copy: C) -> Self {
        Self { inner, guard, copy }
    }
}

impl<S, C, B, A> Service<Request<B>> for AuthService<S, C>
where
    S: Service<Request<B>, Response = Response<A>> + Clone + Send + 'static,
    S::Future: Send,
    C: BodyCopy<B> + Clone + Send + Sync + 'static,
    B: Send + 'static,
    A: Send + 'static,
{
    type Response = Response<A>;
    type Error = AuthServiceError<S::Error>;
    type Future = Pin<Box<dyn Future<Output = Result<Response<A>, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context).map_err(AuthServiceError::Service)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // Order: only `self.inner` was polled ready, so the request takes it, and its clone stays here.
        let clone = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, clone);
        Box::pin(send(ready, Arc::clone(&self.guard), self.copy.clone(), request))
    }
}

async fn send<S, C, B, A>(
    mut service: S,
    guard: Arc<Guard>,
    copy: C,
    request: Request<B>,
) -> Result<Response<A>, AuthServiceError<S::Error>>
where
    S: Service<Request<B>, Response = Response<A>>,
    C: BodyCopy<B>,
{
    let Some(url) = guard.destinations.url(request.uri()) else {
        return service.call(request).await.map_err(AuthServiceError::Service);
    };
    let (head, mut body) = request.into_parts();
    let request = AuthRequest {
        path: head.uri.path(),
        body: None,
        ..AuthRequest::new(&head.method, &url, &head.headers)
    };
    let mut session = guard.config.session();
    loop {
        session.start(&url);
        let mut attempt = head.clone();
        let added = add_credentials(&mut session, &request, &mut attempt.headers).await;
        added.map_err(AuthServiceError::Authentication)?;
        let spare = if session.carries_token() { copy.copy(&body) } else { None };
        let sent = service.call(Request::from_parts(attempt, body));
        let (answer, content) = sent.await.map_err(AuthServiceError::Service)?.into_parts();

        let examined = ExaminedResponse { status: answer.status, headers: &answer.headers, body: None };
        let replay = decide_replay(&mut session, guard.judge(&answer), &examined, spare.is_some()).await;
        let (Some(delay), Some(spare)) = (replay.map_err(AuthServiceError::Authentication)?, spare) else {
            return Ok(Response::from_parts(answer, content));
        };
        // Order: drop the body first. A connection that still carries a response would not become ready.
        drop(content);
        pause(delay).await;
        poll_fn(|context| service.poll_ready(context)).await.map_err(AuthServiceError::Service)?;
        body = spare;
    }
}

impl<S: Clone, C: Clone> Clone for AuthService<S, C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), guard: Arc::clone(&self.guard), copy: self.copy.clone() }
    }
}

impl<S: fmt::Debug, C> fmt::Debug for AuthService<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthService")
            .field("inner", &self.inner)
            .field("destinations", &self.guard.destinations)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::future::{Ready, ready};
    use std::pin::pin;
    use std::sync::Mutex;
    use std::time::Duration;

    use forge_core::{AuthVerdict, TokenData, token_source_fn};
    use tower_layer::Layer;

    use super::super::{AuthLayer, AuthLayerBuilder};
    use super::*;
    use crate::{SimpleAuthRetryStrategy, TokenAuth};

    /// A service that accepts one request each time after it was ready, and answers the first one with 401.
    /// All clones record their events in `told`.
    struct OneAtATime {
        is_ready: bool,
        told: Arc<Mutex<Vec<String>>>,
        breaks_after: usize,
    }

    impl OneAtATime {
        fn breaking_after(requests: usize) -> Self {
            Self { is_ready: false, told: Arc::default(), breaks_after: requests }
        }

        fn requests(&self) -> usize {
            self.told.lock().unwrap().iter().filter(|what| *what != "ready").count()
        }
    }

    impl Clone for OneAtATime {
        fn clone(&self) -> Self {
            Self { is_ready: false, told: Arc::clone(&self.told), breaks_after: self.breaks_after }
        }
    }

    impl Service<Request<String>> for OneAtATime {
        type Response = Response<String>;
        type Error = std::io::Error;
        type Future = Ready<Result<Response<String>, std::io::Error>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            if self.requests() >= self.breaks_after {
                return Poll::Ready(Err(std::io::Error::other("broken")));
            }
            self.is_ready = true;
            self.told.lock().unwrap().push("ready".into());
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<String>) -> Self::Future {
            assert!(std::mem::take(&mut self.is_ready), "it was not ready");
            let status = if self.requests() == 0 { 401 } else { 200 };
            let token =
                request.headers().get("authorization").map(|token| token.to_str().unwrap().to_owned());
            let told = format!("{} {}", token.unwrap_or_default(), request.body());
            self.told.lock().unwrap().push(told);
            ready(Ok(Response::builder().status(status).body(String::new()).unwrap()))
        }
    }

    /// An auth layer whose source returns another token at each call.
    fn auth() -> AuthLayerBuilder {
        auth_with(|auth| auth)
    }

    fn auth_with(configure: impl FnOnce(TokenAuth) -> TokenAuth) -> AuthLayerBuilder {
        let tokens = Arc::new(Mutex::new(1..));
        let source = token_source_fn(move || {
            let token = tokens.lock().unwrap().next().unwrap_or_default();
            async move { Ok(TokenData::new(format!("t{token}"))) }
        });
        AuthLayer::with_token_auth(configure(TokenAuth::new(source))).path_origin("https://api.example.com")
    }

    async fn send<C>(
        service: &mut AuthService<OneAtATime, C>,
        uri: &str,
    ) -> Result<u16, AuthServiceError<std::io::Error>>
    where
        C: BodyCopy<String> + Clone + Send + Sync + 'static,
    {
        poll_fn(|context| service.poll_ready(context)).await?;
        let request = Request::post(uri).body("body".to_owned()).unwrap();
        Ok(service.call(request).await?.status().as_u16())
    }

    #[tokio::test]
    async fn nothing_is_sent_before_the_service_is_ready_for_it() {
        let inner = OneAtATime::breaking_after(9);
        let mut service = auth().build().unwrap().layer(inner.clone());
        assert_eq!(send(&mut service, "/x").await.unwrap(), 200);
        assert_eq!(send(&mut service, "https://elsewhere.example.com/").await.unwrap(), 200);
        assert_eq!(
            *inner.told.lock().unwrap(),
            ["ready", "Bearer t1 body", "ready", "Bearer t2 body", "ready", " body"]
        );
    }

    #[tokio::test]
    async fn a_service_that_is_ready_no_more_ends_the_call() {
        let inner = OneAtATime::breaking_after(1);
        let mut service = auth().build().unwrap().layer(inner.clone());
        let error = send(&mut service, "/x").await.unwrap_err();
        assert!(matches!(error, AuthServiceError::Service(_)), "{error:?}");
        assert_eq!((error.to_string().as_str(), error.source().is_none()), ("broken", true));
        assert_eq!(inner.requests(), 1);
    }

    #[tokio::test]
    async fn inv12_what_the_function_does_not_copy_is_sent_once() {
        for (copies, status, requests) in [(false, 401, 1), (true, 200, 2)] {
            let inner = OneAtATime::breaking_after(9);
            let layer = auth().copy_body_with(move |body: &String| copies.then(|| body.clone()));
            let mut service = layer.build().unwrap().layer(inner.clone());
            assert_eq!(send(&mut service, "/x").await.unwrap(), status);
            assert_eq!(inner.requests(), requests, "{copies}");
        }
    }

    #[tokio::test]
    async fn another_judge_has_the_last_word() {
        for (verdict, requests) in [(AuthVerdict::Unknown, 1), (AuthVerdict::TokenRejected, 2)] {
            let inner = OneAtATime::breaking_after(9);
            let mut service = auth().judge_with(move |_| verdict).build().unwrap().layer(inner.clone());
            send(&mut service, "/x").await.unwrap();
            assert_eq!(inner.requests(), requests, "{verdict:?}");
        }
    }
    #[tokio::test]
    async fn a_replay_waits_as_the_strategy_says() {
        for (delay, requests) in [(Duration::ZERO, 2), (Duration::from_secs(3600), 1)] {
            let inner = OneAtATime::breaking_after(9);
            let layer =
                auth_with(|auth| auth.auth_retry_strategy(SimpleAuthRetryStrategy::new().delay(delay)));
            let mut service = layer.build().unwrap().layer(inner.clone());
            let mut call = pin!(send(&mut service, "/x"));
            let polled = poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await;
            assert_eq!((polled.is_ready(), inner.requests()), (requests == 2, requests), "{delay:?}");
        }
    }

    #[tokio::test]
    async fn what_is_excluded_is_the_path_as_it_is_sent() {
        for (path, has_token) in [("/health", false), ("/health?x", false), ("/a/../health", true)] {
            let inner = OneAtATime::breaking_after(9);
            let layer = auth_with(|auth| auth.excluded_paths(["/health"]));
            let mut service = layer.build().unwrap().layer(inner.clone());
            send(&mut service, path).await.unwrap();
            let told = inner.told.lock().unwrap();
            assert_eq!(told.iter().any(|what| what.starts_with("Bearer")), has_token, "{path}");
        }
    }
}
