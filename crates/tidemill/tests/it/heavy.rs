//! Programs that are small and take long to compile.

use wasm_encoder::{
    BlockType, CodeSection, ExportKind, ExportSection, Function, FunctionSection, MemArg, MemorySection,
    MemoryType, Module, TypeSection, ValType,
};

/// A module whose compiling takes long and needs much: each of its functions has many loops one after
/// another, and many variables that live through all of them, so that what the compiler must know at
/// each place grows with the function and its work with the square.
pub fn heavy(functions: u32, variables: u32, loops: u32) -> Vec<u8> {
    let mut function = Function::new([(variables, ValType::I32)]);
    let mut code = function.instructions();
    for number in 0..loops {
        let (one, other) = (number % variables, (number * 7 + 1) % variables);
        code.loop_(BlockType::Empty).local_get(one).local_get(other).i32_add().local_tee(one).br_if(0).end();
    }
    for variable in 0..variables {
        let place = MemArg { offset: 0, align: 2, memory_index: 0 };
        code.i32_const(0).local_get(variable).i32_store(place);
    }
    code.end();
    let mut codes = CodeSection::new();
    let (mut types, mut declared) = (TypeSection::new(), FunctionSection::new());
    types.ty().function([], []);
    for _ in 0..functions {
        declared.function(0);
        codes.function(&function);
    }
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut exports = ExportSection::new();
    exports.export("_start", ExportKind::Func, 0).export("memory", ExportKind::Memory, 0);
    let mut module = Module::new();
    module.section(&types).section(&declared).section(&memories).section(&exports).section(&codes);
    module.finish()
}
