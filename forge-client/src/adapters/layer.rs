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
use crate::auth::{Auth, AuthSessionConfig, AuthSessionConfigBuilder, TokenAuth};

/// Authenticates the requests of a [`tower_service::Service`] over [`http::Request`], such as the clients of
/// hyper and tonic, at origins that are expressly named: attaches a token, has it renewed when it is rejected,
/// and replays.
///
/// ```
/// use forge_client::{AuthLayer, TokenAuth};
/// # fn run(
/// #     manager: impl forge_core::TokenSource + 'static,
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
/// - A request to any other origin is passed on as it is, and so is a header that the caller has set.
/// - After a rejection the token is renewed, once for all who were rejected with it, and the request is sent
///   once more, or as the [strategy](TokenAuth::auth_retry_strategy) has it. A strategy that looks into bodies
///   sees none here.
/// - A request whose body cannot be copied is sent once; the token is renewed all the same.
/// - If no token can be had nothing is sent: [`AuthServiceError::Authentication`].
/// - A token is waited for while the inner service is ready. Before a replay it is asked to be ready again.
/// - What is excluded is decided by the path as it stands in the URI, which nobody normalises.
/// - Redirects that the inner service follows are not seen here: what is promised of origins holds for what it
///   is given.
pub struct AuthLayer<C = CloneBody> {
    guard: Arc<Guard>,
    copy: C,
}

/// Who may see what, and what answers mean.
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
    /// Tokens from a source: a [`TokenAuth`] with settings, or just the source: a `TokenManager`, any other
    /// [`TokenSource`](forge_core::TokenSource), or a provider.
    pub fn with_token_auth(auth: impl Into<TokenAuth>) -> AuthLayerBuilder {
        Self::with_auth(auth.into())
    }

    /// Authentication of any kind, as
    /// [`with_auth`](crate::HttpClientConfigBuilder::with_auth) takes it. An
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
    /// An origin (scheme, host, port of this URL) that may see the credentials. What decides is the URI of the
    /// request, in absolute form, to the letter: a host that is written in another way than here, but for
    /// case, is another host.
    pub fn origin(mut self, url: impl Into<String>) -> Self {
        self.config = self.config.origin(url);
        self
    }

    /// The same, and where requests go whose URI is only a path: those over a connection to one server are
    /// like that, and those of the clients that tonic generates. Without it nothing is added to such requests,
    /// as nobody here knows where they go. The last one counts.
    pub fn path_origin(mut self, url: impl Into<String>) -> Self {
        self.path_origin = Some(url.into());
        self
    }

    /// What an answer says of the credential, where status and challenge do not tell. Default:
    /// [`AuthVerdict::of`] these. For gRPC: [`grpc_verdict`].
    ///
    /// Let it say [`AuthVerdict::Accepted`] where a credential was good: renewals that nobody was helped by
    /// back off.
    pub fn judge_with(mut self, judge: impl Fn(&Parts) -> AuthVerdict + Send + Sync + 'static) -> Self {
        self.judge = Some(Box::new(judge));
        self
    }

    /// How a body is copied for a replay, where it is not `Clone`: `None` has the request sent once.
    ///
    /// ```
    /// # use forge_client::AuthLayer;
    /// # struct Streamed;
    /// # fn run(manager: impl forge_core::TokenSource + 'static) {
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

    /// Accepts that the credentials go over plain `http` to other machines, so that anybody on the network path
    /// can read them. The setting only silences the warning that [`build`](Self::build) logs.
    pub fn plain_http_credentials(mut self) -> Self {
        self.config = self.config.plain_http_credentials();
        self
    }

    /// The layer.
    ///
    /// # Errors
    ///
    /// Names the setting that cannot be; no origin was named, for example.
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
