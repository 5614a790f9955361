// Moves memory: what it reads and writes counts, and next to nothing is computed.
@group(0) @binding(0) var<storage, read> source: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> copy: array<vec4<u32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
    copy[at.x] = source[at.x] + vec4<u32>(1u);
}
