//! Statistics of a row of measured values: median, a slope that outliers do not move, a picture in one line.

/// The middle value; `None` for no values.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        count if count % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// The Theil–Sen slope: the median of the slopes between all pairs of points `(x, y)`. Up to 29 % of the points can be
/// anything without moving it far, so that one burst in a quiet row is no trend.
pub(super) fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let mut slopes = Vec::with_capacity(points.len() * points.len().saturating_sub(1) / 2);
    for (index, (x, y)) in points.iter().enumerate() {
        slopes.extend(
            points[index + 1..]
                .iter()
                .filter(|(later, _)| later > x)
                .map(|(later, value)| (value - y) / (later - x)),
        );
    }
    median(&slopes)
}

/// Steps of a sparkline, lowest first.
const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The values as one line of at most `width` characters, from the least to the greatest. Each character is the
/// greatest of the values that it stands for, so that no peak is lost.
pub(super) fn sparkline(values: &[f64], width: usize) -> String {
    let width = width.min(values.len());
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (0..width)
        .map(|column| {
            let share = &values[column * values.len() / width..(column + 1) * values.len() / width];
            let top = share.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let height = if high > low { (top - low) / (high - low) } else { 0.0 };
            STEPS[step(height)]
        })
        .collect()
}

/// The step of a height between 0 and 1.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 7 by the clamp")]
fn step(height: f64) -> usize {
    (height.clamp(0.0, 1.0) * 7.0).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn a_slope_is_that_of_the_many() {
        let line: Vec<_> = (0..40).map(|x| (f64::from(x), 100.0 + 2.0 * f64::from(x))).collect();
        assert!((slope(&line).unwrap() - 2.0).abs() < 1e-9);
        let mut flat: Vec<_> = (0..40).map(|x| (f64::from(x), 100.0)).collect();
        for burst in [3, 17, 30, 39] {
            flat[burst].1 = 5000.0;
        }
        assert!(slope(&flat).unwrap().abs() < 1e-9, "bursts are no trend");
        assert_eq!(slope(&flat[..1]), None);
    }

    #[test]
    fn a_sparkline_keeps_the_peaks() {
        assert_eq!(sparkline(&[0.0, 7.0, 1.0, 3.5], 4), "▁█▂▅");
        assert_eq!(sparkline(&[0.0, 7.0, 1.0, 1.0], 2), "█▂");
        assert_eq!(sparkline(&[5.0, 5.0], 10), "▁▁");
        assert_eq!(sparkline(&[], 10), "");
    }
}
