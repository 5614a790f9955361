//! The inner loops of the model, one row at a time.
//!
//! Inputs are whole rows with their margins, so that the cell at column `i` stands at `i + 1`; outputs
//! are rows without margins. Each loop is a function of its own, never inlined: only so does the
//! compiler know that the output overlaps no input, and turns the loop into vector code.

/// A row seen from three columns: west of the cell, at it, and east of it.
#[inline(always)]
fn around(row: &[f64], n: usize) -> (&[f64], &[f64], &[f64]) {
    (&row[..n], &row[1..n + 1], &row[2..n + 2])
}

#[inline(always)]
fn middle(row: &[f64], n: usize) -> &[f64] {
    &row[1..n + 1]
}

/// The flux of depth through western edges.
#[inline(never)]
pub fn flux_west(out: &mut [f64], h: &[f64], u: &[f64]) {
    let n = out.len();
    let ((west, here, _), u) = (around(h, n), middle(u, n));
    for i in 0..n {
        out[i] = 0.5 * (here[i] + west[i]) * u[i];
    }
}

/// The flux of depth through southern edges.
#[inline(never)]
pub fn flux_south(out: &mut [f64], h: &[f64], h_south: &[f64], v: &[f64]) {
    let n = out.len();
    let (here, south, v) = (middle(h, n), middle(h_south, n), middle(v, n));
    for i in 0..n {
        out[i] = 0.5 * (here[i] + south[i]) * v[i];
    }
}

/// The head in the cells: pressure and kinetic energy.
#[inline(never)]
pub fn head(out: &mut [f64], h: &[f64], u: &[f64], v: &[f64], v_north: &[f64], gravity: f64) {
    let n = out.len();
    let (h, (_, u0, u1), v0, v1) = (middle(h, n), around(u, n), middle(v, n), middle(v_north, n));
    for i in 0..n {
        let speed = u0[i] * u0[i] + u1[i] * u1[i] + v0[i] * v0[i] + v1[i] * v1[i];
        out[i] = gravity * h[i] + 0.25 * speed;
    }
}

/// The potential vorticity on south-western corners; a pair is the row and the one south of it.
#[inline(never)]
pub fn potential(out: &mut [f64], h: (&[f64], &[f64]), u: (&[f64], &[f64]), v: &[f64], f: f64, inverse: f64) {
    let n = out.len();
    let ((h10, h00, _), (h11, h01, _)) = (around(h.0, n), around(h.1, n));
    let (u0, u1, (v1, v0, _)) = (middle(u.0, n), middle(u.1, n), around(v, n));
    for i in 0..n {
        let spin = (v0[i] - v1[i] - u0[i] + u1[i]) * inverse;
        out[i] = 4.0 * (f + spin) / (h00[i] + h10[i] + h01[i] + h11[i]);
    }
}

/// What flows into the cells.
#[inline(never)]
pub fn inflow(out: &mut [f64], x: &[f64], y: &[f64], y_north: &[f64], inverse: f64) {
    let n = out.len();
    let ((_, x0, x1), y0, y1) = (around(x, n), middle(y, n), middle(y_north, n));
    for i in 0..n {
        out[i] = ((x0[i] - x1[i]) + (y0[i] - y1[i])) * inverse;
    }
}

/// How vorticity turns the flow on western edges; pairs are the row and the one north of it.
#[inline(never)]
pub fn turn_west(out: &mut [f64], q: &[f64], q_north: &[f64], y: &[f64], y_north: &[f64]) {
    let n = out.len();
    let (q0, q1) = (middle(q, n), middle(q_north, n));
    let ((w0, y0, _), (w1, y1, _)) = (around(y, n), around(y_north, n));
    for i in 0..n {
        out[i] = 0.125 * (q0[i] + q1[i]) * ((y0[i] + y1[i]) + (w0[i] + w1[i]));
    }
}

/// How vorticity turns the flow on southern edges.
#[inline(never)]
pub fn turn_south(out: &mut [f64], q: &[f64], x: &[f64], x_south: &[f64]) {
    let n = out.len();
    let ((_, q0, q1), (_, a, b), (_, c, d)) = (around(q, n), around(x, n), around(x_south, n));
    for i in 0..n {
        out[i] = -0.125 * (q0[i] + q1[i]) * ((a[i] + b[i]) + (c[i] + d[i]));
    }
}

/// Adds the push of the head eastwards.
#[inline(never)]
pub fn push_east(out: &mut [f64], head: &[f64], inverse: f64) {
    let n = out.len();
    let (west, here, _) = around(head, n);
    for i in 0..n {
        out[i] += (west[i] - here[i]) * inverse;
    }
}

/// Adds the push of the head northwards.
#[inline(never)]
pub fn push_north(out: &mut [f64], head: &[f64], head_south: &[f64], inverse: f64) {
    let n = out.len();
    let (here, south) = (middle(head, n), middle(head_south, n));
    for i in 0..n {
        out[i] += (south[i] - here[i]) * inverse;
    }
}

/// Adds the drag of the four neighbours.
#[inline(never)]
pub fn drag(out: &mut [f64], row: &[f64], south: &[f64], north: &[f64], friction: f64) {
    let n = out.len();
    let ((west, here, east), south, north) = (around(row, n), middle(south, n), middle(north, n));
    for i in 0..n {
        out[i] += friction * ((west[i] + east[i]) + (south[i] + north[i]) - 4.0 * here[i]);
    }
}

/// Adds three rates (without margins), each with its weight.
#[inline(never)]
pub fn advance(out: &mut [f64], first: &[f64], second: &[f64], third: &[f64], weights: [f64; 3]) {
    let n = out.len();
    let (first, second, third) = (&first[..n], &second[..n], &third[..n]);
    let [a, b, c] = weights;
    for i in 0..n {
        out[i] += a * first[i] + b * second[i] + c * third[i];
    }
}
