//! What must hold of every cut, whatever the file.

use std::{collections::BTreeMap, io::Cursor};

use proptest::prelude::*;

use super::*;

fn cut(text: &[u8], by: SplitBy, size: u64) -> Result<Vec<Vec<u8>>, SplitError> {
    let rules = SplitRules { by, size: ByteSize(size) };
    let pieces = split(Cursor::new(text), &rules, 1_000_000)?;
    Ok(pieces.iter().map(|ranges| content(text, ranges)).collect())
}

fn content(text: &[u8], ranges: &[ByteRange]) -> Vec<u8> {
    ranges.iter().flat_map(|range| &text[range.offset as usize..][..range.len as usize]).copied().collect()
}

fn texts(text: &str, by: SplitBy, size: u64) -> Vec<String> {
    let pieces = cut(text.as_bytes(), by, size).expect("the text can be cut");
    pieces.into_iter().map(|piece| String::from_utf8(piece).expect("pieces of ASCII are ASCII")).collect()
}

fn message(text: &str, by: SplitBy) -> String {
    cut(text.as_bytes(), by, 10).expect_err("the text is malformed").to_string()
}

#[test]
fn lines_stay_whole() {
    assert_eq!(texts("a\nbb\r\nccc", SplitBy::Lines, 1), ["a\n", "bb\r\n", "ccc"]);
    assert_eq!(texts("a\nbb\r\nccc", SplitBy::Lines, 3), ["a\nbb\r\n", "ccc"]);
    assert_eq!(texts("a\nbb\r\nccc", SplitBy::Lines, u64::MAX), ["a\nbb\r\nccc"]);
    assert_eq!(texts("\n\n", SplitBy::Lines, 1), ["\n", "\n"]);
    assert_eq!(texts("", SplitBy::Lines, 1), [""; 0]);
}

#[test]
fn a_separator_stays_with_what_is_before_it() {
    let separator = || SplitBy::Separator(b"\n\n".to_vec());
    assert_eq!(texts("a\nb\n\nc\n\nd", separator(), 1), ["a\nb\n\n", "c\n\n", "d"]);
    assert_eq!(texts("a\n\n\n\nb", separator(), 1), ["a\n\n", "\n\n", "b"]);
    assert_eq!(texts("ab", separator(), 1), ["ab"]);
}

#[test]
fn fasta_records_stay_whole_unless_an_overlap_is_given() {
    let text = "\n>a\nACGT\n>b\nAC\nGT\n>c\n";
    let whole = SplitBy::Fasta { overlap: None };
    assert_eq!(texts(text, whole.clone(), 1), ["\n>a\nACGT\n", ">b\nAC\nGT\n", ">c\n"]);
    assert_eq!(texts(text, whole.clone(), 10), ["\n>a\nACGT\n>b\nAC\nGT\n", ">c\n"]);
    assert_eq!(texts("\n\n\n\n>a\nA\n", whole, 1), ["\n\n\n\n>a\nA\n"]);

    let inside = SplitBy::Fasta { overlap: Some(1) };
    assert_eq!(texts(">a\nAC\nGTA\n>b\nC\n", inside, 2), [">a\nAC", ">a\nC\nGT", ">a\nTA\n", ">b\nC\n"]);
    assert_eq!(
        texts(">a\nACG\n>b\nC\n", SplitBy::Fasta { overlap: Some(0) }, 2),
        [">a\nAC", ">a\nG\n", ">b\nC\n"]
    );
}

#[test]
fn what_is_left_of_a_long_record_takes_the_next_ones_with_it() {
    let inside = SplitBy::Fasta { overlap: Some(2) };
    assert_eq!(
        texts(">a\nAAAAAAAAAACC\n>b\nG\n>c\nT\n", inside, 10),
        [">a\nAAAAAAAAAA", ">a\nAACC\n>b\nG\n", ">c\nT\n"]
    );
}

