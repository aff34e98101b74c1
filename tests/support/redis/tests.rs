//! What the finder tells is understood. The servers themselves have a suite, `redis_server`.

use crate::redis::finder::{Found, Image, parse};
use crate::redis::port;

#[test]
fn both_kinds_are_understood() {
    let told = r#"{
        "kind": "container", "version": "7.4.6", "image": "localhost/redis:7.4.6",
        "command": ["redis-server"], "labels": { "requestforge.run": "1" },
        "other": { "kind": "native", "version": "7.0.15", "command": ["/bin/redis-server", "x"] }
    }"#;
    let finding = parse(told).unwrap();
    let image = Image {
        name: "localhost/redis".into(),
        tag: "7.4.6".into(),
        command: vec!["redis-server".into()],
        labels: vec![("requestforge.run".into(), "1".into())],
    };
    assert_eq!(finding.server, Found::Container(image));
    assert_eq!(finding.other, Some(Found::Native(vec!["/bin/redis-server".into(), "x".into()])));
}

#[test]
fn anything_else_is_not() {
    for told in ["", "{}", r#"{"kind":"native","command":[]}"#, r#"{"kind":"cloud","command":["x"]}"#] {
        assert!(parse(told).is_err(), "{told}");
    }
}

#[test]
fn the_finders_sentence_is_passed_on() {
    assert_eq!(parse(r#"{"error":"there is no Redis"}"#).err().unwrap(), "there is no Redis");
}

#[test]
fn no_port_is_handed_out_twice() {
    let first = port::free().unwrap();
    assert!((0..100).all(|_| port::free().unwrap() != first));
}
