//! Small contracts, assembled by hand.

use alloy::primitives::{Bytes, hex};

/// Code that deploys `runtime`.
pub fn init(runtime: &[u8]) -> Bytes {
    let length = u16::try_from(runtime.len()).unwrap().to_be_bytes();
    // PUSH2 length, DUP1, PUSH1 10, PUSH0, CODECOPY, PUSH0, RETURN
    let mut code = vec![0x61, length[0], length[1], 0x80, 0x60, 0x0a, 0x5f, 0x39, 0x5f, 0xf3];
    code.extend_from_slice(runtime);
    code.into()
}

/// Stores the first word of its input in slot 0, and logs it: `LOG2(second word; first word, 0x07)`.
/// Without input it returns slot 0.
pub fn store() -> Vec<u8> {
    let code = "36600c575f545f5260205ff35b5f3580 5f55 6020355f52 6007 90 60205fa2 00".replace(' ', "");
    // CALLDATASIZE PUSH1 0b JUMPI; PUSH0 SLOAD PUSH0 MSTORE PUSH1 20 PUSH0 RETURN; JUMPDEST ...
    hex::decode(code).unwrap()
}

/// Reverts with what it was called with.
pub fn echo_revert() -> Vec<u8> {
    // CALLDATASIZE PUSH0 PUSH0 CALLDATACOPY CALLDATASIZE PUSH0 REVERT
    hex::decode("365f5f37365ffd").unwrap()
}

/// Runs until its gas is used up.
pub fn forever() -> Vec<u8> {
    hex::decode("5b5f56").unwrap()
}

/// Returns BLOCKHASH of the number it is called with.
pub fn block_hash() -> Vec<u8> {
    hex::decode("5f35405f5260205ff3").unwrap()
}

/// Asks EIP-2935's contract for the number it is called with, and returns its answer.
pub fn ask_history() -> Vec<u8> {
    // mstore(0, calldataload(0)); staticcall(gas, history, 0, 32, 0, 32); return(0, 32)
    let code = "5f355f52 6020 5f 6020 5f 730000f90827f1c53a10cb7a02335b175320002935 5a fa 50 60205ff3";
    hex::decode(code.replace(' ', "")).unwrap()
}

/// `Error(string)` as Solidity encodes it.
pub fn solidity_error(text: &str) -> Bytes {
    use alloy::sol_types::{Revert, SolError};
    Revert::from(text).abi_encode().into()
}