#[test]
fn fastq_records_have_four_lines_or_more() {
    let text = "@a\nAC\n+\n@I\n@b\nAC\nGT\n+b\nII\n@@\n\n@c\n\n+\n\n";
    assert_eq!(
        texts(text, SplitBy::Fastq, 1),
        ["@a\nAC\n+\n@I\n", "@b\nAC\nGT\n+b\nII\n@@\n\n", "@c\n\n+\n\n"]
    );
    let fastx = SplitBy::Fastx { overlap: Some(3) };
    assert_eq!(texts(text, fastx, 1), texts(text, SplitBy::Fastq, 1));
}

#[test]
fn what_is_no_sequence_file_is_refused_with_its_line() {
    let fasta = || SplitBy::Fasta { overlap: None };
    assert_eq!(
        message("\r\n\nACGT\n>a\n", fasta()),
        "line 3: text before the first record, which begins with 'A'; expected `>` and the record's name"
    );
    assert_eq!(
        message("@a\nAC\n+\nII\nAC\n", SplitBy::Fastq),
        "line 5: a record that begins with 'A'; expected `@` and the record's name"
    );
    assert_eq!(
        message("@a\nAC\n+\nIII\n", SplitBy::Fastq),
        "line 1: the record that begins here has 3 characters of quality for 2 bases; expected one for each base"
    );
    assert_eq!(
        message("@a\nAC\n+\nI", SplitBy::Fastq),
        "line 1: the file ends after 1 of 2 characters of quality; expected one for each base"
    );
    assert_eq!(
        message("@a\nAC\n", SplitBy::Fastq),
        "line 1: the file ends within the record that begins here; expected a line that begins with `+`"
    );
    assert_eq!(
        message("\nhello", SplitBy::Fastx { overlap: None }),
        "line 2: the file begins with 'h'; expected `>` (FASTA) or `@` (FASTQ)"
    );
}

#[test]
fn line_ends_of_old_macs_are_refused() {
    let lone = "a carriage return without a line feed; expected lines that end with a line feed";
    let records = ">a\rACGT\r>b\rGGCC\r";
    for overlap in [None, Some(2)] {
        assert_eq!(message(records, SplitBy::Fasta { overlap }), format!("line 1: {lone}"));
        let later = ">a\nAC\n>b\nGG\rCC\n";
        assert_eq!(message(later, SplitBy::Fasta { overlap }), format!("line 4: {lone}"));
    }
    assert_eq!(message("@a\rAC\r+\rII\r", SplitBy::Fastq), format!("line 1: {lone}"));
    assert_eq!(message("@a\nAC\n@b\rA\n", SplitBy::Fastq), format!("line 3: {lone}"));
    // More than one before a line feed are still that line's end.
    assert_eq!(texts(">a\r\r\nAC\r\r\n", SplitBy::Fasta { overlap: Some(0) }, 9), [">a\r\r\nAC\r\r\n"]);
}

#[test]
fn a_mark_within_a_sequence_is_refused() {
    let within = "a `>` inside of a sequence; expected a record's `>` at the beginning of a line";
    for overlap in [None, Some(0), Some(1)] {
        let fasta = || SplitBy::Fasta { overlap };
        assert_eq!(message(">a\nACGT>b\nGGCC\n", fasta()), format!("line 2: {within}"));
        assert_eq!(message(">a\nAC\n >b\nGT\n", fasta()), format!("line 3: {within}"));
        assert_eq!(message(">a\nA\n>b\nC\nG>\n", fasta()), format!("line 5: {within}"));
    }
    let fasta = SplitBy::Fasta { overlap: Some(1) };
    assert_eq!(texts(">a>b\nAC\n>>\nG\n", fasta, 50), [">a>b\nAC\n>>\nG\n"]);
}

