//! Count, mean and spread of samples, merged without loss of digits.

/// What is known of a set of samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    /// How many.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// The sum of their squared distances from the mean.
    pub squares: f64,
}

/// A sum in eight fixed strands, which a compiler may keep in vector registers.
#[inline]
fn sum(values: &[f64], f: impl Fn(f64) -> f64) -> f64 {
    let mut strands = [0.0; 8];
    let (chunks, rest) = values.as_chunks::<8>();
    for chunk in chunks {
        for i in 0..8 {
            strands[i] += f(chunk[i]);
        }
    }
    let s = strands;
    let tail: f64 = rest.iter().map(|&x| f(x)).sum();
    (((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7]))) + tail
}

impl Moments {
    /// The moments of a block, in two passes.
    pub fn of(values: &[f64]) -> Moments {
        if values.is_empty() {
            return Moments::default();
        }
        let mean = sum(values, |x| x) / values.len() as f64;
        let squares = sum(values, |x| (x - mean) * (x - mean));
        Moments { count: values.len() as u64, mean, squares }
    }

    /// The moments of both sets together (Chan's formula).
    pub fn with(&self, other: &Moments) -> Moments {
        let count = self.count + other.count;
        if count == 0 {
            return *self;
        }
        let share = other.count as f64 / count as f64;
        let apart = other.mean - self.mean;
        Moments {
            count,
            mean: self.mean + apart * share,
            squares: self.squares + other.squares + apart * apart * share * self.count as f64,
        }
    }

    /// The standard error of the mean; infinite for fewer than two samples.
    pub fn standard_error(&self) -> f64 {
        if self.count < 2 {
            return f64::INFINITY;
        }
        (self.squares / (self.count - 1) as f64 / self.count as f64).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_is_the_same_as_taking_all_at_once() {
        let values: Vec<f64> = (0..1003).map(|i| 1e6 + f64::from(i * 7919 % 1003)).collect();
        let whole = Moments::of(&values);
        let parts = values.chunks(97).map(Moments::of).fold(Moments::default(), |a, b| a.with(&b));
        assert_eq!(whole.count, parts.count);
        assert!((whole.mean - parts.mean).abs() < 1e-8);
        assert!((whole.squares / parts.squares - 1.0).abs() < 1e-10);
        let exact = (1003.0f64 * 1003.0 - 1.0) / 12.0 * 1003.0;
        assert!((whole.squares / exact - 1.0).abs() < 1e-10);
    }
}
