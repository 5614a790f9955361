// The Mandelbrot set in fixed point, 12 bits of fraction: how many rounds each point of a picture stays.
struct Frame {
    width: u32,
    height: u32,
    most: u32,
}

@group(0) @binding(0) var<uniform> frame: Frame;
@group(0) @binding(1) var<storage, read_write> rounds: array<u32>;

const ONE = 12u;

fn next(z: vec2<i32>, c: vec2<i32>) -> vec2<i32> {
    let square = (z * z) >> vec2<u32>(ONE);
    return vec2<i32>(square.x - square.y, (z.x * z.y) >> (ONE - 1u)) + c;
}

fn is_out(z: vec2<i32>) -> bool {
    let square = (z * z) >> vec2<u32>(ONE);
    return square.x + square.y > (4 << ONE);
}

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
    if (at.x >= frame.width || at.y >= frame.height) {
        return;
    }
    let c = vec2<i32>(i32(at.x * 12288u / frame.width) - 8192, i32(at.y * 8192u / frame.height) - 4096);
    var z = vec2<i32>();
    var n = 0u;
    while (n < frame.most) {
        z = next(z, c);
        if (is_out(z)) {
            break;
        }
        n += 1u;
    }
    rounds[at.y * frame.width + at.x] = n;
}
