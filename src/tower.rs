//! The same authentication for services of tower.
//!
//! ```
//! use requestforge::TokenManager;
//! use requestforge::tower::AuthLayer;
//!
//! # fn run(manager: TokenManager) -> Result<(), requestforge::ConfigError> {
//! let layer = AuthLayer::with_token_auth(manager).path_origin("https://api.example.com").build()?;
//! # Ok(())
//! # }
//! ```

pub use forge_client::{
    AuthLayer, AuthLayerBuilder, AuthService, AuthServiceError, BodyCopy, CloneBody, grpc_verdict,
};
