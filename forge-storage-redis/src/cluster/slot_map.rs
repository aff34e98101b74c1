use std::collections::HashMap;
use std::ops::RangeInclusive;

use forge_core::StorageError;
use redis::Value;

use crate::connection::UNKNOWN_HOST;
use crate::explain::missing_host_name_error;
use crate::topology::TopologyAnswer;

/// The host and the port of a server.
pub(super) type Address = (String, u16);

/// The map from slots to their servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SlotMap {
    epoch: u64,
    /// Whether the server that answered is in touch with the rest of the cluster.
    is_sound: bool,
    /// Whether some servers announce no host name although the cluster is set to announce host names.
    has_unknown_host: bool,
    ranges: Vec<(RangeInclusive<u16>, Address)>,
    /// The slots that redirects have moved since this map was read.
    moved: HashMap<u16, Address>,
    /// The addresses of masters and replicas.
    nodes: Vec<Address>,
}

impl SlotMap {
    /// Reads the answers of the node at this host to `CLUSTER INFO` and `CLUSTER SLOTS`. Skips entries that it
    /// cannot parse.
    pub(super) fn read(info: &str, slots: Value, host: &str) -> Self {
        let epoch = info.lines().find_map(|line| line.strip_prefix("cluster_current_epoch:"));
        let epoch = epoch.and_then(|epoch| epoch.trim().parse().ok()).unwrap_or(0);
        let mut map = Self { epoch, ..Self::default() };
        let Value::Array(ranges) = slots else { return map };
        for range in ranges {
            let Value::Array(range) = range else { continue };
            let [Value::Int(first), Value::Int(last), nodes @ ..] = range.as_slice() else { continue };
            let (Ok(first), Ok(last)) = (u16::try_from(*first), u16::try_from(*last)) else { continue };
            map.has_unknown_host |= nodes.iter().any(has_unknown_host);
            let mut addresses = nodes.iter().map(|node| address(node, host));
            // The first address is that of the master.
            if let Some(Some(master)) = addresses.next() {
                map.ranges.push((first..=last, master.clone()));
                map.nodes.push(master);
            }
            map.nodes.extend(addresses.flatten());
        }
        map.nodes.sort_unstable();
        map.nodes.dedup();
        // A node that was reset reports `ok` but knows no other node, so its map is empty.
        map.is_sound = is_cluster_state_ok(info) && (map.has_unknown_host || !map.ranges.is_empty());
        map
    }

    /// Takes the list of servers from another map, if this map has none yet.
    pub(super) fn adopt_nodes_of(&mut self, other: Self) {
        if self.nodes.is_empty() {
            self.nodes = other.nodes;
        }
    }

    pub(super) fn nodes(&self) -> &[Address] {
        &self.nodes
    }

    pub(super) fn owner(&self, slot: u16) -> Option<&Address> {
        let by_range = || self.ranges.iter().find(|(range, _)| range.contains(&slot)).map(|(_, owner)| owner);
        self.moved.get(&slot).or_else(by_range)
    }

    /// The error for a slot without an owner.
    pub(super) fn no_owner_error(&self) -> StorageError {
        if self.has_unknown_host {
            return missing_host_name_error();
        }
        StorageError::new("no server of the cluster has the slot of this key")
    }

    pub(super) fn move_slot(&mut self, slot: u16, to: Address) {
        if !self.nodes.contains(&to) {
            self.nodes.push(to.clone());
        }
        self.moved.insert(slot, to);
    }
}

/// Crash: a node that was down or cut off still names the old masters. Its epoch is smaller.
impl TopologyAnswer for SlotMap {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn is_sound(&self) -> bool {
        self.is_sound
    }
}

/// Whether this answer to `CLUSTER INFO` says that the node can reach the rest of its cluster.
pub(super) fn is_cluster_state_ok(info: &str) -> bool {
    info.lines().any(|line| line.trim() == "cluster_state:ok")
}

fn has_unknown_host(node: &Value) -> bool {
    let Value::Array(node) = node else { return false };
    matches!(node.first(), Some(Value::BulkString(host)) if host == UNKNOWN_HOST.as_bytes())
}

