/// The resident memory of this process, in bytes. `NaN` on systems that do not report it.
pub(super) fn resident() -> f64 {
    #[cfg(target_os = "linux")]
    {
        let told = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages = told.split(' ').nth(1).and_then(|pages| pages.parse::<u32>().ok());
        #[expect(clippy::cast_precision_loss, reason = "a power of two")]
        pages.map_or(f64::NAN, |pages| f64::from(pages) * rustix::param::page_size() as f64)
    }
    #[cfg(not(target_os = "linux"))]
    f64::NAN
}
