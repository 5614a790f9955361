// What a device must get right before programs of strangers are billed by what it says: one entry point for each thing.
// The answers are those of the reference on the CPU.

@group(0) @binding(0) var<storage, read> data: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
@group(0) @binding(2) var<storage, read_write> meeting: array<atomic<u32>, 8>;
@group(0) @binding(3) var<storage, read> numbers: array<f32>;

var<workgroup> board: array<u32, 64>;
var<private> own: array<u32, 16>;

// Some drivers stop loops after 65,535 rounds of all together, silently.
@compute @workgroup_size(4)
fn long_loop(@builtin(global_invocation_id) g: vec3<u32>) {
    var sum = 0u;
    for (var i = 0u; i < 200000u; i++) { sum = sum * 3u + i; }
    out[g.x] = sum;
}

@compute @workgroup_size(4)
fn nested_loops(@builtin(global_invocation_id) g: vec3<u32>) {
    var sum = 0u;
    for (var i = 0u; i < 400u; i++) {
        for (var j = 0u; j < 400u; j++) { sum = sum * 5u + (i ^ j); }
    }
    out[g.x] = sum;
}

// A product of 64 bits from parts of 16, as programs do it.
@compute @workgroup_size(64)
fn carry(@builtin(global_invocation_id) g: vec3<u32>) {
    let a = data[g.x % 256u];
    let b = data[(g.x + 77u) % 256u];
    let low = (a & 0xffffu) * (b & 0xffffu);
    let left = (a >> 16u) * (b & 0xffffu);
    let right = (a & 0xffffu) * (b >> 16u);
    let middle = left + right;
    let over = u32(middle < left) << 16u;
    let sum = low + (middle << 16u);
    out[2u * g.x] = sum;
    out[2u * g.x + 1u] = (a >> 16u) * (b >> 16u) + (middle >> 16u) + over + u32(sum < low);
}

@compute @workgroup_size(64)
fn shifts(@builtin(global_invocation_id) g: vec3<u32>) {
    let a = data[g.x % 256u];
    let n = data[255u - g.x % 256u];
    out[g.x] = (a << n) ^ (a >> (n + 3u)) ^ bitcast<u32>(bitcast<i32>(a) >> (n / 5u)) ^ countLeadingZeros(n);
}

@compute @workgroup_size(64)
fn bounds(@builtin(global_invocation_id) g: vec3<u32>) {
    for (var i = 0u; i < 16u; i++) { own[i] = data[i] + g.x; }
    let wild = data[g.x % 256u];
    out[g.x] = data[wild] ^ own[wild] ^ own[g.x % 16u];
    out[4000000000u + g.x] = 7u;
}

@compute @workgroup_size(64)
fn division(@builtin(global_invocation_id) g: vec3<u32>) {
    let a = data[g.x % 256u];
    // Each fourth divisor is zero, each eighth is -1, and each third dividend is the least.
    let b = select(select(data[(g.x + 9u) % 256u] >> 20u, 0u, g.x % 4u == 0u), 0xffffffffu, g.x % 8u == 1u);
    let least = select(bitcast<i32>(a), -2147483647 - 1, g.x % 3u == 0u);
    let signed = least / bitcast<i32>(b) + least % bitcast<i32>(b);
    out[g.x] = (a / b) ^ (a % b) ^ bitcast<u32>(signed);
}

@compute @workgroup_size(64)
fn conversions(@builtin(global_invocation_id) g: vec3<u32>) {
    let x = numbers[g.x % 256u];
    out[2u * g.x] = u32(x);
    out[2u * g.x + 1u] = bitcast<u32>(i32(x));
}

@compute @workgroup_size(64)
fn barriers(@builtin(global_invocation_id) g: vec3<u32>, @builtin(local_invocation_index) l: u32) {
    board[l] = data[g.x % 256u];
    workgroupBarrier();
    for (var width = 32u; width > 0u; width /= 2u) {
        if (l < width) { board[l] = board[l] * 3u + board[l + width]; }
        workgroupBarrier();
    }
    out[g.x] = board[l / 2u];
}

@compute @workgroup_size(64)
fn atomics(@builtin(global_invocation_id) g: vec3<u32>) {
    let a = data[g.x % 256u];
    atomicAdd(&meeting[0], a);
    atomicMax(&meeting[1], a ^ g.x);
    atomicMin(&meeting[2], a >> 5u);
    atomicOr(&meeting[3], 1u << (a % 32u));
    atomicXor(&meeting[4], a);
    atomicAnd(&meeting[5], a);
    for (var i = 0u; i < 50u; i++) { atomicAdd(&meeting[6 + i % 2], i * g.x); }
}

// Leaves something in workgroup memory and in variables, which the next must not see.
@compute @workgroup_size(64)
fn leaves(@builtin(global_invocation_id) g: vec3<u32>, @builtin(local_invocation_index) l: u32) {
    for (var i = 0u; i < 16u; i++) { own[i] = ~data[i]; }
    board[l] = own[l % 16u] | 1u;
    workgroupBarrier();
    out[g.x] = board[63u - l];
}

@compute @workgroup_size(64)
fn zeroed(@builtin(global_invocation_id) g: vec3<u32>, @builtin(local_invocation_index) l: u32) {
    var here: array<u32, 16>;
    var sum = board[l];
    for (var i = 0u; i < 16u; i++) { sum |= own[(i + l) % 16u] | here[(i * 3u + l) % 16u]; }
    workgroupBarrier();
    out[g.x] = sum + 5u;
}

// How many rounds each goes depends on data.
@compute @workgroup_size(64)
fn fuel(@builtin(global_invocation_id) g: vec3<u32>) {
    var n = data[g.x % 256u] % 1000u + 1u;
    var rounds = 0u;
    while (n != 1u && rounds < 300u) {
        if (n % 2u == 0u) { n /= 2u; } else { n = 3u * n + 1u; }
        rounds++;
    }
    switch (rounds % 5u) {
        case 0u: { rounds += 100u; }
        case 1u, 2u: { rounds *= 2u; }
        default: { }
    }
    out[g.x] = rounds;
}

// Has no end but by fuel, which must come for all of a workgroup at once.
@compute @workgroup_size(64)
fn ends(@builtin(global_invocation_id) g: vec3<u32>, @builtin(local_invocation_index) l: u32) {
    var i = 0u;
    while (i < l * 1000000u) { i++; }
    loop {
        out[g.x] += 1u;
        workgroupBarrier();
        if (arrayLength(&out) == 3u) { break; }
    }
}

@compute @workgroup_size(64)
fn floats(@builtin(global_invocation_id) g: vec3<u32>) {
    let x = numbers[g.x % 256u];
    let y = numbers[(g.x + 31u) % 256u];
    var sum = x * y + (x - y) * 0.3;
    sum = sum + sqrt(abs(x)) / (abs(y) + 0.125);
    out[2u * g.x] = bitcast<u32>(sum);
    out[2u * g.x + 1u] = bitcast<u32>(sin(x * 0.001) * exp2(y * 0.0001));
}
