use crate::callers::Caller;
use crate::random::Random;
use crate::world::Origins;

/// The start of a call, and the targets of its redirects. The paths are `/c/<seed>/<step>`.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) seed: u64,
    pub(crate) caller: usize,
    pub(crate) begins: String,
    pub(crate) steps: Vec<Step>,
    pub(crate) method: &'static str,
    pub(crate) has_body: bool,
    pub(crate) has_own_headers: bool,
    pub(crate) auth: AuthKind,
}

/// The answer of a server.
#[derive(Debug)]
pub(crate) struct Step {
    /// The server first answers with this status and no redirect.
    pub(crate) at_first: Option<u16>,
    pub(crate) status: u16,
    pub(crate) location: String,
}

/// The authentication that a request chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthKind {
    AsTheClientDoes,
    Otherwise,
    Not,
}

impl Chain {
    pub(crate) fn random(seed: u64, origins: &Origins, callers: &[Caller]) -> Self {
        let mut random = Random(seed);
        // The first numbers of the generator are poor.
        random.below(2);
        let begins_abroad = random.below(6) == 0;
        let begins = match begins_abroad {
            true => format!("http://{}/c/{seed}/0", random_origin(&mut random, origins, 0)),
            false if random.below(2) == 0 => format!("http://{}/c/{seed}/0", origins.home),
            false => format!("/c/{seed}/0"),
        };
        // More often homeward than away, because otherwise few chains would come home again.
        let homeward = 1 + random.below(3);
        let steps = (1..=1 + random.below(7)).map(|next| {
            let origin = random_origin(&mut random, origins, homeward);
            Step {
                at_first: [None, None, None, None, None, None, Some(401), Some(503)][random.below(8)],
                status: [301, 302, 303, 307, 308][random.below(5)],
                location: random_location(&mut random, origin, &format!("/c/{seed}/{next}")),
            }
        });
        let steps = steps.collect();
        let method = ["GET", "GET", "PUT", "POST"][random.below(4)];
        Self {
            seed,
            caller: random.below(callers.len()),
            steps,
            method,
            has_body: method != "GET",
            has_own_headers: random.below(3) == 0,
            auth: match random.below(8) {
                // The client does not send a request of that kind to a foreign origin.
                0 if !begins_abroad => AuthKind::Otherwise,
                1 => AuthKind::Not,
                _ => AuthKind::AsTheClientDoes,
            },
            begins,
        }
    }
}

fn random_origin<'a>(random: &mut Random, origins: &'a Origins, homeward: usize) -> &'a str {
    match random.below(homeward + 3) {
        0..=2 => &origins.foreign[random.below(origins.foreign.len())],
        _ if random.below(3) == 0 => &origins.also_home,
        _ => &origins.home,
    }
}

/// The ways to write a location. This function does not decide whether the location leads to the right
/// server: the server itself reports the name by which it was asked.
fn random_location(random: &mut Random, origin: &str, path: &str) -> String {
    match random.below(16) {
        // A location relative to the current origin.
        0 => path.to_owned(),
        1 => path.rsplit('/').next().unwrap_or_default().to_owned(),
        2 => format!("/away/..{path}"),
        3 => format!("//{origin}{path}"),
        4 => format!("\\\\{origin}{path}"),
        5 => format!("/\\{origin}{path}"),
        6 => format!("http:\\\\{origin}{path}"),
        7 => format!("HTTP://{}{path}", origin.to_uppercase()),
        8 => format!("http://canary-name:canary-word@{origin}{path}"),
        9 => format!("http://canary-name@{origin}{path}#canary-fragment"),
        10 => format!("http://{}{path}", origin.replacen("127.0.0.", "127.", 1)),
        11 => format!("http:///{origin}{path}"),
        _ => format!("http://{origin}{path}"),
    }
}
