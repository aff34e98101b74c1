//! A storage does not store a token that was invalidated during its fetch (invariant 4).

use std::time::Duration;

use requestforge::storage::CoolDownPolicy;
use requestforge::{TokenData, TokenStorage};

use crate::world::World;

/// The holder takes so long that another process fetches without the lease.
#[tokio::test]
async fn inv04_a_deletion_also_concerns_a_lease_that_was_waited_for_in_vain() {
    let world = World::start().await;
    let storage = world.storage();
    let leases = storage.leases().expect("leases");
    for is_deleted in [false, true] {
        let key = format!("deleted-{is_deleted}");
        let (mut holder, mut without) = (leases.lease(&key), leases.lease(&key));
        holder.acquire(CoolDownPolicy::Respect).await.expect("an answer");
        let waited =
            tokio::time::timeout(Duration::from_millis(300), without.acquire(CoolDownPolicy::Respect)).await;
        assert!(waited.is_err(), "the lease is held");
        if is_deleted {
            world.storage().delete(&key).await.expect("an answer");
        }
        drop(holder);
        let is_stored = without.store(&TokenData::new("t"), None).await.expect("an answer");
        assert_eq!(is_stored, !is_deleted);
        assert_eq!(storage.exists(&key).await.expect("an answer"), !is_deleted);
    }
}
