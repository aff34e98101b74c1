/// Copies bodies, so that a request can be sent again. Functions from `&B` to `Option<B>` do, and [`CloneBody`].
pub trait BodyCopy<B> {
    /// The copy; `None` where it cannot be copied.
    fn copy(&self, body: &B) -> Option<B>;
}

/// Copies bodies that are `Clone`.
#[derive(Clone, Copy, Debug, Default)]
pub struct CloneBody;

impl<B: Clone> BodyCopy<B> for CloneBody {
    fn copy(&self, body: &B) -> Option<B> {
        Some(body.clone())
    }
}

impl<B, F: Fn(&B) -> Option<B>> BodyCopy<B> for F {
    fn copy(&self, body: &B) -> Option<B> {
        self(body)
    }
}
