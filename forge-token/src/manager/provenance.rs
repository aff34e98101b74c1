/// Where a token came from; see [`TokenManager::get_token_for`](crate::TokenManager::get_token_for) and
/// [`TokenManager::get_token_instead_of`](crate::TokenManager::get_token_instead_of).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenProvenance {
    /// It was there, in the manager or the storage.
    Cached,
    /// Somebody else had begun to fetch or refresh it.
    Joined,
    /// It was fetched for this caller.
    Fetched,
    /// It was refreshed for this caller.
    Refreshed,
}
