/// The way in which the manager got a token; see [`TokenDependency`](crate::TokenDependency).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenProvenance {
    /// The manager or the storage had it.
    Cached,
    /// It comes from a fetch or a refresh that another caller had begun.
    Joined,
    /// It comes from a fetch for this caller.
    Fetched,
    /// It comes from a refresh for this caller.
    Refreshed,
}
