//! Order statistics of a run.
//!
//! Rule: figures are medians of rounds and true percentiles of samples, never means: one compile job beside the
//! benchmark must not move them. It deliberately keeps all samples; a phase has thousands, not millions.

/// Returns the middle value, 0 for none.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 1, 2)
}

/// Returns the value below which `numerator / denominator` of the values lie, 0 for none.
pub(crate) fn quantile(values: &[f64], numerator: usize, denominator: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    if numerator * 2 == denominator && sorted.len() >= 2 && sorted.len().is_multiple_of(2) {
        let upper = sorted.len() / 2;
        return f64::midpoint(sorted[upper - 1], sorted[upper]);
    }
    let rank = (sorted.len() * numerator).div_ceil(denominator).saturating_sub(1);
    sorted.get(rank).copied().unwrap_or_default()
}

/// Returns a count as a floating-point number; exact below 2^53, which no run reaches.
#[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^53")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert!((quantile(&values, 99, 100) - 99.0).abs() < f64::EPSILON);
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&[1.0, 2.0]) - 1.5).abs() < f64::EPSILON);
        assert!(median(&[]).abs() < f64::EPSILON);
    }
}
