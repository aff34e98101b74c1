use std::collections::HashMap;
use std::ops::RangeInclusive;

use redis::Value;

/// Host and port.
pub(super) type Address = (String, u16);

/// Who has which slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Map {
    epoch: u64,
    ranges: Vec<(RangeInclusive<u16>, Address)>,
    /// What has been heard since.
    moved: HashMap<u16, Address>,
    /// Masters and replicas.
    nodes: Vec<Address>,
}

impl Map {
    /// What a node at this host answers to `CLUSTER SLOTS`, and its epoch. What cannot be understood is left
    /// out.
    pub(super) fn read(epoch: u64, slots: Value, host: &str) -> Self {
        let mut map = Self { epoch, ..Self::default() };
        let Value::Array(ranges) = slots else { return map };
        for range in ranges {
            let Value::Array(range) = range else { continue };
            let [Value::Int(first), Value::Int(last), nodes @ ..] = range.as_slice() else { continue };
            let (Ok(first), Ok(last)) = (u16::try_from(*first), u16::try_from(*last)) else { continue };
            let mut addresses = nodes.iter().map(|node| address(node, host));
            // The first one is the master.
            if let Some(Some(master)) = addresses.next() {
                map.ranges.push((first..=last, master.clone()));
                map.nodes.push(master);
            }
            map.nodes.extend(addresses.flatten());
        }
        map.nodes.sort_unstable();
        map.nodes.dedup();
        map
    }

    /// A node that was away still names the old masters.
    pub(super) fn newest(maps: Vec<Self>) -> Option<Self> {
        maps.into_iter().max_by_key(|map| map.epoch)
    }

    pub(super) fn nodes(&self) -> &[Address] {
        &self.nodes
    }

    pub(super) fn owner(&self, slot: u16) -> Option<&Address> {
        let by_range = || self.ranges.iter().find(|(range, _)| range.contains(&slot)).map(|(_, owner)| owner);
        self.moved.get(&slot).or_else(by_range)
    }

    pub(super) fn move_slot(&mut self, slot: u16, to: Address) {
        if !self.nodes.contains(&to) {
            self.nodes.push(to.clone());
        }
        self.moved.insert(slot, to);
    }
}

/// Without a host the node that answers means itself; `?`: it does not know.
fn address(node: &Value, answering: &str) -> Option<Address> {
    let Value::Array(node) = node else { return None };
    let (host, Value::Int(port)) = (node.first()?, node.get(1)?) else { return None };
    let host = match host {
        Value::Nil => answering,
        Value::BulkString(host) => match std::str::from_utf8(host).ok()? {
            "" => answering,
            "?" => return None,
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
        let mut map = Map::read(7, answer, "here");
        assert_eq!(map.epoch, 7);
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
    fn the_newest_map_is_followed() {
        let map = |epoch| Map { epoch, ..Map::default() };
        for epochs in [[5, 7, 6], [7, 6, 5], [5, 6, 7]] {
            assert_eq!(Map::newest(epochs.map(map).into()), Some(map(7)), "{epochs:?}");
        }
        assert_eq!(Map::newest(Vec::new()), None);
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
            let map = Map::read(0, answer.clone(), "here");
            assert!(map.nodes().is_empty() && map.owner(5).is_none(), "{answer:?}");
        }
    }
}
