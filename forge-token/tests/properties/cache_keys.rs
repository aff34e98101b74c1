//! Cache keys: providers share a token only if all properties that distinguish their tokens are equal.

use std::collections::BTreeSet;

use forge_core::{CacheKey, TokenProvider};
use forge_token::{ClientCredentialsTokenProvider, PasswordGrantTokenProvider};
use proptest::prelude::*;
use proptest::test_runner::Config;

use crate::seed;

/// The properties that distinguish the tokens of two providers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    service: String,
    endpoint: &'static str,
    client: String,
    /// `None`: client credentials.
    user: Option<String>,
    scope: BTreeSet<String>,
    extra: BTreeSet<(String, String)>,
    /// Parameters that only a closure knows.
    hidden: BTreeSet<(String, String)>,
    tenant: Option<String>,
}

/// One way to write an identity down: words and parameters in some order, words repeated.
#[derive(Clone, Debug)]
struct IdentitySpelling {
    identity: Identity,
    scope: String,
    extra: Vec<(String, String)>,
    hidden: Vec<(String, String)>,
    secret: String,
}

impl IdentitySpelling {
    fn key(&self) -> String {
        let identity = &self.identity;
        let (client, secret) = (identity.client.as_str(), self.secret.as_str());
        match &identity.user {
            None => {
                let mut builder = ClientCredentialsTokenProvider::builder(identity.endpoint, client, secret)
                    .service_name(&identity.service)
                    .scope(&self.scope);
                for (name, value) in &self.extra {
                    builder = builder.extra_param(name, value);
                }
                for (name, value) in &self.hidden {
                    builder = builder.key_part(name, value);
                }
                if let Some(tenant) = &identity.tenant {
                    builder = builder.query_param("tenant", tenant);
                }
                builder.secret_query_param("key", secret).build().expect("a provider").cache_key()
            }
            Some(user) => {
                let mut builder =
                    PasswordGrantTokenProvider::builder(identity.endpoint, client, secret, user, secret)
                        .service_name(&identity.service)
                        .scope(&self.scope);
                for (name, value) in &self.extra {
                    builder = builder.extra_param(name, value);
                }
                for (name, value) in &self.hidden {
                    builder = builder.key_part(name, value);
                }
                if let Some(tenant) = &identity.tenant {
                    builder = builder.query_param("tenant", tenant);
                }
                builder.secret_query_param("key", secret).build().expect("a provider").cache_key()
            }
        }
    }
}

/// Few letters, so that similar identities occur: `a` and `b c` beside `a b` and `c`.
fn identities() -> impl Strategy<Value = Identity> {
    (
        "[ab]{1,3}",
        prop_oneof![Just("https://a.example/token"), Just("https://a.example/token2")],
        "[ab]{1,2}",
        proptest::option::of("[ab]{1,2}"),
        proptest::collection::btree_set("[ab]{1,2}", 0..4),
        proptest::collection::btree_set(
            ("audience|resource|subject|scope2|client|endpoint|grant|key_part|value", "[ab &=]{0,2}"),
            0..4,
        ),
        proptest::collection::btree_set(("endpoint|key_part|value|a", "[ab &=]{0,2}"), 0..3),
        proptest::option::of("[ab&=]{0,2}"),
    )
        .prop_map(|(service, endpoint, client, user, scope, extra, hidden, tenant)| Identity {
            service,
            endpoint,
            client,
            user,
            scope,
            extra,
            hidden,
            tenant,
        })
}

fn written(identity: Identity) -> impl Strategy<Value = IdentitySpelling> {
    let words: Vec<String> = identity.scope.iter().cloned().collect();
    let words = if words.is_empty() {
        Just(String::new()).boxed()
    } else {
        let all = Just(words.clone()).prop_shuffle();
        let again = proptest::collection::vec(proptest::sample::select(words), 0..3);
        (all, again, proptest::sample::select(vec![" ", "  "]))
            .prop_map(|(all, again, space)| [all, again].concat().join(space))
            .boxed()
    };
    let extra: Vec<_> = identity.extra.iter().cloned().collect();
    let hidden: Vec<_> = identity.hidden.iter().cloned().collect();
    (words, Just(extra).prop_shuffle(), Just(hidden).prop_shuffle(), "[a-z]{1,4}").prop_map(
        move |(scope, extra, hidden, secret)| IdentitySpelling {
            identity: identity.clone(),
            scope,
            extra,
            hidden,
            secret,
        },
    )
}

/// Changes one thing of an identity, or nothing.
fn neighbours() -> impl Strategy<Value = (Identity, Identity)> {
    (identities(), identities(), 0..10_u8).prop_map(|(one, other, changed)| {
        let mut two = one.clone();
        match changed {
            0 => two.service = other.service,
            1 => two.endpoint = other.endpoint,
            2 => two.client = other.client,
            3 => two.user = other.user,
            4 => two.scope = other.scope,
            5 => two.extra = other.extra,
            6 => two = other,
            7 => two.hidden = other.hidden,
            8 => two.tenant = other.tenant,
            _ => {}
        }
        (one, two)
    })
}

proptest! {
    #![proptest_config(Config { cases: 4_096, failure_persistence: None, rng_seed: seed(), ..Config::default() })]

    #[test]
    fn inv17_keys_are_equal_if_and_only_if_all_that_makes_a_token_different_is(
        (one, two) in neighbours()
            .prop_flat_map(|(one, two)| (written(one), written(two)))
    ) {
        prop_assert_eq!(one.identity == two.identity, one.key() == two.key(), "{:?} {:?}", one, two);
    }

    #[test]
    fn inv26_no_two_services_and_parts_make_one_key((one, two) in services_and_parts()) {
        prop_assert_eq!(one == two, key(&one) == key(&two), "{:?} {:?}", one, two);
    }
}

/// A service name, and the parts of its key.
type NamedParts = (String, Vec<(String, String)>);

fn key((service, parts): &NamedParts) -> String {
    parts.iter().fold(CacheKey::new(service), |key, (name, value)| key.part(name, value)).to_string()
}

/// Two that look alike: the service name of one may be what the key of the other says after `auth_token:`.
fn services_and_parts() -> impl Strategy<Value = (NamedParts, NamedParts)> {
    let parts = || proptest::collection::vec(("[ab:]{0,2}", "[ab:]{0,2}"), 0..3);
    let named = || ("[ab:]{0,3}", parts());
    (named(), named(), 0..3_u8, parts()).prop_map(|(one, other, kind, parts)| {
        let imitated = |named: &NamedParts, parts: Vec<_>| {
            let key = key(named);
            (key.strip_prefix("auth_token:").expect("the key of a service").to_owned(), parts)
        };
        let two = match kind {
            0 => other,
            1 => imitated(&one, parts),
            _ => imitated(&imitated(&one, parts.clone()), parts),
        };
        (one, two)
    })
}
