//! What nodes say to a transaction.
//!
//! JSON-RPC has one code for all of it, so the text is all that there is to go by. The table holds the words of geth,
//! reth, anvil, Nethermind, Besu and Erigon; the embedded ledger speaks as geth does.

/// What a node's answer to a broadcast means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// The node has it, from now on or before.
    Taken,
    /// Its nonce is used: by itself, by another variant, or by someone else. The next look at the chain will tell.
    NonceUsed,
    /// It pays too little: to replace another one, or to be taken at all.
    Underpriced,
    /// The account cannot pay for it now.
    Poor(String),
    /// No node will ever take it as it is.
    Refused(String),
    /// The node did not take it, for a reason that is not known or passes.
    Failed(String),
}

/// The kinds of refusal that a text can stand for.
#[derive(Clone, Copy)]
enum Kind {
    Taken,
    NonceUsed,
    Underpriced,
    Poor,
    Refused,
}

/// Parts of messages, in lower case. The first that fits counts.
const TABLE: &[(&str, Kind)] = &[
    ("already known", Kind::Taken),
    ("already imported", Kind::Taken),
    ("alreadyknown", Kind::Taken),
    ("known transaction", Kind::Taken),
    ("already exists in the pool", Kind::Taken),
    ("transaction already in mempool", Kind::Taken),
    ("nonce too low", Kind::NonceUsed),
    ("nonce_too_low", Kind::NonceUsed),
    ("oldnonce", Kind::NonceUsed),
    ("nonce is too low", Kind::NonceUsed),
    ("replacement transaction underpriced", Kind::Underpriced),
    ("replacementnotallowed", Kind::Underpriced),
    ("transaction underpriced", Kind::Underpriced),
    ("underpriced", Kind::Underpriced),
    ("feetoolow", Kind::Underpriced),
    ("less than block base fee", Kind::Underpriced),
    ("less than the block base fee", Kind::Underpriced),
    ("max fee per gas too low", Kind::Underpriced),
    ("tip cap", Kind::Underpriced),
    ("gas price below configured minimum", Kind::Underpriced),
    ("insufficient funds", Kind::Poor),
    ("insufficient balance", Kind::Poor),
    ("insufficientfunds", Kind::Poor),
    ("upfront cost exceeds account balance", Kind::Poor),
    ("overdraft", Kind::Poor),
    ("intrinsic gas too low", Kind::Refused),
    ("intrinsic gas too high", Kind::Refused),
    ("gas floor", Kind::Refused),
    ("exceeds block gas limit", Kind::Refused),
    ("exceeds the block gas limit", Kind::Refused),
    ("gas limit too high", Kind::Refused),
    ("exceeds maximum", Kind::Refused),
    ("max initcode size exceeded", Kind::Refused),
    ("initcode", Kind::Refused),
    ("transaction type not supported", Kind::Refused),
    ("invalid chain id", Kind::Refused),
    ("invalid sender", Kind::Refused),
    ("oversized data", Kind::Refused),
    ("exceeds the configured cap", Kind::Refused),
];

/// What a node's error message to a broadcast means.
pub(crate) fn read(message: &str) -> Answer {
    let lower = message.to_lowercase();
    let found = TABLE.iter().find(|(part, _)| lower.contains(part));
    let said = || message.chars().take(300).collect();
    match found.map(|(_, kind)| kind) {
        Some(Kind::Taken) => Answer::Taken,
        Some(Kind::NonceUsed) => Answer::NonceUsed,
        Some(Kind::Underpriced) => Answer::Underpriced,
        Some(Kind::Poor) => Answer::Poor(said()),
        Some(Kind::Refused) => Answer::Refused(said()),
        None => Answer::Failed(said()),
    }
}

/// Whether a node's error message to an estimate says that the transaction would fail in its contract.
pub(crate) fn would_fail(message: &str) -> bool {
    let lower = message.to_lowercase();
    let is_poor = matches!(read(message), Answer::Poor(_));
    // Geth's "gas required exceeds allowance" says this too, but also that the account is poor.
    !is_poor
        && ["revert", "opcode", "out of gas", "stack", "evm error"].iter().any(|part| lower.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_nodes_are_understood() {
        let cases = [
            ("already known", Answer::Taken),
            ("transaction already imported", Answer::Taken),
            ("nonce too low: next nonce 5, tx nonce 3", Answer::NonceUsed),
            ("replacement transaction underpriced", Answer::Underpriced),
            ("max fee per gas less than block base fee: address 0x..", Answer::Underpriced),
        ];
        for (text, meaning) in cases {
            assert_eq!(read(text), meaning, "{text}");
        }
        for text in
            ["insufficient funds for gas * price + value", "Insufficient funds for gas * price + value"]
        {
            assert!(matches!(read(text), Answer::Poor(_)), "{text}");
        }
        assert!(matches!(read("intrinsic gas too low: have 1, want 21000"), Answer::Refused(_)));
        assert!(matches!(read("the moon is full"), Answer::Failed(_)));
    }
}
