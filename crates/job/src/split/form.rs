//! What a file is by its first bytes, where cutting it as text would make nonsense of it.

use std::fmt;

/// What the beginning of a file says of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// Bytes, or text of a byte a character.
    Plain,
    /// It is compressed.
    Compressed(Compression),
    /// Text of two or four bytes a character.
    Wide(WideText),
}

/// How a file is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// gzip, and BGZF, which is gzip.
    Gzip,
    /// bzip2
    Bzip2,
    /// xz
    Xz,
    /// Zstandard
    Zstd,
    /// LZ4 frames
    Lz4,
    /// A zip archive.
    Zip,
}

/// An encoding of more than a byte for each character.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WideText {
    /// UTF-16, of either order.
    Utf16,
    /// UTF-32, of either order.
    Utf32,
}

const COMPRESSED: &[(&[u8], Compression)] = &[
    (&[0x1f, 0x8b, 0x08], Compression::Gzip),
    (b"BZh", Compression::Bzip2),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0x00], Compression::Xz),
    (&[0x28, 0xb5, 0x2f, 0xfd], Compression::Zstd),
    (&[0x04, 0x22, 0x4d, 0x18], Compression::Lz4),
    (b"PK\x03\x04", Compression::Zip),
];

/// In a bzip2 file, after `BZh` and a digit: the first block, or the end where there is none.
const BZIP2_BLOCKS: [&[u8]; 2] =
    [&[0x31, 0x41, 0x59, 0x26, 0x53, 0x59], &[0x17, 0x72, 0x45, 0x38, 0x50, 0x90]];

/// How many bytes are looked at for zeros.
const LOOKED_AT: usize = 4096;

/// What follows the first byte of a frame that a decoder of zstd is to skip; that one is 0x50 to 0x5f (RFC 8878, 3.1.2).
/// Tools that compress in parallel begin their files with one.
const SKIPPED_FRAME: &[u8] = &[0x2a, 0x4d, 0x18];

impl Form {
    /// What a file is, by as many of its first bytes as are at hand.
    pub fn of(beginning: &[u8]) -> Self {
        if let [0x50..=0x5f, rest @ ..] = beginning
            && rest.starts_with(SKIPPED_FRAME)
        {
            return Self::Compressed(Compression::Zstd);
        }
        let found = COMPRESSED.iter().find(|(magic, _)| beginning.starts_with(magic));
        match found {
            // Three letters alone may begin a text.
            Some((_, Compression::Bzip2)) if !is_bzip2(beginning) => {}
            Some((_, compression)) => return Self::Compressed(*compression),
            None => {}
        }
        if let Some(encoding) = wide(&beginning[..beginning.len().min(LOOKED_AT)]) {
            return Self::Wide(encoding);
        }
        Self::Plain
    }
}

fn is_bzip2(beginning: &[u8]) -> bool {
    let block = beginning.get(4..10);
    beginning.get(3).is_some_and(u8::is_ascii_digit)
        && block.is_some_and(|block| BZIP2_BLOCKS.contains(&block))
}

/// By a byte order mark, or by zeros where those of Latin text would be.
fn wide(beginning: &[u8]) -> Option<WideText> {
    if beginning.starts_with(&[0xff, 0xfe, 0, 0]) || beginning.starts_with(&[0, 0, 0xfe, 0xff]) {
        return Some(WideText::Utf32);
    }
    if beginning.starts_with(&[0xff, 0xfe]) || beginning.starts_with(&[0xfe, 0xff]) {
        return Some(WideText::Utf16);
    }
    // Only the zeros of all characters but a few count: a binary file has zeros in all places.
    let zeros = |width: usize, place: usize| {
        let characters = beginning.len() / width;
        let zeros = beginning.chunks_exact(width).filter(|character| character[place] == 0).count();
        (characters, zeros)
    };
    let is_zero = |(characters, zeros): (usize, usize)| characters > 0 && zeros * 10 >= characters * 9;
    let has_text = |(characters, zeros): (usize, usize)| characters >= 4 && zeros * 10 <= characters;
    for (width, encoding) in [(4, WideText::Utf32), (2, WideText::Utf16)] {
        for text in [0, width - 1] {
            let others = (0..width).filter(|place| *place != text);
            if has_text(zeros(width, text)) && others.into_iter().all(|place| is_zero(zeros(width, place))) {
                return Some(encoding);
            }
        }
    }
    None
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Zip => "zip",
        })
    }
}

impl fmt::Display for WideText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Utf16 => "UTF-16",
            Self::Utf32 => "UTF-32",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressed_files_are_known_by_their_content() {
        for (beginning, expected) in [
            (&b"\x1f\x8b\x08\x00rest"[..], Compression::Gzip),
            (b"BZh91AY&SYrest", Compression::Bzip2),
            (b"BZh9\x17\x72\x45\x38\x50\x90", Compression::Bzip2),
            (b"\xfd7zXZ\x00\x00", Compression::Xz),
            (b"\x28\xb5\x2f\xfd\x24", Compression::Zstd),
            (b"\x50\x2a\x4d\x18\x04\x00\x00\x00", Compression::Zstd),
            (b"\x04\x22\x4d\x18", Compression::Lz4),
            (b"PK\x03\x04", Compression::Zip),
        ] {
            assert_eq!(Form::of(beginning), Form::Compressed(expected));
        }
        for plain in [&b"BZh is a word\n"[..], b"\x1f\x8b", b"PK", b"", b"a\n"] {
            assert_eq!(Form::of(plain), Form::Plain, "{plain:?}");
        }
    }

    #[test]
    fn text_of_wide_characters_is_known_with_and_without_a_mark() {
        let text = "name,value\nfirst,1\n";
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let utf16_big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let utf32: Vec<u8> = text.chars().flat_map(|one| u32::from(one).to_le_bytes()).collect();
        let utf32_big: Vec<u8> = text.chars().flat_map(|one| u32::from(one).to_be_bytes()).collect();
        assert_eq!(Form::of(&utf16), Form::Wide(WideText::Utf16));
        assert_eq!(Form::of(&utf16_big), Form::Wide(WideText::Utf16));
        assert_eq!(Form::of(&utf32), Form::Wide(WideText::Utf32));
        assert_eq!(Form::of(&utf32_big), Form::Wide(WideText::Utf32));
        assert_eq!(Form::of(&[&[0xff, 0xfe][..], &utf16].concat()), Form::Wide(WideText::Utf16));
        assert_eq!(Form::of(&[&[0xff, 0xfe, 0, 0][..], &utf32].concat()), Form::Wide(WideText::Utf32));
        let binary: Vec<u8> = (0..200u8).map(|byte| if byte % 3 == 0 { 0 } else { byte }).collect();
        assert_eq!(Form::of(&binary), Form::Plain);
        assert_eq!(Form::of(&[0; 100]), Form::Plain);
    }
}
