//! A service account for Google's libraries, with a key of our own. The process generates the key once.

use std::sync::OnceLock;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::Failure;
use crate::token_server::TokenServer;

/// The account in the format of Google's key files, with our server's token endpoint.
pub fn json(server: &TokenServer) -> Result<String, Failure> {
    static KEY: OnceLock<Result<String, String>> = OnceLock::new();
    let key = KEY.get_or_init(|| private_key().map_err(|error| error.to_string())).clone()?;
    let account = json!({
        "type": "service_account",
        "project_id": "project",
        "private_key_id": "1",
        "private_key": key,
        "client_email": "bench@project.example",
        "client_id": "1",
        "token_uri": format!("{}/token", server.url()),
    });
    Ok(account.to_string())
}

fn private_key() -> Result<String, Failure> {
    let pair = KeyPair::generate(KeySize::Rsa2048)?;
    let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair)?;
    let base64 = STANDARD.encode(der.as_ref());
    Ok(format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n"))
}