/// The address of a node. An address without a host means the answering node, and `?` means that the host is unknown.
fn address(node: &Value, answering: &str) -> Option<Address> {
    let Value::Array(node) = node else { return None };
    let (host, Value::Int(port)) = (node.first()?, node.get(1)?) else { return None };
    let host = match host {
        Value::Nil => answering,
        Value::BulkString(host) => match std::str::from_utf8(host).ok()? {
            "" => answering,
            UNKNOWN_HOST => return None,
            host => host,
        },
        _ => return None,
    };
    Some((host.to_owned(), u16::try_from(*port).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: &str, port: i64) -> Value {
        Value::Array(vec![Value::BulkString(host.into()), Value::Int(port), Value::BulkString("id".into())])
    }

    fn range(first: i64, last: i64, nodes: Vec<Value>) -> Value {
        let mut range = vec![Value::Int(first), Value::Int(last)];
        range.extend(nodes);
        Value::Array(range)
    }

    fn address(host: &str, port: u16) -> Address {
        (host.to_owned(), port)
    }

    #[test]
    fn slots_belong_to_the_first_node_of_their_range_until_they_move() {
        let nil = Value::Array(vec![Value::Nil, Value::Int(7003)]);
        let answer = Value::Array(vec![
            range(0, 99, vec![node("a", 7001), node("b", 7002)]),
            range(100, 100, vec![node("", 7002)]),
            range(101, 200, vec![nil]),
        ]);
        let mut map = SlotMap::read("cluster_state:ok\r\ncluster_current_epoch:7\r\n", answer, "here");
        assert_eq!((map.epoch(), map.is_sound()), (7, true));
        assert_eq!(map.owner(0), Some(&address("a", 7001)));
        assert_eq!(map.owner(99), Some(&address("a", 7001)));
        assert_eq!(map.owner(100), Some(&address("here", 7002)));
        assert_eq!(map.owner(200), Some(&address("here", 7003)));
        assert_eq!(map.owner(201), None);
        assert_eq!(map.nodes().len(), 4);
        map.move_slot(50, address("c", 1));
        map.move_slot(5_000, address("c", 1));
        assert_eq!(map.owner(50), Some(&address("c", 1)));
        assert_eq!(map.owner(51), Some(&address("a", 7001)));
        assert_eq!(map.owner(5_000), Some(&address("c", 1)));
        assert_eq!(map.nodes().len(), 5);
    }

    #[test]
    fn who_is_cut_off_or_was_reset_knows_nothing() {
        let slots = || Value::Array(vec![range(0, 16_383, vec![node("a", 7001)])]);
        assert!(SlotMap::read("cluster_state:ok\r\n", slots(), "here").is_sound());
        assert!(!SlotMap::read("cluster_state:fail\r\n", slots(), "here").is_sound());
        assert!(!SlotMap::read("", slots(), "here").is_sound());
        let nameless = Value::Array(vec![range(0, 16_383, vec![node("?", 7001)])]);
        assert!(SlotMap::read("cluster_state:ok", nameless, "here").is_sound());
        assert!(!SlotMap::read("cluster_state:ok\r\n", Value::Array(Vec::new()), "here").is_sound());
    }

    #[test]
    fn what_cannot_be_understood_is_left_out() {
        let strange = [
            Value::Nil,
            Value::Array(vec![Value::Nil, Value::Int(1)]),
            Value::Array(vec![range(0, 99, vec![])]),
            Value::Array(vec![range(-1, 99, vec![node("a", 1)]), range(0, 70_000, vec![node("a", 1)])]),
            Value::Array(vec![range(0, 99, vec![node("?", 1)])]),
            Value::Array(vec![range(0, 99, vec![node("a", 70_000)])]),
            Value::Array(vec![range(0, 99, vec![Value::Array(vec![Value::Int(1)])])]),
            Value::Array(vec![range(0, 99, vec![Value::Int(1)])]),
        ];
        for answer in strange {
            let map = SlotMap::read("cluster_state:ok", answer.clone(), "here");
            assert!(map.nodes().is_empty() && map.owner(5).is_none(), "{answer:?}");
        }
    }
}
