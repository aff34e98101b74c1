//! Encrypts the tokens of `requestforge` before a storage gets them, so that nobody can take a token from the storage,
//! a dump or a backup. [`EncryptedTokenStorage`] says what is hidden, what is not, and how to rotate keys.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder;
mod key;
mod keyring;
mod lease;
mod record;
mod storage;

pub use builder::EncryptedTokenStorageBuilder;
pub use key::EncryptionKey;
pub use storage::EncryptedTokenStorage;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
