use forge_tests::RecordedRequest;

use crate::callers::{BASIC, BODY, Caller, OTHER, USER_INFO};
use crate::chain::{AuthKind, Chain};
use crate::world::Origins;

/// The properties of the chains.
#[derive(Debug, Default)]
pub(crate) struct LeaseRead {
    pub(crate) trusted: usize,
    pub(crate) foreign: usize,
    pub(crate) own_at_foreign: usize,
    pub(crate) home_again: usize,
    pub(crate) bodies_sent_on: usize,
    pub(crate) began_abroad: usize,
    pub(crate) repeated: usize,
}

/// Headers that carry credentials, whether a caller, a hook or the client sets them.
const SENSITIVE: [&str; 11] = [
    "api-sign",
    "authorization",
    "cookie",
    "dpop",
    "jenkins-crumb",
    "proxy-authorization",
    "referer",
    "x-api-key",
    "x-odd",
    "x-own-key",
    "x-session-id",
];

/// Compares each request of a chain with the data that may be in it, and with the data that must be.
pub(crate) fn judge(
    chain: &Chain,
    caller: &Caller,
    requests: &[RecordedRequest],
    origins: &Origins,
    seen: &mut LeaseRead,
) {
    assert!(!requests.is_empty(), "nothing was sent: {chain:?}");
    let mut hops = Hops::default();
    for (number, request) in requests.iter().enumerate() {
        let origin = request.header("host").expect("a host");
        hops.arrive(&origin, origins);
        let sent = String::from_utf8_lossy(&request.bytes);
        let case = || format!("request {number}, to {origin}, of {chain:?}:\n{sent}");

        let credentials = credentials(chain, caller, hops.all_trusted);
        let own: &[_] = if chain.has_own_headers && hops.keeps_own { &caller.own } else { &[] };
        for mark in credentials.iter().chain(own) {
            assert!(sent.contains(mark), "{mark} is missing in {}", case());
        }
        let may_be = |mark: &&str| credentials.contains(mark) || own.contains(mark);
        for mark in caller.auth.iter().chain(&caller.defaults).chain(&caller.own).chain([&OTHER, &BASIC]) {
            assert!(may_be(mark) || !sent.contains(mark), "{mark} in {}", case());
        }
        assert!(!USER_INFO.iter().any(|mark| sent.contains(mark)), "user-info in {}", case());
        assert!(!sent.contains("canary-fragment"), "a fragment in {}", case());
        if credentials.is_empty() && own.is_empty() {
            assert!(!sent.replace(BODY, "").contains("canary"), "a credential in {}", case());
            for name in SENSITIVE {
                assert_eq!(request.header(name), None, "{name} in {}", case());
            }
        }
        if sent.contains(BODY) {
            assert!(chain.has_body && hops.is_where_it_began, "a body in {}", case());
            seen.bodies_sent_on += usize::from(number > 0);
        }

        seen.trusted += usize::from(hops.all_trusted && !credentials.is_empty());
        seen.foreign += usize::from(!origins.is_trusted(&origin));
        seen.own_at_foreign += usize::from(!own.is_empty() && !hops.all_trusted);
        seen.home_again += usize::from(!hops.all_trusted && origin == origins.home);
        seen.began_abroad += usize::from(number == 0 && !hops.all_trusted);
        seen.repeated += usize::from(number > 0 && requests[number - 1].target() == request.target());
    }
}

/// The marks that the client's own credentials leave in a request.
fn credentials(chain: &Chain, caller: &Caller, all_trusted: bool) -> Vec<&'static str> {
    if !all_trusted {
        return Vec::new();
    }
    let mut credentials = caller.defaults.clone();
    match chain.auth {
        AuthKind::AsTheClientDoes => credentials.extend(&caller.auth),
        AuthKind::Otherwise => credentials.push(OTHER),
        AuthKind::Not => {}
    }
    if chain.has_own_headers && caller.own.contains(&"canary-own-cookie") {
        // The caller's header replaces the default.
        credentials.retain(|mark| *mark != "canary-cookie");
    }
    credentials
}

/// The rules once more, as short as possible.
#[derive(Default)]
struct Hops {
    last: Option<String>,
    /// Whether this origin and all before it are trusted.
    all_trusted: bool,
    /// The caller's own headers go to the origin that the caller names, and from there to trusted origins
    /// only.
    keeps_own: bool,
    is_where_it_began: bool,
}

impl Hops {
    fn arrive(&mut self, origin: &str, origins: &Origins) {
        let is_trusted = origins.is_trusted(origin);
        match &self.last {
            None => (self.all_trusted, self.keeps_own, self.is_where_it_began) = (is_trusted, true, true),
            Some(last) => {
                let stays = last == origin;
                self.all_trusted &= is_trusted;
                self.keeps_own &= stays || self.all_trusted;
                self.is_where_it_began &= stays;
            }
        }
        self.last = Some(origin.to_owned());
    }
}
