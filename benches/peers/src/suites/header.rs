//! The cost of the ready header value that a client puts into each request.

use std::env;
use std::hint::black_box;
use std::process::Command;
use std::time::Duration;

use forge_bench_kit::{Contender, CpuTime, Line, interleave, median, paired_ratio, progress, quartiles};
use forge_core::TokenSource;
use http::{Extensions, HeaderValue};

use crate::Failure;
use crate::floors::{self, timed};
use crate::peers;
use crate::world::{HOUR, World};

pub fn run(world: &World, quick: bool) -> Result<(), Failure> {
    let handle = world.callers.handle();
    let (server, manager, google) = world.callers.block_on(async {
        let server = world.token_server(Duration::ZERO, HOUR).await?;
        let manager = peers::manager(&server)?;
        manager.get_token().await?;
        let google = peers::google_headers(&server)?;
        google.headers(Extensions::new()).await?;
        Ok::<_, Failure>((server, manager, google))
    })?;
    // The client has its source in this form.
    let source: &dyn TokenSource = &manager;

    progress("in turn: ours, google-cloud-auth, and formatting it each time");
    let ours = |times| timed(times, || source.cached().map(|credential| credential.header_value().clone()));
    let formatted = |times| {
        timed(times, || {
            source.cached().map(|credential| {
                let value = HeaderValue::from_str(&format!("Bearer {}", credential.access_token()));
                value.map(|mut value| {
                    value.set_sensitive(true);
                    value
                })
            })
        })
    };
    let google = |times| {
        handle.block_on(tokio::task::unconstrained(async {
            let start = CpuTime::now();
            for _ in 0..times {
                let headers = black_box(google.headers(Extensions::new()).await);
                assert!(headers.is_ok(), "a token at hand is handed out");
            }
            start.elapsed()
        }))
    };
    let mut contenders = [
        Contender::new("requestforge: cached().header_value()", ours),
        Contender::new("google-cloud-auth: headers()", google),
        Contender::new("formatting and checking the value each time", formatted),
        floors::owned_alone(),
    ];
    interleave(&mut contenders, if quick { 51 } else { 401 });

    let [ours, google, formatted, floor] = &contenders;
    let figure = median(ours.nanos());
    Line::new(ours.name(), figure, "ns")
        .anchor(format!("{}: {:.1} ns", google.name(), median(google.nanos())))
        .ratio(paired_ratio(ours.nanos(), google.nanos()))
        .goal("≤ 40 ns", figure <= 40.0)
        .spread(quartiles(ours.nanos()))
        .note(floors::beside(figure, median(floor.nanos())))
        .print();
    for other in [google, formatted, floor] {
        Line::new(other.name(), median(other.nanos()), "ns")
            .anchor(format!("{}: {figure:.1} ns", ours.name()))
            .ratio(paired_ratio(other.nanos(), ours.nanos()))
            .spread(quartiles(other.nanos()))
            .print();
    }
    let per_header = allocations("header")?;
    Line::new("requestforge: allocations of a header value", per_header, "allocations")
        .goal("none", per_header < 0.001)
        .note("other threads make some at times")
        .print();
    drop(server);
    Ok(())
}

/// The allocations per repetition, from the program that counts them.
fn allocations(case: &str) -> Result<f64, Failure> {
    let times = 100_000_u32;
    let program = env::current_exe()?.with_file_name("forge-peers-allocations");
    let output = Command::new(&program).args([case, &times.to_string()]).output();
    let output = output.map_err(|error| format!("{} does not start: {error}", program.display()))?;
    if !output.status.success() {
        return Err(format!("allocations: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let counted: u32 = String::from_utf8_lossy(&output.stdout).trim().parse()?;
    Ok(f64::from(counted) / f64::from(times))
}
