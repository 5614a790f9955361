// Floats with the same bits on every device, from what every device does the same: integers, and single additions and
// multiplications of normal numbers, rounded to the nearest.
//
// A canonical float is a normal number, a zero without a sign, an infinity, or one NaN. Numbers up to the least normal one
// are zero: some devices flush before they round and some after, and this way neither shows. Nothing here branches, so a
// function costs the same whatever it is given.

// A zero that no compiler knows. What goes through an XOR with it cannot be fused with, or moved past, anything.
var<private> zero: u32;

const NAN = 0x7fc00000u;
const INFINITY = 0x7f800000u;
const SIGN = 0x80000000u;
const SIZE = 0x7fffffffu;
const LEAST = 0x00800000u;

fn bits(x: f32) -> u32 {
    return bitcast<u32>(x) ^ zero;
}

// The canonical float that these bits stand for.
fn fixed(raw: u32) -> f32 {
    let size = raw & SIZE;
    return bitcast<f32>(select(select(raw, NAN, size > INFINITY), 0u, size <= LEAST));
}

fn admit(x: f32) -> f32 {
    return fixed(bits(x));
}

fn add(a: f32, b: f32) -> f32 {
    return admit(a + bitcast<f32>(bits(b)));
}

fn subtract(a: f32, b: f32) -> f32 {
    return admit(a - bitcast<f32>(bits(b)));
}

fn multiply(a: f32, b: f32) -> f32 {
    return admit(a * bitcast<f32>(bits(b)));
}

fn is_nan(x: f32) -> bool {
    return (bits(x) & SIZE) > INFINITY;
}

fn negate(x: f32) -> f32 {
    return fixed(bits(x) ^ SIGN);
}

fn abs_of(x: f32) -> f32 {
    return bitcast<f32>(bits(x) & SIZE);
}

// Integers in the order of the floats.
fn order(x: f32) -> i32 {
    let raw = bitcast<i32>(bits(x));
    return raw ^ ((raw >> 31u) & 0x7fffffff);
}

fn less(a: f32, b: f32) -> bool {
    return (order(a) < order(b)) & !(is_nan(a) | is_nan(b));
}

fn less_equal(a: f32, b: f32) -> bool {
    return (order(a) <= order(b)) & !(is_nan(a) | is_nan(b));
}

fn greater(a: f32, b: f32) -> bool {
    return less(b, a);
}

fn greater_equal(a: f32, b: f32) -> bool {
    return less_equal(b, a);
}

fn equal(a: f32, b: f32) -> bool {
    return (bits(a) == bits(b)) & !is_nan(a);
}

fn not_equal(a: f32, b: f32) -> bool {
    return !equal(a, b);
}

fn min_of(a: f32, b: f32) -> f32 {
    return select(a, b, less(b, a) | is_nan(a));
}

fn max_of(a: f32, b: f32) -> f32 {
    return select(a, b, less(a, b) | is_nan(a));
}

fn clamp_of(x: f32, low: f32, high: f32) -> f32 {
    return min_of(max_of(x, low), high);
}

fn saturate_of(x: f32) -> f32 {
    return clamp_of(x, 0.0, 1.0);
}

fn sign_of(x: f32) -> f32 {
    let raw = bits(x);
    return select(bitcast<f32>((raw & SIGN) | 0x3f800000u), 0.0, raw == 0u);
}

fn step_of(edge: f32, x: f32) -> f32 {
    return select(0.0, 1.0, less_equal(edge, x));
}

// A conversion of less than 24 bits is exact everywhere.
fn from_u32(x: u32) -> f32 {
    return add(multiply(f32((x ^ zero) >> 16u), 65536.0), f32((x ^ zero) & 0xffffu));
}

fn from_i32(x: i32) -> f32 {
    let size = from_u32(select(bitcast<u32>(x), 0u - bitcast<u32>(x), x < 0));
    return select(size, negate(size), x < 0);
}

// Towards zero; what does not fit is the nearest that does, and NaN is zero.
fn to_u32(x: f32) -> u32 {
    let raw = bits(x);
    let power = i32((raw & SIZE) >> 23u) - 127;
    let digits = (raw & 0x7fffffu) | 0x800000u;
    let whole = select(digits >> u32(clamp(23 - power, 0, 31)), digits << u32(clamp(power - 23, 0, 8)), power >= 23);
    let fits = select(whole, 0xffffffffu, power > 31);
    return select(fits, 0u, (power < 0) | (raw >= SIGN) | is_nan(x));
}

