//! From values to places on an axis.

/// An axis: its two ends, and the labels along it.
#[derive(Debug)]
pub(super) struct Scale {
    is_logarithmic: bool,
    pub(super) ticks: Vec<f64>,
    from: f64,
    to: f64,
}

/// About as many ticks as there is room for.
const TICKS: f64 = 6.0;

impl Scale {
    /// One on which all of these have a place. It begins and ends with a tick; one that is not logarithmic
    /// has the zero, so that heights can be compared. `None`: there is nothing to show.
    pub(super) fn of(values: impl Iterator<Item = f64>, is_logarithmic: bool) -> Option<Self> {
        let shown = values.filter(|value| has_place(*value, is_logarithmic));
        let (least, greatest) = shown.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, greatest), value| {
            (value.min(least), value.max(greatest))
        });
        if least > greatest {
            return None;
        }
        let ticks =
            if is_logarithmic { decades(least, greatest) } else { steps(least.min(0.0), greatest.max(0.0)) };
        let (from, to) = (*ticks.first()?, *ticks.last()?);
        Some(Self { is_logarithmic, ticks, from, to })
    }

    /// The place of a value on the axis, from 0 to 1. `None` if a logarithmic axis has no place for it.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        has_place(value, self.is_logarithmic).then(|| {
            let on = |value: f64| if self.is_logarithmic { value.log10() } else { value };
            (on(value) - on(self.from)) / (on(self.to) - on(self.from))
        })
    }
}

/// Whether a value can be shown at all.
pub(super) fn has_place(value: f64, is_logarithmic: bool) -> bool {
    value.is_finite() && (!is_logarithmic || value > 0.0)
}

/// Multiples of 1, 2 or 5 times a power of ten.
fn steps(least: f64, greatest: f64) -> Vec<f64> {
    let span = if greatest > least { greatest - least } else { 1.0 };
    let power = 10_f64.powf((span / TICKS).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter();
    let step = step.into_iter().find(|step| span / step <= TICKS).unwrap_or(10.0 * power);
    let (begin, end) = ((least / step).floor(), ((least + span) / step).ceil());
    let mut ticks = Vec::new();
    let mut at = begin;
    // A little above the last tick, because of rounding.
    while at <= end + 0.1 {
        ticks.push(at * step);
        at += 1.0;
    }
    ticks
}

/// Powers of ten and, if there are few, their doubles and fivefolds.
fn decades(least: f64, greatest: f64) -> Vec<f64> {
    let (lowest, highest) = (least.log10().floor(), greatest.log10().ceil());
    let factors: &[f64] = if highest - lowest > 3.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let mut all = Vec::new();
    let mut power = lowest;
    while power <= highest + 0.1 {
        all.extend(factors.iter().map(|factor| factor * 10_f64.powf(power)));
        power += 1.0;
    }
    // From the last one that is not above the least to the first that is not below the greatest.
    let tolerance = 1.0 + 1e-9;
    let begin = all.iter().rposition(|tick| *tick <= least * tolerance).unwrap_or(0);
    let end = all.iter().position(|tick| *tick * tolerance >= greatest).unwrap_or(all.len() - 1);
    // An axis has a length.
    let end = end.max(begin + 1).min(all.len() - 1);
    all[begin.min(end - 1)..=end].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(values: &[f64], is_logarithmic: bool) -> Vec<f64> {
        let ticks = Scale::of(values.iter().copied(), is_logarithmic).unwrap().ticks;
        ticks.iter().map(|tick| (tick * 1e6).round() / 1e6).collect()
    }

    #[test]
    fn ticks_are_round_numbers_around_all_values() {
        assert_eq!(ticks(&[3.0, 17.0], false), [0.0, 5.0, 10.0, 15.0, 20.0]);
        assert_eq!(ticks(&[0.0, 0.21], false), [0.0, 0.05, 0.1, 0.15, 0.2, 0.25]);
        assert_eq!(ticks(&[-3.0, 4.0], false), [-4.0, -2.0, 0.0, 2.0, 4.0]);
        assert_eq!(ticks(&[1.0, 32.0], true), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0]);
        assert_eq!(ticks(&[1.0, 1e6], true), [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6]);
        assert_eq!(ticks(&[0.3, 0.4], true), [0.2, 0.5]);
    }

    #[test]
    fn one_value_has_an_axis_too() {
        for value in [0.0, 1.0, 7.0, 1e-9, 1e9] {
            let scale = Scale::of([value].into_iter(), false).unwrap();
            assert!((0.0..=1.0).contains(&scale.place(value).unwrap()), "{scale:?}");
            if value > 0.0 {
                let scale = Scale::of([value].into_iter(), true).unwrap();
                assert!((-1e-9..=1.0 + 1e-9).contains(&scale.place(value).unwrap()), "{scale:?}");
            }
        }
    }

    #[test]
    fn values_are_placed_by_their_logarithms_where_the_axis_says_so() {
        let close = |one: f64, other: f64| (one - other).abs() < 1e-9;
        let scale = Scale::of([1.0, 100.0].into_iter(), true).unwrap();
        assert!(close(scale.place(10.0).unwrap(), 0.5));
        assert_eq!(scale.place(0.0), None);
        let scale = Scale::of([0.0, 100.0].into_iter(), false).unwrap();
        assert!(close(scale.place(10.0).unwrap(), 0.1));
    }

    #[test]
    fn what_is_no_number_is_left_out() {
        assert!(Scale::of([f64::NAN, f64::INFINITY].into_iter(), false).is_none());
        assert!(Scale::of([0.0, -1.0].into_iter(), true).is_none());
        assert!(Scale::of(std::iter::empty(), true).is_none());
    }
}
