//! Sets every duration to zero, to the least and to the most.

use std::time::Duration;

use requestforge::storage::RedisTokenStorageBuilder;

use crate::extremes::{EXTREMES, used};
use crate::world::World;

type Setter = fn(RedisTokenStorageBuilder, Duration) -> RedisTokenStorageBuilder;

#[tokio::test]
async fn every_duration_is_refused_or_works() {
    let world = World::start().await;
    let settings: [(&str, Setter); 4] = [
        ("command_timeout", RedisTokenStorageBuilder::command_timeout),
        ("lease", RedisTokenStorageBuilder::lease),
        ("recheck_after", |builder, value| builder.recheck_after(value).trusted_for(Duration::MAX)),
        ("trusted_for", RedisTokenStorageBuilder::trusted_for),
    ];
    for (name, set) in settings {
        for value in EXTREMES {
            let case = format!("{name}: {value:?}");
            match set(world.builder(), value).build() {
                Err(error) => assert_eq!(error.field(), name, "{case}: {error}"),
                Ok(storage) => {
                    assert!(value == Duration::MAX, "{case} is accepted");
                    assert!(matches!(name, "recheck_after" | "trusted_for"), "{case}");
                    let manager = world.manager(name, storage);
                    used(&case, async {
                        let token = manager.get_token().await.expect("a token");
                        manager.refresh_rejected(&token).await.expect("a renewal");
                        let _ = manager.cached();
                        manager.invalidate_token().await.expect("forgotten");
                        manager.get_token().await.expect("a token");
                    })
                    .await;
                }
            }
        }
    }
}
