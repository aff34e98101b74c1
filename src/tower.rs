//! The same authentication for services of tower, such as the clients of hyper and tonic.
//!
//! ```
//! use bytes::Bytes;
//! use http_body_util::Full;
//! use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! use requestforge::TokenManager;
//! use requestforge::tower::AuthLayer;
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # async fn run(manager: TokenManager) -> Result<(), Box<dyn std::error::Error>> {
//! let auth = AuthLayer::with_token_auth(manager).origin("http://api.internal:8080").build()?;
//! let hyper = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
//! let client = ServiceBuilder::new().layer(auth).service(hyper);
//!
//! let request = http::Request::get("http://api.internal:8080/users").body(Full::default())?;
//! let response = client.oneshot(request).await?;
//! # Ok(())
//! # }
//! ```
//!
//! If requests carry only a path, `path_origin` says where they go. A layer sees no redirects.
//!
//! # gRPC
//!
//! Over gRPC a rejection is a status of its own, which [`grpc_verdict`] reads. The bodies of tonic cannot be
//! copied, so the layer does not replay a rejected call. The next call has the new token:
//!
//! ```
//! use requestforge::TokenManager;
//! use requestforge::tower::{AuthLayer, grpc_verdict};
//!
//! # fn run<TonicBody>(manager: TokenManager) -> Result<(), requestforge::ConfigError> {
//! let auth = AuthLayer::with_token_auth(manager)
//!     .path_origin("https://grpc.example.com")
//!     .judge_with(grpc_verdict)
//!     .copy_body_with(|_: &TonicBody| None) // tonic::body::Body
//!     .build()?;
//! # drop(auth);
//! # Ok(())
//! # }
//! ```

pub use forge_client::{
    AuthLayer, AuthLayerBuilder, AuthService, AuthServiceError, BodyCopy, CloneBody, grpc_verdict,
};