fn to_i32(x: f32) -> i32 {
    let raw = bits(x);
    let size = to_u32(abs_of(x));
    let negative = raw >= SIGN;
    let most = select(0x7fffffffu, 0x80000000u, negative);
    let bounded = select(size, most, size > most);
    return bitcast<i32>(select(bounded, 0u - bounded, negative));
}

fn trunc_of(x: f32) -> f32 {
    let raw = bits(x);
    let power = i32((raw & SIZE) >> 23u) - 127;
    let fraction = 0x7fffffu >> u32(clamp(power, 0, 23));
    let whole = select(raw & ~fraction, 0u, power < 0);
    return fixed(select(whole, raw, power >= 23));
}

fn floor_of(x: f32) -> f32 {
    let whole = trunc_of(x);
    return select(whole, subtract(whole, 1.0), less(x, whole));
}

fn ceil_of(x: f32) -> f32 {
    let whole = trunc_of(x);
    return select(whole, add(whole, 1.0), less(whole, x));
}

fn round_of(x: f32) -> f32 {
    let whole = floor_of(x);
    let rest = subtract(x, whole);
    let half = multiply(whole, 0.5);
    let odd = !equal(trunc_of(half), half);
    return select(whole, add(whole, 1.0), less(0.5, rest) | (equal(rest, 0.5) & odd));
}

fn fract_of(x: f32) -> f32 {
    return subtract(x, floor_of(x));
}

// Correctly rounded, digit by digit.
fn divide(a: f32, b: f32) -> f32 {
    let p = bits(a);
    let q = bits(b);
    let sign = (p ^ q) & SIGN;
    let over = p & SIZE;
    let under = q & SIZE;
    let m = (p & 0x7fffffu) | 0x800000u;
    let d = (q & 0x7fffffu) | 0x800000u;
    let q1 = (m << 8u) / d;
    let r1 = (m << 8u) - q1 * d;
    let q2 = (r1 << 8u) / d;
    let r2 = (r1 << 8u) - q2 * d;
    let q3 = (r2 << 8u) / d;
    let r3 = (r2 << 8u) - q3 * d;
    let q4 = (r3 << 2u) / d;
    let r4 = (r3 << 2u) - q4 * d;
    // From 2^25 to 2^27; then 27 bits.
    let raw = (q1 << 18u) | (q2 << 10u) | (q3 << 2u) | q4;
    let large = raw >= 0x4000000u;
    let digits = select(raw << 1u, raw, large);
    let tail = ((digits & 7u) << 1u) | select(0u, 1u, r4 != 0u);
    let kept = digits >> 3u;
    let up = select(0u, 1u, (tail > 8u) | ((tail == 8u) & ((kept & 1u) == 1u)));
    let power = i32(over >> 23u) - i32(under >> 23u) + select(126, 127, large);
    let size = (u32(clamp(power, 0, 255)) << 23u) + kept + up - 0x800000u;
    let normal = select(size, INFINITY, (power >= 255) | (size > INFINITY));
    let finite = select(normal, 0u, (power <= 0) | (over == 0u) | (under == INFINITY));
    let result = select(finite, INFINITY, (over == INFINITY) | (under == 0u));
    let lost = (over > INFINITY) | (under > INFINITY) | ((over == 0u) & (under == 0u)) | ((over == INFINITY) & (under == INFINITY));
    return fixed(select(result | sign, NAN, lost));
}

fn remainder(a: f32, b: f32) -> f32 {
    return subtract(a, multiply(b, trunc_of(divide(a, b))));
}

// Correctly rounded: an estimate, of which integers find what it lacks. WGSL lets a square root be off by a few units in the
// last place; this stands sixteen.
fn sqrt_of(x: f32) -> f32 {
    let raw = bits(x);
    let power = i32(raw >> 23u) - 127;
    let odd = (power & 1) != 0;
    let digits = (raw & 0x7fffffu) | 0x800000u;
    let m = select(digits, digits << 1u, odd);
    let wanted = m << 25u;
    let guess = u32(clamp(sqrt(f32(m)) * 5792.6187, 16777216.0, 33554431.0));
    let off = bitcast<i32>(wanted - guess * guess) / bitcast<i32>(guess << 1u);
    var s = bitcast<u32>(bitcast<i32>(guess) + off);
    var r = bitcast<i32>(wanted - s * s);
    s = select(s, s - 1u, r < 0);
    r = bitcast<i32>(wanted - s * s);
    s = select(s, s - 1u, r < 0);
    r = bitcast<i32>(wanted - s * s);
    s = select(s, s + 1u, r > bitcast<i32>(s << 1u));
    r = bitcast<i32>(wanted - s * s);
    s = select(s, s + 1u, r > bitcast<i32>(s << 1u));
    // It is never half way between two floats.
    let kept = (s >> 1u) + (s & 1u);
    let half = (power - select(0, 1, odd)) >> 1u;
    let size = (u32(half + 127) << 23u) + kept - 0x800000u;
    let result = select(size, raw, (raw == 0u) | (raw == INFINITY));
    return fixed(select(result, NAN, raw > INFINITY));
}

