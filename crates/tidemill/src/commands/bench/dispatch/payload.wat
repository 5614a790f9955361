;; What the tasks of `tidemill bench dispatch --input SIZE --output SIZE` run:
;;
;;     payload BYTES SALT [INPUT]
;;
;; It reads all of INPUT, and writes BYTES bytes to standard output that follow from its arguments and from every byte of
;; the input: so each task's output is its own, and a task that has not read its input cannot write it.
;;
;; `payload.wasm` beside this file is made from it by `wasm-tools parse`; a test compares the two.
(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))

  ;; 0      number of arguments      4      their bytes
  ;; 8      a buffer: address        12     and length
  ;; 16     how much was read or written    20     the input's descriptor
  ;; 1024   where each argument is   2048   their bytes
  ;; 65536  64 KiB that are read into and written from, and 8 bytes more
  (memory (export "memory") 3)

  (func $check (param $errno i32)
    (if (local.get $errno) (then (call $proc_exit (i32.const 1)) (unreachable))))

  (func $argument (param $number i32) (result i32)
    (i32.load (i32.add (i32.const 1024) (i32.shl (local.get $number) (i32.const 2)))))

  (func $length (param $text i32) (result i32)
    (local $end i32)
    (local.set $end (local.get $text))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (i32.load8_u (local.get $end))))
        (local.set $end (i32.add (local.get $end) (i32.const 1)))
        (br $next)))
    (i32.sub (local.get $end) (local.get $text)))

  (func $number (param $text i32) (result i64)
    (local $value i64)
    (local $digit i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.tee $digit (i32.load8_u (local.get $text)))))
        (local.set $value (i64.add
          (i64.mul (local.get $value) (i64.const 10))
          (i64.extend_i32_u (i32.sub (local.get $digit) (i32.const 48)))))
        (local.set $text (i32.add (local.get $text) (i32.const 1)))
        (br $next)))
    (local.get $value))

  ;; Takes bytes into the state, eight at a time; the last ones are filled up with zeros.
  (func $take (param $state i64) (param $from i32) (param $bytes i32) (result i64)
    (local $end i32)
    (local.set $end (i32.add (local.get $from) (local.get $bytes)))
    (i64.store (local.get $end) (i64.const 0))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $from) (local.get $end)))
        (local.set $state (i64.mul
          (i64.xor (local.get $state) (i64.load (local.get $from)))
          (i64.const 0x9e3779b97f4a7c15)))
        (local.set $state (i64.xor (local.get $state) (i64.shr_u (local.get $state) (i64.const 32))))
        (local.set $from (i32.add (local.get $from) (i32.const 8)))
        (br $next)))
    (local.get $state))

  ;; Reads a file to its end.
  (func $read (param $state i64) (param $path i32) (result i64)
    (local $bytes i32)
    ;; Below the root, which is descriptor 3, and for reading alone.
    (call $check (call $path_open
      (i32.const 3) (i32.const 0)
      (i32.add (local.get $path) (i32.const 1)) (call $length (i32.add (local.get $path) (i32.const 1)))
      (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 20)))
    (block $done
      (loop $next
        (i32.store (i32.const 8) (i32.const 65536))
        (i32.store (i32.const 12) (i32.const 65536))
        (call $check (call $fd_read (i32.load (i32.const 20)) (i32.const 8) (i32.const 1) (i32.const 16)))
        (br_if $done (i32.eqz (local.tee $bytes (i32.load (i32.const 16)))))
        (local.set $state (call $take (local.get $state) (i32.const 65536) (local.get $bytes)))
        (br $next)))
    (local.get $state))

  ;; Writes so many bytes of a splitmix64 sequence.
  (func $write (param $state i64) (param $left i64)
    (local $at i32)
    (local $bytes i32)
    (local $word i64)
    (block $done
      (loop $next
        (br_if $done (i64.eqz (local.get $left)))
        (local.set $bytes (select
          (i32.const 65536) (i32.wrap_i64 (local.get $left)) (i64.gt_u (local.get $left) (i64.const 65536))))
        (local.set $at (i32.const 0))
        (loop $fill
          (local.set $state (i64.add (local.get $state) (i64.const 0x9e3779b97f4a7c15)))
          (local.set $word (local.get $state))
          (local.set $word (i64.mul
            (i64.xor (local.get $word) (i64.shr_u (local.get $word) (i64.const 30)))
            (i64.const 0xbf58476d1ce4e5b9)))
          (local.set $word (i64.mul
            (i64.xor (local.get $word) (i64.shr_u (local.get $word) (i64.const 27)))
            (i64.const 0x94d049bb133111eb)))
          (i64.store
            (i32.add (i32.const 65536) (local.get $at))
            (i64.xor (local.get $word) (i64.shr_u (local.get $word) (i64.const 31))))
          (local.set $at (i32.add (local.get $at) (i32.const 8)))
          (br_if $fill (i32.lt_u (local.get $at) (local.get $bytes))))
        (local.set $at (i32.const 0))
        (loop $put
          (i32.store (i32.const 8) (i32.add (i32.const 65536) (local.get $at)))
          (i32.store (i32.const 12) (i32.sub (local.get $bytes) (local.get $at)))
          (call $check (call $fd_write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 16)))
          (local.set $at (i32.add (local.get $at) (i32.load (i32.const 16))))
          (br_if $put (i32.lt_u (local.get $at) (local.get $bytes))))
        (local.set $left (i64.sub (local.get $left) (i64.extend_i32_u (local.get $bytes))))
        (br $next))))

  (func (export "_start")
    (local $state i64)
    (call $check (call $args_sizes_get (i32.const 0) (i32.const 4)))
    (call $check (call $args_get (i32.const 1024) (i32.const 2048)))
    (local.set $state (call $take (i64.const 1) (i32.const 2048) (i32.load (i32.const 4))))
    (if (i32.gt_u (i32.load (i32.const 0)) (i32.const 3))
      (then (local.set $state (call $read (local.get $state) (call $argument (i32.const 3))))))
    (call $write (local.get $state) (call $number (call $argument (i32.const 1))))))
