;; What a machine is measured with: integers, floats and memory in equal parts, about 80 ms of them.
;; It prints 16 bytes that depend on every step.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  ;; One page for the output, and 1 MiB that is read and written all over: more than a core's first cache.
  (memory (export "memory") 17)
  (func (export "_start")
    (local $left i32) (local $x i64) (local $sum i64) (local $f f64) (local $at i32)
    (local.set $left (i32.const 4000000))
    (local.set $x (i64.const 0x9e3779b97f4a7c15))
    (local.set $f (f64.const 1))
    (loop $again
      ;; xorshift
      (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
      (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
      (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
      ;; A word of memory is mixed in and written back.
      (local.set $at (i32.add (i32.const 65536) (i32.and (i32.wrap_i64 (local.get $x)) (i32.const 0xffff8))))
      (local.set $sum
        (i64.xor (local.get $x)
          (i64.rotl (i64.add (local.get $sum) (i64.load (local.get $at))) (i64.const 5))))
      (i64.store (local.get $at) (local.get $sum))
      ;; Stays between 0 and 2^16, and never becomes a NaN.
      (local.set $f
        (f64.add
          (f64.mul (local.get $f) (f64.const 0.75))
          (f64.convert_i32_u (i32.and (i32.wrap_i64 (local.get $sum)) (i32.const 0x3fff)))))
      (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (i64.store (i32.const 0) (local.get $sum))
    (f64.store (i32.const 8) (local.get $f))
    (i32.store (i32.const 16) (i32.const 0))
    (i32.store (i32.const 20) (i32.const 16))
    (if (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24)) (then unreachable))))
