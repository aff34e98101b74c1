/// The median; of an even number of values, the mean of the two in the middle. `NaN` without values.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which this part (0 to 1) of all values lies, interpolated. `NaN` without values.
pub fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    #[allow(clippy::cast_precision_loss)] // there are never that many
    let place = part.clamp(0.0, 1.0) * last as f64;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // within 0 and `last`
    let below = place.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * place.fract()
}

/// The two values between which the middle half lies, as the spread of a line.
pub fn quartiles(values: &[f64]) -> String {
    format!("{:.3} to {:.3}", quantile(values, 0.25), quantile(values, 0.75))
}

/// The standard error of the median, if the values are normally distributed. `NaN` without values.
pub fn median_error(values: &[f64]) -> f64 {
    #[allow(clippy::cast_precision_loss)] // there are never that many
    let count = values.len() as f64;
    // A normal distribution's middle half is 1.349 deviations wide, and its median's error π/2 times the mean's,
    // both squared.
    let deviation = (quantile(values, 0.75) - quantile(values, 0.25)) / 1.349;
    deviation * (std::f64::consts::FRAC_PI_2 / count).sqrt()
}

/// The median of `ours[i] / theirs[i]`. The program measured both in turn, so a load that slows the machine
/// down for a while slows both down.
pub fn paired_ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
    median(&ratios)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-9
    }

    #[test]
    fn the_more_values_the_surer_their_median() {
        let few: Vec<f64> = (0..=20).map(f64::from).collect();
        assert!(
            (median_error(&few) - 10.0 / 1.349 * (std::f64::consts::FRAC_PI_2 / 21.0).sqrt()).abs() < 1e-9
        );
        let many = few.repeat(4);
        assert!(median_error(&many) < median_error(&few) * 0.51);
        assert!(median_error(&[]).is_nan() && close(median_error(&[3.0, 3.0]), 0.0));
    }

    #[test]
    fn the_median_is_in_the_middle_whatever_the_order() {
        assert!(close(median(&[9.0, 1.0, 5.0]), 5.0));
        assert!(close(median(&[4.0, 1.0, 2.0, 100.0]), 3.0));
        assert!(close(median(&[7.0]), 7.0));
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn quantiles_are_interpolated() {
        let values = [10.0, 20.0, 30.0, 40.0, 50.0];
        assert!(close(quantile(&values, 0.0), 10.0) && close(quantile(&values, 1.0), 50.0));
        assert!(close(quantile(&values, 0.25), 20.0) && close(quantile(&values, 0.9), 46.0));
        assert_eq!(quartiles(&values), "20.000 to 40.000");
    }

    #[test]
    fn a_slow_stretch_of_the_machine_cancels_out() {
        let (ours, theirs) = ([1.0, 10.0, 1.1], [2.0, 20.0, 2.2]);
        assert!(close(paired_ratio(&ours, &theirs), 0.5));
    }
}