fn inverse_sqrt(x: f32) -> f32 {
    return divide(1.0, sqrt_of(x));
}

// x times a power of two, which is not far from what floats hold.
fn scaled(x: f32, power: i32) -> f32 {
    let raw = bits(x);
    let moved = i32((raw & SIZE) >> 23u) + power;
    let digits = raw & 0x807fffffu;
    let normal = digits | (u32(clamp(moved, 0, 255)) << 23u);
    let large = select(normal, (raw & SIGN) | INFINITY, moved >= 255);
    let small = select(large, 0u, moved <= 0);
    return fixed(select(small, raw, (raw == 0u) | ((raw & SIZE) >= INFINITY)));
}

// e to the x, of x up to a third.
fn small_exp(x: f32) -> f32 {
    var sum = 0.0013888889;
    sum = add(multiply(sum, x), 0.008333334);
    sum = add(multiply(sum, x), 0.041666668);
    sum = add(multiply(sum, x), 0.16666667);
    sum = add(multiply(sum, x), 0.5);
    sum = add(multiply(sum, x), 1.0);
    return add(multiply(sum, x), 1.0);
}

fn exp_of(x: f32) -> f32 {
    let bounded = clamp_of(x, -200.0, 200.0);
    let whole = round_of(multiply(bounded, 1.442695));
    let high = subtract(bounded, multiply(whole, 0.69335938));
    let rest = add(high, multiply(whole, 0.00021219444));
    return select(scaled(small_exp(rest), to_i32(whole)), x, is_nan(x));
}

fn exp2_of(x: f32) -> f32 {
    let bounded = clamp_of(x, -300.0, 300.0);
    let whole = round_of(bounded);
    let rest = multiply(subtract(bounded, whole), 0.6931472);
    return select(scaled(small_exp(rest), to_i32(whole)), x, is_nan(x));
}

// The logarithm of x divided by a power of two, and that power as a float: apart, since their sum is rounded.
fn log_power(x: f32) -> f32 {
    let raw = bits(x);
    let large = (raw & 0x7fffffu) > 0x3504f3u;
    return f32(i32(raw >> 23u) - 127 + select(0, 1, large));
}

fn log_rest(x: f32) -> f32 {
    let raw = bits(x);
    let large = (raw & 0x7fffffu) > 0x3504f3u;
    let m = bitcast<f32>((raw & 0x7fffffu) | select(0x3f800000u, 0x3f000000u, large));
    let s = divide(subtract(m, 1.0), add(m, 1.0));
    let z = multiply(s, s);
    var sum = 0.09090909;
    sum = add(multiply(sum, z), 0.11111111);
    sum = add(multiply(sum, z), 0.14285715);
    sum = add(multiply(sum, z), 0.2);
    sum = add(multiply(sum, z), 0.33333334);
    sum = add(multiply(sum, z), 1.0);
    return multiply(add(s, s), sum);
}

fn log_edges(x: f32, result: f32) -> f32 {
    let raw = bits(x);
    let infinite = select(result, x, raw == INFINITY);
    let of_zero = select(infinite, bitcast<f32>((INFINITY | SIGN) ^ zero), raw == 0u);
    return fixed(select(bits(of_zero), NAN, raw > INFINITY));
}

fn log_of(x: f32) -> f32 {
    let power = log_power(x);
    let low = add(multiply(power, -0.00021219444), log_rest(x));
    return log_edges(x, add(multiply(power, 0.69335938), low));
}

fn log2_of(x: f32) -> f32 {
    return log_edges(x, add(log_power(x), multiply(log_rest(x), 1.442695)));
}

fn pow_of(x: f32, y: f32) -> f32 {
    return exp2_of(multiply(y, log2_of(x)));
}

fn quarters(x: f32) -> f32 {
    return round_of(multiply(clamp_of(x, -1000000.0, 1000000.0), 0.63661975));
}

