//! The former names of what has been renamed, until the first release.

#[deprecated(note = "renamed to `InBody`")]
pub type Body = crate::InBody;

#[deprecated(note = "renamed to `InHeader`")]
pub type Header = crate::InHeader;