#[test]
fn blanks_at_the_end_of_fastq_lines_are_no_bases() {
    let text = "@a\nACGT \n+\nIIII\t\r\n@b\nA\n+\nI\n";
    assert_eq!(texts(text, SplitBy::Fastq, 1), ["@a\nACGT \n+\nIIII\t\r\n", "@b\nA\n+\nI\n"]);
}

#[test]
fn what_is_no_text_of_bytes_is_refused_by_name() {
    let gzip = b"\x1f\x8b\x08\x00\x00\n\x00";
    for by in
        [SplitBy::Lines, SplitBy::Separator(b"\n".to_vec()), SplitBy::Fastq, SplitBy::Fasta { overlap: None }]
    {
        let error = cut(gzip, by, 1).expect_err("it is compressed");
        assert_eq!(error.to_string(), "it is compressed (gzip); unpack it first");
    }
    let wide: Vec<u8> = "a line\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let error = cut(&wide, SplitBy::Lines, 1).expect_err("it is UTF-16");
    assert_eq!(
        error.to_string(),
        "it is UTF-16 text, whose line ends are not single bytes; convert it to UTF-8 first"
    );
    // By bytes of one's own choice, any file can be cut.
    let pieces = cut(&wide, SplitBy::Separator(b"\n\0".to_vec()), 1).expect("it is one piece");
    assert_eq!(pieces, [wide]);
    assert_eq!(
        message("\u{feff}>a\nA\n", SplitBy::Fasta { overlap: None }),
        "line 1: text before the first record, which begins with a byte order mark; expected `>` and the record's name"
    );
}

#[test]
fn the_number_of_pieces_is_bounded() {
    let rules = SplitRules { by: SplitBy::Lines, size: ByteSize(1) };
    assert!(matches!(split(Cursor::new("a\nb\nc\n"), &rules, 2), Err(SplitError::TooManyPieces { most: 2 })));
    assert_eq!(split(Cursor::new("a\nb\n"), &rules, 2).expect("two are allowed").len(), 2);
}

#[test]
fn a_file_that_shrinks_meanwhile_is_an_error() {
    struct Shrunk;
    impl Read for Shrunk {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }
    }
    impl Seek for Shrunk {
        fn seek(&mut self, _: io::SeekFrom) -> io::Result<u64> {
            Ok(100)
        }
    }
    let rules = SplitRules { by: SplitBy::Lines, size: ByteSize(1) };
    assert!(matches!(split(Shrunk, &rules, 10), Err(SplitError::Read(_))));
}

/// A FASTA record: its name and the lines of its sequence.
fn record() -> impl Strategy<Value = String> {
    let line = ("[ACGTN]{0,12}", prop::sample::select(vec!["\n", "\r\n", " \n", "\n\n"]));
    ("[a-z>@+ ]{0,6}", "\r?\n", prop::collection::vec(line, 0..8)).prop_map(|(name, end, lines)| {
        let lines: String = lines.into_iter().map(|(bases, end)| bases + end).collect();
        format!(">{name}{end}{lines}")
    })
}

fn fasta() -> impl Strategy<Value = String> {
    prop::collection::vec(record(), 0..8).prop_map(|records| records.concat())
}

/// Each k-mer of each record, with how often it occurs.
fn kmers(fasta: &str, k: usize, counts: &mut BTreeMap<String, u32>) {
    for record in format!("\n{fasta}").split("\n>").skip(1) {
        let sequence: String =
            record.split_once('\n').map_or("", |(_, s)| s).split(['\n', '\r', ' ']).collect();
        for start in 0..(sequence.len() + 1).saturating_sub(k) {
            *counts.entry(sequence[start..start + k].to_owned()).or_default() += 1;
        }
    }
}

