//! Encrypts the tokens of `requestforge` before a storage gets them.
//!
//! Programs use it through `requestforge` (feature `encryption`). Depend on this crate directly if you write a library on
//! `forge-core`.
//!
//! An [`EncryptedTokenStorage`] wraps another storage, such as `RedisTokenStorage`. A person who reads that storage, a dump
//! or a backup of it then sees no token. Keys rotate without a flush of the storage.
//!
//! ```
//! use requestforge::{EncryptedTokenStorage, EncryptionKey, InMemoryTokenStorage, TokenData, TokenStorage};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! # let new_key = "3q2+796tvu/erb7v3q2+796tvu/erb7v3q2+796tvu8=";
//! # let old_key = "AAAA796tvu/erb7v3q2+796tvu/erb7v3q2+796tvu8=";
//! // `openssl rand -base64 32` makes a key. The program reads it from a mounted file, a variable or a vault.
//! let inner = InMemoryTokenStorage::new(); // in production a shared storage, such as `RedisTokenStorage`
//! let storage = EncryptedTokenStorage::builder(inner, EncryptionKey::from_base64("2026-12", new_key)?)
//!     .reading_key(EncryptionKey::from_base64("2026-11", old_key)?)
//!     .build()?;
//!
//! storage.set("auth_token:crm", &TokenData::new("abc")).await?;
//! assert_eq!(storage.get("auth_token:crm").await?, Some(TokenData::new("abc")));
//! # Ok::<_, Box<dyn std::error::Error>>(()) })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Limits
//!
//! The cache key, the times of a token and its length stay readable. An attacker with write access to the inner storage can
//! delete records and put back older ones. [`EncryptedTokenStorage`] lists all limits, and explains the rotation of keys.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod key;
mod keyring;
mod record;
mod storage;

pub use key::EncryptionKey;
pub use storage::{EncryptedTokenStorage, EncryptedTokenStorageBuilder};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
