// What bodies pull each other with: their places in x, y and z, their masses in w.
@group(0) @binding(0) var<storage, read> bodies: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> pulls: array<vec4<f32>>;

fn pull(apart: vec3<f32>, mass: f32) -> vec3<f32> {
    let nearer = inverseSqrt(dot(apart, apart) + 0.01);
    return apart * (mass * nearer * nearer * nearer);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
    if (at.x >= arrayLength(&bodies)) {
        return;
    }
    let here = bodies[at.x].xyz;
    var sum = vec3<f32>();
    for (var other = 0u; other < arrayLength(&bodies); other++) {
        let body = bodies[other];
        sum += pull(body.xyz - here, body.w);
    }
    pulls[at.x] = vec4<f32>(sum, 0.0);
}
