//! Versions of this library side by side, as during a rolling deployment.

use chrono::Utc;
use requestforge::redis::cmd;
use requestforge::storage::{CoolDownPolicy, LeaseOutcome, MarkTakeover, RefreshMark};
use requestforge::{TokenData, TokenStorage};

use crate::world::{World, soon};

const META: &str = "{token:crm}:meta";
const ROTATIONS: usize = 20;

/// How another version writes its side data.
#[derive(Clone, Copy, Debug)]
enum Other {
    /// The next version: more fields.
    Next,
    /// A version that knows fewer fields.
    Previous,
    /// A version that knows nothing of side data, as the documents' class.
    Bare,
}

impl Other {
    /// Stores a token in the way of that version, and announces it.
    async fn store(self, world: &World, token: &TokenData) {
        let record = serde_json::json!({
            "access_token": token.access_token(),
            "token_type": "Bearer",
            "expires_at": token.expires_at().map(|at| at.format("%Y-%m-%dT%H:%M:%S%.6f").to_string()),
            "refresh_token": token.refresh_token(),
            "scope": null,
            "extra": {},
        })
        .to_string();
        world.put("token:crm", &record).await;
        if !matches!(self, Self::Bare) {
            world.run::<()>(cmd("DEL").arg(META)).await;
        }
        let script = "return redis.sha1hex(ARGV[1])";
        let digest: String = world.run(cmd("EVAL").arg(script).arg(0).arg(&record)).await;
        let now = Utc::now().timestamp_millis().to_string();
        match self {
            Self::Next => {
                let fields = [
                    ("version", "2"),
                    ("digest", digest.as_str()),
                    ("issued_at", &now),
                    ("region", "eu"),
                    ("proof", "{\"kty\":\"EC\"}"),
                ];
                world.set_fields(META, &fields).await;
            }
            Self::Previous => world.set_fields(META, &[("digest", digest.as_str())]).await,
            Self::Bare => {}
        }
        let more = if matches!(self, Self::Next) { " and more" } else { "" };
        let message = format!("{KEY_HASH} changed somebody{more}");
        world.run::<()>(cmd("PUBLISH").arg("requestforge:token").arg(message)).await;
    }
}

/// Announcements name the key by this: the first half of the SHA-256 of `token:crm`.
const KEY_HASH: &str = "b145656011fd45e7d68e7b3c066aa2dd";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv20_two_versions_side_by_side_are_one_token_call_per_rotation() {
    for other in [Other::Next, Other::Previous, Other::Bare] {
        let world = World::start().await;
        let managers = [world.manager("crm", world.storage()), world.manager("crm", world.storage())];
        for rotation in 0..ROTATIONS {
            // Our version fetches, and the other version can read the token.
            managers[rotation % 2].invalidate_token().await.expect("an answer");
            let fetched = managers[rotation % 2].get_token().await.expect("a token").id();
            let second = &managers[(rotation + 1) % 2];
            let seen = soon(|| async { second.get_token().await.expect("a token").id() == fetched });
            assert!(seen.await, "{other:?}: our token is not used");
            assert_eq!(world.issuer.token_calls(), rotation + 1, "{other:?}");
            let record = world.raw("token:crm").await.expect("a record");
            let record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
            assert_eq!(record.as_object().map(serde_json::Map::len), Some(6));
            assert_eq!(world.field(META, "version").await.as_deref(), Some("1"));
            assert_eq!(world.field(META, "region").await, None, "nothing of another version is left");

            // The other version fetches, and our managers use the token.
            let theirs = TokenData::new(format!("{other:?} {rotation}"));
            let theirs = theirs.with_expires_in(std::time::Duration::from_secs(3_600));
            other.store(&world, &theirs).await;
            for manager in &managers {
                let seen = soon(|| async { manager.get_token().await.expect("a token").id() == theirs.id() });
                assert!(seen.await, "{other:?}: its token is not used");
            }
            assert_eq!(world.issuer.token_calls(), rotation + 1, "{other:?}");
        }
    }
}

#[tokio::test]
async fn inv20_marks_of_another_version_are_seen_and_its_other_fields_stay() {
    let world = World::start().await;
    let storage = world.storage();
    let token = TokenData::new("t").with_refresh_token("r");
    Other::Next.store(&world, &token).await;
    let mut lease = storage.leases().expect("leases").lease("crm");
    assert!(matches!(lease.acquire(CoolDownPolicy::Respect).await, Ok(LeaseOutcome::Held { .. })));
    assert_eq!(
        lease.mark_refresh_token(token.id(), MarkTakeover::Never).await.expect("an answer"),
        RefreshMark::Ours
    );
    assert_eq!(world.field(META, "region").await.as_deref(), Some("eu"));
    assert_eq!(world.field(META, "version").await.as_deref(), Some("2"));
}
