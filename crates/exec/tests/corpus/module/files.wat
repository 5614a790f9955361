(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_readdir" (func $list (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_rename" (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "out/file") (data (i32.const 16) "out/other") (data (i32.const 32) "\00\00\00\00\08\00\00\00")
  (func (export "_start")
    (drop (call $open (i32.const 3) (i32.const 1) (i32.const 0) (i32.const 8) (i32.const 1) (i64.const 0x1fffff)
      (i64.const 0) (i32.const 0) (i32.const 48)))
    (drop (call $write (i32.load (i32.const 48)) (i32.const 32) (i32.const 1) (i32.const 52)))
    (drop (call $rename (i32.const 3) (i32.const 0) (i32.const 8) (i32.const 3) (i32.const 16) (i32.const 9)))
    (drop (call $list (i32.const 3) (i32.const 100) (i32.const 500) (i64.const 0) (i32.const 56)))))
