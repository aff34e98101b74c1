use forge_core::AuthenticationError;

use super::AuthSession;

impl AuthSession<'_> {
    /// Runs the [`renewal`](Self::renewal) of the rejected token and records its result with
    /// [`record_renewal`](Self::record_renewal). The loops of this crate call this. It renews the token even if the
    /// request cannot be sent again, so that the next call gets another one. Returns whether to replay the request.
    ///
    /// # Errors
    ///
    /// The renewal failed. The loop may call this once more. For a request that cannot be sent again, a failed
    /// renewal is `Ok(false)`: the caller gets the response that came.
    pub(crate) async fn renew_rejected_token(
        &mut self,
        can_be_sent_again: bool,
    ) -> Result<bool, AuthenticationError> {
        let Some(renewal) = self.renewal() else { return Ok(false) };
        match renewal.run().await {
            Ok(renewed) => Ok(self.record_renewal(renewed) && can_be_sent_again),
            Err(error) if can_be_sent_again => Err(error),
            Err(error) => {
                tracing::debug!(%error, "the renewal after a 401 failed; the request cannot be sent again anyway");
                Ok(false)
            }
        }
    }
}
