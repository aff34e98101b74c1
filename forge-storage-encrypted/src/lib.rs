//! Encrypts the tokens of `requestforge` before a storage gets them: whoever reads the storage, or a dump
//! or backup of it, has no token. [`EncryptedTokenStorage`] says what is hidden, what is not, and how keys
//! rotate.

mod builder;
mod key;
mod keyring;
mod lease;
mod record;
mod storage;

pub use builder::EncryptedTokenStorageBuilder;
pub use key::EncryptionKey;
pub use storage::EncryptedTokenStorage;