fn within_quarter(x: f32, turns: f32) -> f32 {
    let high = subtract(x, multiply(turns, 1.5703125));
    let middle = subtract(high, multiply(turns, 0.00048375130));
    return subtract(middle, multiply(turns, 7.5497899e-8));
}

fn small_sin(x: f32) -> f32 {
    let z = multiply(x, x);
    var sum = -0.00019515296;
    sum = add(multiply(sum, z), 0.0083321609);
    sum = add(multiply(sum, z), -0.16666655);
    return add(multiply(multiply(sum, z), x), x);
}

fn small_cos(x: f32) -> f32 {
    let z = multiply(x, x);
    var sum = 0.000024433157;
    sum = add(multiply(sum, z), -0.0013887316);
    sum = add(multiply(sum, z), 0.041666646);
    return add(subtract(multiply(multiply(sum, z), z), multiply(z, 0.5)), 1.0);
}

// The sine of x after so many quarters of a turn more.
fn turned(x: f32, more: i32) -> f32 {
    let turns = quarters(x);
    let rest = within_quarter(x, turns);
    let quarter = to_i32(turns) + more;
    let size = select(small_sin(rest), small_cos(rest), (quarter & 1) == 1);
    let result = select(size, negate(size), (quarter & 2) == 2);
    return fixed(select(bits(result), NAN, (bits(x) & SIZE) >= INFINITY));
}

fn sin_of(x: f32) -> f32 {
    return turned(x, 0);
}

fn cos_of(x: f32) -> f32 {
    return turned(x, 1);
}

fn tan_of(x: f32) -> f32 {
    return divide(sin_of(x), cos_of(x));
}

fn atan_of(x: f32) -> f32 {
    let size = abs_of(x);
    let large = less(2.4142137, size);
    let middle = less(0.41421357, size) & !large;
    let over = select(select(size, subtract(size, 1.0), middle), -1.0, large);
    let under = select(select(1.0, add(size, 1.0), middle), size, large);
    let start = select(select(0.0, 0.7853982, middle), 1.5707964, large);
    let t = divide(over, under);
    let z = multiply(t, t);
    var sum = 0.080537446;
    sum = add(multiply(sum, z), -0.13877686);
    sum = add(multiply(sum, z), 0.19977711);
    sum = add(multiply(sum, z), -0.3333295);
    let result = add(start, add(multiply(multiply(sum, z), t), t));
    return select(result, negate(result), less(x, 0.0));
}

fn atan2_of(y: f32, x: f32) -> f32 {
    let slope = atan_of(divide(y, x));
    let behind = add(slope, select(3.1415927, -3.1415927, less(y, 0.0)));
    let beside = select(1.5707964, -1.5707964, less(y, 0.0));
    let straight = select(beside, 0.0, equal(y, 0.0));
    let result = select(slope, behind, less(x, 0.0));
    return select(result, straight, equal(x, 0.0));
}

fn half_circle(x: f32) -> f32 {
    return sqrt_of(multiply(subtract(1.0, x), add(1.0, x)));
}

fn asin_of(x: f32) -> f32 {
    return atan2_of(x, half_circle(x));
}

fn acos_of(x: f32) -> f32 {
    return atan2_of(half_circle(x), x);
}

fn sinh_of(x: f32) -> f32 {
    let power = exp_of(x);
    return multiply(subtract(power, divide(1.0, power)), 0.5);
}

fn cosh_of(x: f32) -> f32 {
    let power = exp_of(x);
    return multiply(add(power, divide(1.0, power)), 0.5);
}

fn tanh_of(x: f32) -> f32 {
    let power = exp_of(multiply(clamp_of(x, -20.0, 20.0), 2.0));
    return select(subtract(1.0, divide(2.0, add(power, 1.0))), x, is_nan(x));
}

fn radians_of(x: f32) -> f32 {
    return multiply(x, 0.017453292);
}

fn degrees_of(x: f32) -> f32 {
    return multiply(x, 57.29578);
}

fn fma_of(a: f32, b: f32, c: f32) -> f32 {
    return add(multiply(a, b), c);
}

fn mix_of(a: f32, b: f32, t: f32) -> f32 {
    return add(multiply(a, subtract(1.0, t)), multiply(b, t));
}

fn smoothstep_of(low: f32, high: f32, x: f32) -> f32 {
    let t = saturate_of(divide(subtract(x, low), subtract(high, low)));
    return multiply(multiply(t, t), subtract(3.0, multiply(2.0, t)));
}