proptest! {
    #[test]
    fn pieces_of_lines_and_separators_are_the_file(
        text in "[ab\r\n]{0,80}",
        separator in "[ab\n]{1,4}",
        size in 1u64..40,
    ) {
        for by in [SplitBy::Lines, SplitBy::Separator(separator.clone().into_bytes())] {
            let end = if by == SplitBy::Lines { "\n" } else { separator.as_str() };
            let pieces = texts(&text, by, size);
            prop_assert_eq!(pieces.concat(), text.clone());
            for (i, piece) in pieces.iter().enumerate() {
                prop_assert!(i + 1 == pieces.len() || (piece.ends_with(end) && piece.len() as u64 >= size));
                // Without its last record, a piece is too small.
                let before = piece.strip_suffix(end).unwrap_or(piece);
                let shorter = before.rfind(end).map_or(0, |at| at + end.len());
                prop_assert!((shorter as u64) < size || piece.len() < shorter);
            }
        }
    }

    #[test]
    fn no_line_is_lost_or_doubled(lines in prop::collection::vec("[a-z]{0,9}", 0..40), size in 1u64..60) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let pieces = texts(&text, SplitBy::Lines, size);
        let again: Vec<&str> = pieces.iter().flat_map(|piece| piece.lines()).collect();
        prop_assert_eq!(again, lines);
    }

    #[test]
    fn whole_fasta_records_are_the_file(text in fasta(), size in 1u64..60) {
        let pieces = texts(&text, SplitBy::Fasta { overlap: None }, size);
        prop_assert_eq!(pieces.concat(), text);
        prop_assert!(pieces.iter().all(|piece| piece.starts_with('>')));
        prop_assert!(pieces.iter().rev().skip(1).all(|piece| piece.len() as u64 >= size));
    }

    #[test]
    fn every_kmer_is_in_exactly_one_piece(text in fasta(), k in 1usize..8, more in 0u64..30) {
        let overlap = k as u64 - 1;
        let size = overlap + 1 + more;
        let (mut whole, mut cut) = (BTreeMap::new(), BTreeMap::new());
        kmers(&text, k, &mut whole);
        for piece in texts(&text, SplitBy::Fasta { overlap: Some(overlap) }, size) {
            prop_assert!(piece.starts_with('>'));
            kmers(&piece, k, &mut cut);
        }
        prop_assert_eq!(whole, cut);
    }

    #[test]
    fn fastq_pieces_are_the_file(
        records in prop::collection::vec(("[a-z ]{0,5}", prop::collection::vec("[ACGT]{1,9}", 0..4), "\r?\n"), 0..8),
        quality in "[@+I!>]{40}",
        size in 1u64..80,
    ) {
        let mut text = String::new();
        for (name, lines, end) in &records {
            let qualities = lines.iter().map(|line| format!("{}{end}", &quality[..line.len()]));
            let bases = lines.iter().map(|line| format!("{line}{end}"));
            text += &format!("@{name}{end}{}+{end}{}", bases.collect::<String>(), qualities.collect::<String>());
        }
        let pieces = texts(&text, SplitBy::Fastq, size);
        prop_assert_eq!(pieces.concat(), text);
        prop_assert!(pieces.iter().rev().skip(1).all(|piece| piece.len() as u64 >= size));
        // Each piece is FASTQ, and has as many records as it should: the pieces of the pieces are all.
        let again: usize = pieces.iter().map(|piece| texts(piece, SplitBy::Fastq, 1).len()).sum();
        prop_assert_eq!(again, records.len());
    }

    #[test]
    fn small_buffers_change_nothing(text in fasta(), k in 1u64..6, more in 0u64..20, capacity in 1usize..30) {
        let mut pieces = [1 << 10, capacity].map(|capacity| {
            let mut window = Window::with_capacity(Cursor::new(&text), capacity).expect("memory can be read");
            let mut pieces = PiecesBuilder { pieces: Pieces::default(), most: 1_000 };
            fasta::split(&mut window, k + more, Some(k - 1), &mut pieces).expect("the text is FASTA");
            pieces.pieces
        });
        pieces.sort_by_key(Pieces::len);
        prop_assert_eq!(&pieces[0], &pieces[1]);
    }
}
