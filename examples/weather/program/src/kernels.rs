//! The inner loops of the model, one row at a time.
//!
//! Inputs are whole rows with their margins, so that the cell at column `i` stands at `i + 1`; outputs
//! are rows without margins. Each loop is a function of its own, never inlined: only so does the
//! compiler know that the output overlaps no input, and turns the loop into vector code. [`sweep`] does
//! eight cells at a time: a sandbox counts its fuel once a turn of a loop, and longer turns pay it less
//! often.

/// Cells in one turn of a loop.
const BLOCK: usize = 8;

/// A row seen from three columns: west of the cell, at it, and east of it.
#[inline(always)]
fn around(row: &[f64], n: usize) -> (&[f64], &[f64], &[f64]) {
    (&row[..n], &row[1..n + 1], &row[2..n + 2])
}

#[inline(always)]
fn middle(row: &[f64], n: usize) -> &[f64] {
    &row[1..n + 1]
}

/// Sets each cell from its old value and the values of the rows in its column.
#[inline(always)]
fn sweep<const N: usize>(out: &mut [f64], rows: [&[f64]; N], cell: impl Fn(f64, [f64; N]) -> f64) {
    let n = out.len();
    let rows = rows.map(|row| &row[..n]);
    let mut start = 0;
    while start + BLOCK <= n {
        let out = &mut out[start..start + BLOCK];
        let rows = rows.map(|row| &row[start..start + BLOCK]);
        for k in 0..BLOCK {
            out[k] = cell(out[k], rows.map(|row| row[k]));
        }
        start += BLOCK;
    }
    for i in start..n {
        out[i] = cell(out[i], rows.map(|row| row[i]));
    }
}

/// The flux of depth through western edges.
#[inline(never)]
pub fn flux_west(out: &mut [f64], h: &[f64], u: &[f64]) {
    let n = out.len();
    let ((west, here, _), u) = (around(h, n), middle(u, n));
    sweep(out, [west, here, u], |_, [west, here, u]| 0.5 * (here + west) * u);
}

/// The flux of depth through southern edges.
#[inline(never)]
pub fn flux_south(out: &mut [f64], h: &[f64], h_south: &[f64], v: &[f64]) {
    let n = out.len();
    let rows = [middle(h, n), middle(h_south, n), middle(v, n)];
    sweep(out, rows, |_, [here, south, v]| 0.5 * (here + south) * v);
}

/// The head in the cells: pressure and kinetic energy.
#[inline(never)]
pub fn head(out: &mut [f64], h: &[f64], u: &[f64], v: &[f64], v_north: &[f64], gravity: f64) {
    let n = out.len();
    let (h, (_, u0, u1), v0, v1) = (middle(h, n), around(u, n), middle(v, n), middle(v_north, n));
    sweep(out, [h, u0, u1, v0, v1], |_, [h, u0, u1, v0, v1]| {
        gravity * h + 0.25 * (u0 * u0 + u1 * u1 + v0 * v0 + v1 * v1)
    });
}

/// The potential vorticity on south-western corners; a pair is the row and the one south of it.
#[inline(never)]
pub fn potential(out: &mut [f64], h: (&[f64], &[f64]), u: (&[f64], &[f64]), v: &[f64], f: f64, inverse: f64) {
    let n = out.len();
    let ((h10, h00, _), (h11, h01, _)) = (around(h.0, n), around(h.1, n));
    let (u0, u1, (v1, v0, _)) = (middle(u.0, n), middle(u.1, n), around(v, n));
    sweep(out, [h00, h10, h01, h11, u0, u1, v0, v1], |_, [h00, h10, h01, h11, u0, u1, v0, v1]| {
        let spin = (v0 - v1 - u0 + u1) * inverse;
        4.0 * (f + spin) / (h00 + h10 + h01 + h11)
    });
}

/// What flows into the cells.
#[inline(never)]
pub fn inflow(out: &mut [f64], x: &[f64], y: &[f64], y_north: &[f64], inverse: f64) {
    let n = out.len();
    let ((_, x0, x1), y0, y1) = (around(x, n), middle(y, n), middle(y_north, n));
    sweep(out, [x0, x1, y0, y1], |_, [x0, x1, y0, y1]| ((x0 - x1) + (y0 - y1)) * inverse);
}

/// How vorticity turns the flow on western edges; pairs are the row and the one north of it.
#[inline(never)]
pub fn turn_west(out: &mut [f64], q: &[f64], q_north: &[f64], y: &[f64], y_north: &[f64]) {
    let n = out.len();
    let (q0, q1) = (middle(q, n), middle(q_north, n));
    let ((w0, y0, _), (w1, y1, _)) = (around(y, n), around(y_north, n));
    sweep(out, [q0, q1, y0, y1, w0, w1], |_, [q0, q1, y0, y1, w0, w1]| {
        0.125 * (q0 + q1) * ((y0 + y1) + (w0 + w1))
    });
}

/// How vorticity turns the flow on southern edges.
#[inline(never)]
pub fn turn_south(out: &mut [f64], q: &[f64], x: &[f64], x_south: &[f64]) {
    let n = out.len();
    let ((_, q0, q1), (_, a, b), (_, c, d)) = (around(q, n), around(x, n), around(x_south, n));
    sweep(out, [q0, q1, a, b, c, d], |_, [q0, q1, a, b, c, d]| -0.125 * (q0 + q1) * ((a + b) + (c + d)));
}

/// Adds the push of the head eastwards.
#[inline(never)]
pub fn push_east(out: &mut [f64], head: &[f64], inverse: f64) {
    let (west, here, _) = around(head, out.len());
    sweep(out, [west, here], |rate, [west, here]| rate + (west - here) * inverse);
}

/// Adds the push of the head northwards.
#[inline(never)]
pub fn push_north(out: &mut [f64], head: &[f64], head_south: &[f64], inverse: f64) {
    let n = out.len();
    let rows = [middle(head, n), middle(head_south, n)];
    sweep(out, rows, |rate, [here, south]| rate + (south - here) * inverse);
}

/// Adds the drag of the four neighbours.
#[inline(never)]
pub fn drag(out: &mut [f64], row: &[f64], south: &[f64], north: &[f64], friction: f64) {
    let n = out.len();
    let ((west, here, east), south, north) = (around(row, n), middle(south, n), middle(north, n));
    sweep(out, [west, east, south, north, here], |rate, [west, east, south, north, here]| {
        rate + friction * ((west + east) + (south + north) - 4.0 * here)
    });
}

/// Adds three rates (without margins), each with its weight.
#[inline(never)]
pub fn advance(out: &mut [f64], first: &[f64], second: &[f64], third: &[f64], weights: [f64; 3]) {
    let [a, b, c] = weights;
    sweep(out, [first, second, third], |value, [first, second, third]| {
        value + (a * first + b * second + c * third)
    });
}
