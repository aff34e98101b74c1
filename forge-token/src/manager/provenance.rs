/// Where a token came from; see [`TokenDependency`](crate::TokenDependency).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenProvenance {
    /// The manager or the storage had it.
    Cached,
    /// A fetch or a refresh brought it that another caller had begun.
    Joined,
    /// A fetch for this caller brought it.
    Fetched,
    /// A refresh for this caller brought it.
    Refreshed,
}
