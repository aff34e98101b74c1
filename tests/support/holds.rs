use std::collections::HashSet;

use tokio::sync::watch;

/// Replies that wait until a test releases them.
#[derive(Default)]
pub(crate) struct Holds {
    held: watch::Sender<HashSet<String>>,
    waiting: watch::Sender<usize>,
}

impl Holds {
    pub(crate) fn hold(&self, id: &str) {
        self.held.send_modify(|held| {
            held.insert(id.to_owned());
        });
    }

    pub(crate) fn release(&self, id: &str) {
        self.held.send_modify(|held| {
            held.remove(id);
        });
    }

    pub(crate) fn release_all(&self) {
        self.held.send_modify(HashSet::clear);
    }

    pub(crate) fn waiting(&self) -> usize {
        *self.waiting.borrow()
    }

    pub(crate) async fn until_waiting(&self, count: usize) {
        // This ends early only if the sender is gone, and `self` owns the sender.
        let _ = self.waiting.subscribe().wait_for(|waiting| *waiting >= count).await;
    }

    /// Returns when the request is not held any more. Most requests are never held.
    pub(crate) async fn pass(&self, id: &str) {
        let mut held = self.held.subscribe();
        if !held.borrow_and_update().contains(id) {
            return;
        }
        let _waiting = WaitGuard::new(&self.waiting);
        let _ = held.wait_for(|held| !held.contains(id)).await;
    }
}

/// Counts one waiting reply until it is dropped, also if the client goes away.
struct WaitGuard<'w>(&'w watch::Sender<usize>);

impl<'w> WaitGuard<'w> {
    fn new(waiting: &'w watch::Sender<usize>) -> Self {
        waiting.send_modify(|waiting| *waiting += 1);
        Self(waiting)
    }
}

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}
