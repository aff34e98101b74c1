//! One node's knowledge of all nodes of its cluster.

use std::io;
use std::ops::RangeInclusive;

use crate::redis::group::Member;

/// A node, as another node or the node itself sees it.
#[derive(Debug)]
pub(super) struct LeaseRead {
    pub(super) id: String,
    pub(super) port: u16,
    /// The id of its master, if it is a replica.
    pub(super) master: Option<String>,
    flags: String,
    connected: bool,
    slots: Vec<RangeInclusive<usize>>,
}

impl LeaseRead {
    pub(super) fn has(&self, slot: usize) -> bool {
        self.slots.iter().any(|slots| slots.contains(&slot))
    }

    pub(super) fn is_master(&self) -> bool {
        self.flags.split(',').any(|flag| flag == "master")
    }

    pub(super) fn is_well(&self) -> bool {
        // `fail?` is only a suspicion.
        let ill = |flag: &str| ["fail", "fail?", "handshake", "noaddr"].contains(&flag);
        self.connected && !self.flags.split(',').any(ill)
    }
}

/// All nodes that a node sees, itself included.
pub(super) async fn view(member: &Member) -> io::Result<Vec<LeaseRead>> {
    let told = member.text(&["CLUSTER", "NODES"]).await?;
    let seen: Option<Vec<LeaseRead>> = told.lines().map(seen).collect();
    seen.ok_or_else(|| io::Error::other(format!("what {:?} sees is not understood: {told}", member.node)))
}

/// `ID IP:PORT@BUS,NAME FLAGS MASTER PING PONG EPOCH LINK SLOTS…`
fn seen(told: &str) -> Option<LeaseRead> {
    let words: Vec<&str> = told.split_whitespace().collect();
    let [id, address, flags, master, _, _, _, link, slots @ ..] = words.as_slice() else { return None };
    let port = address.split('@').next()?.rsplit(':').next()?.parse().ok()?;
    Some(LeaseRead {
        id: (*id).to_owned(),
        port,
        master: Some(*master).filter(|master| *master != "-").map(ToOwned::to_owned),
        flags: (*flags).to_owned(),
        connected: *link == "connected",
        // Slots that are about to move are in brackets. They are also listed without brackets.
        slots: slots
            .iter()
            .filter(|slots| !slots.starts_with('['))
            .map(|slots| range(slots))
            .collect::<Option<_>>()?,
    })
}

fn range(slots: &str) -> Option<RangeInclusive<usize>> {
    let (first, last) = slots.split_once('-').unwrap_or((slots, slots));
    Some(first.parse().ok()?..=last.parse().ok()?)
}
