// A chain of hashes for each invocation, whose end nobody knows before it has gone all of it.
struct Work {
    low: u32,
    high: u32,
    rounds: u32,
}

@group(0) @binding(0) var<uniform> work: Work;
@group(0) @binding(1) var<storage, read_write> ends: array<u32>;

// Wellons' hash of 32 bits, found by search for the least bias.
fn mix(word: u32) -> u32 {
    var x = word;
    x = (x ^ (x >> 16u)) * 0x7feb352du;
    x = (x ^ (x >> 15u)) * 0x846ca68bu;
    return x ^ (x >> 16u);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
    var x = mix(work.low + at.x) ^ work.high;
    for (var round = 0u; round < work.rounds; round++) {
        x = mix(x + round);
    }
    ends[at.x] = x;
}
