//! Authentication for [tower](https://docs.rs/tower).

mod body;
mod destination;
mod error;
mod grpc;
mod service;

use std::fmt;
use std::sync::Arc;

use forge_core::{AuthVerdict, ConfigError};
use http::response::Parts;
use tower_layer::Layer;

pub use self::body::{BodyCopy, CloneBody};
pub use self::error::AuthServiceError;
pub use self::grpc::grpc_verdict;
pub use self::service::AuthService;

use self::destination::Destinations;
use crate::auth::{Auth, AuthSessionConfig, AuthSessionConfigBuilder, IntoTokenAuth};

/// Authenticates the requests of a [`tower_service::Service`] over [`http::Request`], such as the clients of
/// hyper and tonic. At the named origins the layer adds a token to each request, has it renewed after a
/// rejection, and replays the request.
///
/// ```
/// use requestforge::tower::AuthLayer;
/// use requestforge::TokenAuth;
/// # fn run(
/// #     manager: impl requestforge::TokenSource + 'static,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let auth = AuthLayer::with_token_auth(TokenAuth::new(manager).excluded_paths(["/health"]))
///     .origin("https://api.example.com")
///     .build()?;
/// // tower::ServiceBuilder::new().layer(auth).service(client)
/// # Ok(())
/// # }
/// ```
///
/// | setting | default |
/// | --- | --- |
/// | [`origin`](AuthLayerBuilder::origin), [`path_origin`](AuthLayerBuilder::path_origin) | one is needed |
/// | [`copy_body_with`](AuthLayerBuilder::copy_body_with) | `Clone` |
/// | [`judge_with`](AuthLayerBuilder::judge_with) | [`AuthVerdict::of`] status and headers |
///
/// - The layer does not change requests to other origins, and no header that the caller has set.
/// - After a rejection all requests with the same token share one renewal. The layer then sends the request
///   once more, or as the [strategy](crate::TokenAuth::auth_retry_strategy) says. The strategy sees no bodies
///   here.
/// - If the layer cannot copy the body, it sends the request once. It renews the token all the same.
/// - Without a token the layer sends nothing: [`AuthServiceError::Authentication`].
/// - The layer waits for a token while the inner service is ready. Before a replay it waits until the service
///   is ready again.
/// - Excluded paths are compared with the path in the URI, which the layer does not normalise.
/// - The layer does not see redirects that the inner service follows. Its promises about origins hold for the
///   requests that it passes on.
pub struct AuthLayer<C = CloneBody> {
    guard: Arc<Guard>,
    copy: C,
}

/// The settings of a layer, which its services share.
struct Guard {
    config: AuthSessionConfig,
    destinations: Destinations,
    judge: Option<Judge>,
}

type Judge = Box<dyn Fn(&Parts) -> AuthVerdict + Send + Sync>;

impl Guard {
    fn judge(&self, head: &Parts) -> AuthVerdict {
        match &self.judge {
            None => AuthVerdict::of(head.status, &head.headers),
            Some(judge) => judge(head),
        }
    }
}

/// Collects the settings of an [`AuthLayer`].
#[must_use]
pub struct AuthLayerBuilder<C = CloneBody> {
    config: AuthSessionConfigBuilder,
    path_origin: Option<String>,
    judge: Option<Judge>,
    copy: C,
}

impl AuthLayer {
    /// Authenticates with tokens from a source: a [`TokenAuth`](crate::TokenAuth) with settings, or only the source.
    pub fn with_token_auth(auth: impl IntoTokenAuth) -> AuthLayerBuilder {
        Self::with_auth(auth.into_token_auth())
    }

    /// Authenticates in any way that [`with_auth`](crate::HttpClientConfigBuilder::with_auth) takes. An
    /// [`AuthHook`](crate::AuthHook) does not see bodies here.
    pub fn with_auth(auth: impl Into<Auth>) -> AuthLayerBuilder {
        AuthLayerBuilder {
            config: AuthSessionConfig::with_auth(auth),
            path_origin: None,
            judge: None,
            copy: CloneBody,
        }
    }

