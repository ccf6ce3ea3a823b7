//! What is made of measured values.

pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    quantile(values, 50)
}

/// The value below which `percent` of all are.
pub fn quantile(values: impl IntoIterator<Item = f64>, percent: usize) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[(values.len() * percent / 100).min(values.len() - 1)]
}

#[expect(clippy::cast_precision_loss, reason = "counts of far fewer than 2^52")]
pub fn as_f64(count: usize) -> f64 {
    count as f64
}
