// A product of square matrices, in tiles that a workgroup shares.
const TILE = 16u;

struct Size {
    n: u32,
}

@group(0) @binding(0) var<uniform> size: Size;
@group(0) @binding(1) var<storage, read> left: array<f32>;
@group(0) @binding(2) var<storage, read> right: array<f32>;
@group(0) @binding(3) var<storage, read_write> product: array<f32>;

var<workgroup> left_tile: array<array<f32, 16>, 16>;
var<workgroup> right_tile: array<array<f32, 16>, 16>;

@compute @workgroup_size(16, 16)
fn main(@builtin(global_invocation_id) at: vec3<u32>, @builtin(local_invocation_id) place: vec3<u32>) {
    var sum = 0.0;
    for (var tile = 0u; tile < size.n / TILE; tile++) {
        left_tile[place.y][place.x] = left[at.y * size.n + tile * TILE + place.x];
        right_tile[place.y][place.x] = right[(tile * TILE + place.y) * size.n + at.x];
        workgroupBarrier();
        for (var k = 0u; k < TILE; k++) {
            sum += left_tile[place.y][k] * right_tile[k][place.x];
        }
        workgroupBarrier();
    }
    product[at.y * size.n + at.x] = sum;
}
