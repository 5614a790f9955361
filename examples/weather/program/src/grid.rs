//! Fields on a channel: periodic in x, walls in y, with one row or column of margin on every side.

/// The shape of the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Cells along the channel.
    pub nx: usize,
    /// Cells across.
    pub ny: usize,
}

/// Numbers on the cells, or on their western or southern edges or south-western corners.
///
/// Rows run from -1 to ny + 1 and columns from -1 to nx; the margin is filled by [`Field::wrap`] and
/// by whoever knows what lies beyond the walls.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    shape: Shape,
    values: Vec<f64>,
}

impl Field {
    /// All zero.
    pub fn new(shape: Shape) -> Field {
        Field { shape, values: vec![0.0; (shape.nx + 2) * (shape.ny + 3)] }
    }

    fn start(&self, j: isize) -> usize {
        (j + 1) as usize * (self.shape.nx + 2)
    }

    /// Row `j` with its margins: column `i` is at `i + 1`.
    #[inline]
    pub fn row(&self, j: isize) -> &[f64] {
        let start = self.start(j);
        &self.values[start..start + self.shape.nx + 2]
    }

    /// Row `j` with its margins, to be changed.
    #[inline]
    pub fn row_mut(&mut self, j: isize) -> &mut [f64] {
        let start = self.start(j);
        &mut self.values[start..start + self.shape.nx + 2]
    }

    /// Row `j` shifted: element `i` is the one at column `i + shift`; as long as the channel.
    #[inline]
    pub fn from(&self, j: isize, shift: isize) -> &[f64] {
        let start = self.start(j) + (1 + shift) as usize;
        &self.values[start..start + self.shape.nx]
    }

    /// The columns 0 to nx of row `j`, to be changed.
    #[inline]
    pub fn inner_mut(&mut self, j: isize) -> &mut [f64] {
        let start = self.start(j) + 1;
        &mut self.values[start..start + self.shape.nx]
    }

    /// Fills the margin columns of row `j` from the other end of the channel.
    #[inline]
    pub fn wrap(&mut self, j: isize) {
        let nx = self.shape.nx;
        let row = self.row_mut(j);
        row[0] = row[nx];
        row[nx + 1] = row[1];
    }

    /// Copies row `from` to row `to`, margins included.
    pub fn copy_row(&mut self, from: isize, to: isize) {
        let (a, b, n) = (self.start(from), self.start(to), self.shape.nx + 2);
        self.values.copy_within(a..a + n, b);
    }

    /// The sum over the rows 0 to `rows`, row by row, so that few digits are lost.
    pub fn sum(&self, rows: usize) -> f64 {
        let rows = (0..rows as isize).map(|j| self.from(j, 0).iter().sum::<f64>());
        // Kahan's summation: the error of the sum must not hide in that of the model.
        let (mut sum, mut lost) = (0.0f64, 0.0f64);
        for value in rows {
            let y = value - lost;
            let t = sum + y;
            lost = (t - sum) - y;
            sum = t;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn margins_wrap_around() {
        let mut field = Field::new(Shape { nx: 4, ny: 2 });
        field.inner_mut(1).copy_from_slice(&[1.0, 2.0, 3.0, 4.0]);
        field.wrap(1);
        assert_eq!(field.row(1), [4.0, 1.0, 2.0, 3.0, 4.0, 1.0]);
        assert_eq!(field.from(1, -1), [4.0, 1.0, 2.0, 3.0]);
        assert_eq!(field.from(1, 1), [2.0, 3.0, 4.0, 1.0]);
        field.copy_row(1, 2);
        assert_eq!(field.from(2, 0), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(field.sum(2), 10.0);
    }
}
