use std::time::Duration;

use forge_tests::{Origin, RawReply};
use requestforge::ServiceConfig;
use serde_json::json;

use crate::extremes::used;

#[tokio::test]
async fn every_duration_of_a_configuration_takes_zero_the_least_and_the_most() {
    let origin = Origin::start(|_| RawReply::ok("well")).await.expect("a server");
    for field in ["timeout", "total_timeout", "connect_timeout"] {
        let most = Duration::MAX.as_secs();
        for (value, is_refused) in [
            (json!(0), true),
            (json!("0ms"), true),
            (json!("0.000001ms"), false),
            (json!(most), false),
            (json!("5124095576030430h"), false),
            (json!("1e300h"), true),
        ] {
            let case = format!("{field}: {value}");
            let fields = json!({ "base_url": origin.url(), field: value });
            let service: ServiceConfig = serde_json::from_value(fields).expect("a service");
            match service.client() {
                Ok(client) if !is_refused => {
                    let outcome = used(&case, client.get("/").send()).await;
                    assert!(outcome.is_ok() || value == "0.000001ms", "{case}: {outcome:?}");
                }
                Err(error) if is_refused => assert!(error.to_string().contains(field), "{case}: {error}"),
                built => panic!("{case}: {built:?}"),
            }
        }
    }
}
