//! Reads FASTA and FASTQ, in pieces of any size, and hands over the letters.

/// What takes the letters of the sequences.
pub trait Letters {
    /// A new sequence begins.
    fn restart(&mut self);
    /// More letters of the sequence; white space may be among them.
    fn letters(&mut self, letters: &[u8]);
}

/// Something in a file that its format does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The number of the line, from 1.
    pub line: u64,
    /// What is wrong there.
    pub what: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing read but white space.
    Start,
    /// In a FASTA header.
    FastaHeader,
    /// In FASTA sequence; whether a line begins here.
    Fasta { fresh: bool },
    /// In a FASTQ header.
    FastqHeader,
    /// In FASTQ sequence; whether a line begins here.
    Fastq { fresh: bool },
    /// In the line that begins with `+`.
    Plus,
    /// In the qualities.
    Quality,
    /// Between two FASTQ records.
    Between,
}

/// The reader, fed with the bytes of one file in order.
#[derive(Debug)]
pub struct Reader {
    state: State,
    line: u64,
    /// Letters of the FASTQ record.
    bases: u64,
    /// Qualities of the FASTQ record still due.
    due: u64,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader { state: State::Start, line: 1, bases: 0, due: 0 }
    }
}

impl Reader {
    fn fault<T>(&self, what: impl Into<String>) -> Result<T, Fault> {
        Err(Fault { line: self.line, what: what.into() })
    }

    /// Reads the next bytes of the file.
    pub fn feed(&mut self, bytes: &[u8], out: &mut impl Letters) -> Result<(), Fault> {
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            // A line, or what there is of it; `whole` is whether it ends here.
            let end = rest.iter().position(|&b| b == b'\n');
            let (part, whole) = end.map_or((rest, false), |end| (&rest[..end], true));
            self.part(part, first, whole, out)?;
            self.line += u64::from(whole);
            rest = end.map_or(&[], |end| &rest[end + 1..]);
        }
        Ok(())
    }

    fn part(&mut self, part: &[u8], first: u8, whole: bool, out: &mut impl Letters) -> Result<(), Fault> {
        let blank = part.iter().all(u8::is_ascii_whitespace);
        self.state = match self.state {
            State::Start | State::Between if blank => self.state,
            State::Start if first == b'>' => {
                out.restart();
                if whole { State::Fasta { fresh: true } } else { State::FastaHeader }
            }
            State::Start | State::Between if first == b'@' => {
                out.restart();
                self.bases = 0;
                if whole { State::Fastq { fresh: true } } else { State::FastqHeader }
            }
            State::Start => {
                return self.fault("neither FASTA (which begins with \">\") nor FASTQ (with \"@\")");
            }
            State::Between => {
                return self.fault("a FASTQ record should begin here with \"@\"");
            }
            State::FastaHeader if whole => State::Fasta { fresh: true },
            State::FastaHeader => State::FastaHeader,
            State::Fasta { fresh: true } if first == b'>' => {
                out.restart();
                if whole { State::Fasta { fresh: true } } else { State::FastaHeader }
            }
            State::Fasta { .. } => {
                out.letters(part);
                State::Fasta { fresh: whole }
            }
            State::FastqHeader if whole => State::Fastq { fresh: true },
            State::FastqHeader => State::FastqHeader,
            State::Fastq { fresh: true } if first == b'+' => {
                self.due = self.bases;
                if whole { self.qualities() } else { State::Plus }
            }
            State::Fastq { fresh: true } if first == b'@' || first == b'>' => {
                return self.fault("the FASTQ record above has no line with \"+\"");
            }
            State::Fastq { .. } => {
                out.letters(part);
                self.bases += dense(part);
                State::Fastq { fresh: whole }
            }
            State::Plus if whole => self.qualities(),
            State::Plus => State::Plus,
            State::Quality => {
                let here = dense(part);
                if here > self.due {
                    return self
                        .fault(format!("more qualities than the {} letters of the sequence", self.bases));
                }
                self.due -= here;
                if whole { self.qualities() } else { State::Quality }
            }
        };
        Ok(())
    }

    fn qualities(&self) -> State {
        if self.due == 0 { State::Between } else { State::Quality }
    }

    /// Checks that the file ended where it may.
    pub fn finish(self) -> Result<(), Fault> {
        match self.state {
            State::FastqHeader | State::Fastq { .. } | State::Plus => {
                self.fault("the file ends within a FASTQ record: its qualities are missing")
            }
            State::Quality if self.due > 0 => self.fault(format!(
                "the file ends within a FASTQ record: {} of {} qualities are missing",
                self.due, self.bases
            )),
            _ => Ok(()),
        }
    }
}

/// How many bytes are not white space.
fn dense(part: &[u8]) -> u64 {
    part.iter().filter(|b| !b.is_ascii_whitespace()).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Spy(String);

    impl Letters for Spy {
        fn restart(&mut self) {
            self.0.push('|');
        }
        fn letters(&mut self, letters: &[u8]) {
            self.0.extend(letters.iter().filter(|b| !b.is_ascii_whitespace()).map(|&b| char::from(b)));
        }
    }

    fn read(text: &str, piece: usize) -> Result<String, Fault> {
        let (mut reader, mut spy) = (Reader::default(), Spy::default());
        for bytes in text.as_bytes().chunks(piece) {
            reader.feed(bytes, &mut spy)?;
        }
        reader.finish().map(|()| spy.0)
    }

    #[test]
    fn pieces_of_any_size_read_the_same() {
        let cases = [
            (">a x\nACGT\nNN\n>b\r\nTT\r\n\r\nGG", "|ACGTNN|TTGG"),
            ("@r1\nACGT\n+\nII@I\n@r2\nGG\nTT\n+r2\n@I\n+>\n", "|ACGT|GGTT"),
            ("\n\n@r\r\nAC\r\n+\r\nII\r\n\r\n", "|AC"),
            ("@empty\n\n+\n\n@r\nA\n+\nI", "||A"),
            ("", ""),
            (">only", "|"),
        ];
        for (text, expected) in cases {
            for piece in 1..=text.len().max(1) {
                assert_eq!(read(text, piece).as_deref(), Ok(expected), "{text:?} by {piece}");
            }
        }
    }

    #[test]
    fn faults_name_the_line() {
        let fault = |text: &str| read(text, 1000).unwrap_err();
        assert_eq!(fault("ACGT").line, 1);
        assert_eq!(fault("@r\nACGT\n+\nIIIII\n").line, 4);
        assert!(fault("@r\nACGT\n+\nII").what.contains("2 of 4 qualities are missing"));
        assert!(fault("@r\nACGT\n@s\nA\n+\nI\n").what.contains("no line with"));
        assert_eq!(fault("@r\nA\n+\nI\nXX\n").line, 5);
    }
}
