// SHA-256 twice over a block header of 80 bytes, for a range of nonces: each invocation keeps the nonce whose hash is the
// least, read as the number that miners compare with a target.
struct Work {
    // The first 76 bytes, as big-endian words.
    header: array<vec4<u32>, 5>,
    // The first nonce, and how many each invocation tries.
    first: u32,
    tries: u32,
}

@group(0) @binding(0) var<uniform> work: Work;
// For each invocation: the nonce, then the most and the second most significant word of its hash.
@group(0) @binding(1) var<storage, read_write> best: array<u32>;

const ROUND = array<u32, 64>(
    0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u, 0x3956c25bu, 0x59f111f1u, 0x923f82a4u, 0xab1c5ed5u,
    0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u, 0x72be5d74u, 0x80deb1feu, 0x9bdc06a7u, 0xc19bf174u,
    0xe49b69c1u, 0xefbe4786u, 0x0fc19dc6u, 0x240ca1ccu, 0x2de92c6fu, 0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau,
    0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u, 0xc6e00bf3u, 0xd5a79147u, 0x06ca6351u, 0x14292967u,
    0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu, 0x53380d13u, 0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u,
    0xa2bfe8a1u, 0xa81a664bu, 0xc24b8b70u, 0xc76c51a3u, 0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u,
    0x19a4c116u, 0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au, 0x5b9cca4fu, 0x682e6ff3u,
    0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u, 0x90befffau, 0xa4506cebu, 0xbef9a3f7u, 0xc67178f2u,
);

const START = array<u32, 8>(0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au, 0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u);

fn turned(x: u32, by: u32) -> u32 {
    return (x >> by) | (x << (32u - by));
}

fn swapped(x: u32) -> u32 {
    return (turned(x, 8u) & 0xff00ff00u) | (turned(x, 24u) & 0x00ff00ffu);
}

fn compress(state: ptr<function, array<u32, 8>>, words: ptr<function, array<u32, 64>>) {
    for (var i = 16u; i < 64u; i++) {
        let a = (*words)[i - 15u];
        let b = (*words)[i - 2u];
        let s = turned(a, 7u) ^ turned(a, 18u) ^ (a >> 3u);
        let t = turned(b, 17u) ^ turned(b, 19u) ^ (b >> 10u);
        (*words)[i] = (*words)[i - 16u] + s + (*words)[i - 7u] + t;
    }
    var round = ROUND;
    var v = *state;
    for (var i = 0u; i < 64u; i++) {
        let e = v[4];
        let chosen = (e & v[5]) ^ (~e & v[6]);
        let t = v[7] + (turned(e, 6u) ^ turned(e, 11u) ^ turned(e, 25u)) + chosen + round[i] + (*words)[i];
        let a = v[0];
        let majority = (a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]);
        let u = (turned(a, 2u) ^ turned(a, 13u) ^ turned(a, 22u)) + majority;
        v[7] = v[6];
        v[6] = v[5];
        v[5] = e;
        v[4] = v[3] + t;
        v[3] = v[2];
        v[2] = v[1];
        v[1] = a;
        v[0] = t + u;
    }
    for (var i = 0u; i < 8u; i++) {
        (*state)[i] += v[i];
    }
}

fn hash(nonce: u32) -> array<u32, 8> {
    var state = START;
    var words: array<u32, 64>;
    for (var i = 0u; i < 16u; i++) {
        words[i] = work.header[i / 4u][i % 4u];
    }
    compress(&state, &words);
    for (var i = 0u; i < 16u; i++) {
        words[i] = 0u;
    }
    words[0] = work.header[4].x;
    words[1] = work.header[4].y;
    words[2] = work.header[4].z;
    words[3] = swapped(nonce);
    words[4] = 0x80000000u;
    words[15] = 640u;
    compress(&state, &words);
    for (var i = 0u; i < 16u; i++) {
        words[i] = 0u;
    }
    for (var i = 0u; i < 8u; i++) {
        words[i] = state[i];
    }
    words[8] = 0x80000000u;
    words[15] = 256u;
    state = START;
    compress(&state, &words);
    return state;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
    var least = vec2<u32>(0xffffffffu);
    var found = 0u;
    for (var i = 0u; i < work.tries; i++) {
        let nonce = work.first + at.x * work.tries + i;
        var state = hash(nonce);
        let high = swapped(state[7]);
        let low = swapped(state[6]);
        if (high < least.x || (high == least.x && low < least.y)) {
            least = vec2<u32>(high, low);
            found = nonce;
        }
    }
    best[at.x * 3u] = found;
    best[at.x * 3u + 1u] = least.x;
    best[at.x * 3u + 2u] = least.y;
}