    /// The former name of [`with_auth`](Self::with_auth).
    #[deprecated(note = "renamed to `with_auth`")]
    pub fn with_auth_hook(auth: impl Into<Auth>) -> AuthLayerBuilder {
        Self::with_auth(auth)
    }
}

impl<C> AuthLayerBuilder<C> {
    /// Names an origin (scheme, host, port of this URL) that may see the credentials. The layer compares it
    /// literally with the URI of the request, in absolute form: a host that is written in another way is
    /// another host, except for case.
    pub fn origin(mut self, url: impl Into<String>) -> Self {
        self.config = self.config.origin(url);
        self
    }

    /// Names an origin, and says that requests whose URI is only a path go there. Requests over a connection to
    /// one server are like that, and those of the clients that tonic generates. Without this setting the layer
    /// adds nothing to such requests, because it does not know where they go. The last one counts.
    pub fn path_origin(mut self, url: impl Into<String>) -> Self {
        self.path_origin = Some(url.into());
        self
    }

    /// Decides what a response says of the credential, if status and challenge do not show it. Default:
    /// [`AuthVerdict::of`] status and headers. For gRPC: [`grpc_verdict`].
    ///
    /// Return [`AuthVerdict::Accepted`] if the credential was good. Otherwise the token source takes its renewals for
    /// useless, and backs off.
    pub fn judge_with(mut self, judge: impl Fn(&Parts) -> AuthVerdict + Send + Sync + 'static) -> Self {
        self.judge = Some(Box::new(judge));
        self
    }

    /// Copies bodies that are not `Clone`, for replays. If the closure returns `None`, the layer sends the
    /// request once.
    ///
    /// ```
    /// # use requestforge::tower::AuthLayer;
    /// # struct Streamed;
    /// # fn run(manager: impl requestforge::TokenSource + 'static) {
    /// let once = AuthLayer::with_token_auth(manager).copy_body_with(|_: &Streamed| None);
    /// # drop(once);
    /// # }
    /// ```
    pub fn copy_body_with<B, F>(self, copy: F) -> AuthLayerBuilder<F>
    where
        F: Fn(&B) -> Option<B>,
    {
        let Self { config, path_origin, judge, copy: _ } = self;
        AuthLayerBuilder { config, path_origin, judge, copy }
    }

    /// Accepts that the credentials go over plain `http` to other machines, so that others on the network path
    /// can read them. The setting only silences the warning that [`build`](Self::build) logs.
    pub fn plain_http_credentials(mut self) -> Self {
        self.config = self.config.plain_http_credentials();
        self
    }

    /// Builds the layer.
    ///
    /// # Errors
    ///
    /// Names the invalid setting, for example that no origin was named.
    pub fn build(self) -> Result<AuthLayer<C>, ConfigError> {
        let Self { mut config, path_origin, judge, copy } = self;
        let has_path_origin = path_origin.is_some();
        if let Some(url) = path_origin {
            config = config.origin(url);
        }
        let (config, origins) = config.build_with_urls()?;
        let destinations = Destinations::new(origins, has_path_origin);
        Ok(AuthLayer { guard: Arc::new(Guard { config, destinations, judge }), copy })
    }
}

impl<S, C: Clone> Layer<S> for AuthLayer<C> {
    type Service = AuthService<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        AuthService::new(inner, Arc::clone(&self.guard), self.copy.clone())
    }
}

impl<C: Clone> Clone for AuthLayer<C> {
    fn clone(&self) -> Self {
        Self { guard: Arc::clone(&self.guard), copy: self.copy.clone() }
    }
}

impl<C> fmt::Debug for AuthLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthLayer").field("destinations", &self.guard.destinations).finish_non_exhaustive()
    }
}

impl<C> fmt::Debug for AuthLayerBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthLayerBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}
