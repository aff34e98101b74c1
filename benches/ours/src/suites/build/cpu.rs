use crate::Result;

/// The processor time of ended child processes and their descendants, in seconds.
#[cfg(target_os = "linux")]
pub(super) fn of_children() -> Result<f64> {
    let told = std::fs::read_to_string("/proc/self/stat")?;
    #[expect(clippy::cast_precision_loss, reason = "100")]
    let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
    let ticks = ticks(&told).ok_or("/proc/self/stat is not understood")?;
    Ok(f64::from(ticks) / ticks_per_second)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn of_children() -> Result<f64> {
    Err("processor time of child processes is known on Linux only".into())
}

/// `cutime` and `cstime` of proc(5). The second field, in parentheses, may hold anything.
#[cfg(target_os = "linux")]
fn ticks(told: &str) -> Option<u32> {
    let (_, rest) = told.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(13);
    let mut next = || fields.next()?.parse::<u32>().ok();
    Some(next()? + next()?)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_children_is_found_behind_a_name_with_spaces() {
        let told = "42 (a b) c) S 1 42 42 0 -1 4194304 100 2000 0 0 11 12 130 14 20 0 1 0 5";
        assert_eq!(ticks(told), Some(144));
        assert_eq!(ticks("42 (a) S 1"), None);
    }
}
