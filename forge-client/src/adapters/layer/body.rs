/// Copies bodies, so that the layer can send a request again. Functions from `&B` to `Option<B>` and
/// [`CloneBody`] implement it.
pub trait BodyCopy<B> {
    /// The copy; `None` if the body cannot be copied.
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
