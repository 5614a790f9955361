//! Texts to tokens and back, by the vocabulary of a model's file.

/// The letter that stands for a byte in byte-level vocabularies, which have no unprintable letters.
pub(crate) fn byte_letter(byte: u8) -> char {
    let printable = |byte: u8| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    if printable(byte) {
        return char::from(byte);
    }
    // The others follow in order from U+0100 on.
    let before = (0..byte).filter(|&other| !printable(other)).count() as u32;
    char::from_u32(0x100 + before).expect("below the surrogates")
}
