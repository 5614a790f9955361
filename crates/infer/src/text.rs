//! From an answer's tokens to the text that people see: whole characters only, and nothing of a stop string.

/// Gathers bytes and gives out text.
#[derive(Clone, Debug, Default)]
pub struct TextStream {
    stops: Vec<String>,
    bytes: Vec<u8>,
    /// Text that may begin a stop string.
    held: String,
    stopped: bool,
}

impl TextStream {
    /// One that ends before the first of these strings; empty ones are ignored.
    pub fn new(stops: &[String]) -> Self {
        let stops = stops.iter().filter(|stop| !stop.is_empty()).cloned().collect();
        Self { stops, ..Self::default() }
    }

    /// True once a stop string was found: nothing more comes out.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Takes a token's bytes; returns the text that is now certain.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        if self.stopped {
            return String::new();
        }
        self.bytes.extend(bytes);
        self.take_characters(false);
        self.release()
    }

    /// The rest, at the end of an answer.
    pub fn finish(&mut self) -> String {
        if self.stopped {
            return String::new();
        }
        self.take_characters(true);
        let mut text = self.release();
        text.push_str(&std::mem::take(&mut self.held));
        text
    }

    /// Moves whole characters from the bytes to the text. What can never become one is replaced, and at the end also what
    /// is cut.
    fn take_characters(&mut self, at_end: bool) {
        loop {
            match std::str::from_utf8(&self.bytes) {
                Ok(text) => {
                    self.held.push_str(text);
                    self.bytes.clear();
                    return;
                }
                Err(error) => {
                    let valid = error.valid_up_to();
                    self.held.push_str(&String::from_utf8_lossy(&self.bytes[..valid]));
                    self.bytes.drain(..valid);
                    let wrong = match error.error_len() {
                        Some(len) => len,
                        None if at_end => self.bytes.len(),
                        None => return,
                    };
                    self.bytes.drain(..wrong);
                    self.held.push(char::REPLACEMENT_CHARACTER);
                }
            }
        }
    }

    /// Gives out what precedes a stop string, or what cannot be part of one.
    fn release(&mut self) -> String {
        // The stop that was complete first, however the text came in pieces.
        let places = self.stops.iter().filter_map(|stop| Some((self.held.find(stop.as_str())?, stop.len())));
        if let Some((_, at)) = places.map(|(at, len)| (at + len, at)).min() {
            self.stopped = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let begins_stop = |&at: &usize| self.stops.iter().any(|stop| stop.starts_with(&self.held[at..]));
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let from = self.held.len().saturating_sub(longest);
        let mut places = (from..self.held.len()).filter(|&at| self.held.is_char_boundary(at));
        let keep = places.find(begins_stop).unwrap_or(self.held.len());
        let rest = self.held.split_off(keep);
        std::mem::replace(&mut self.held, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(stops: &[&str], pieces: &[&[u8]]) -> (Vec<String>, bool) {
        let mut stream = TextStream::new(&stops.iter().map(|&stop| stop.to_owned()).collect::<Vec<_>>());
        let mut out: Vec<String> = pieces.iter().map(|piece| stream.push(piece)).collect();
        out.push(stream.finish());
        (out, stream.is_stopped())
    }

    fn texts(stops: &[&str], pieces: &[&[u8]]) -> Vec<String> {
        stream(stops, pieces).0
    }

    #[test]
    fn only_whole_characters_come_out() {
        assert_eq!(texts(&[], &[b"a\xf0\x9f", b"\xa6", b"\x80b"]), ["a", "", "🦀b", ""]);
        assert_eq!(texts(&[], &[b"a\xff\xc3", b"("]), ["a\u{fffd}", "\u{fffd}(", ""]);
        assert_eq!(texts(&[], &[b"x\xe2\x82"]), ["x", "\u{fffd}"]);
    }

    #[test]
    fn what_may_begin_a_stop_is_held_back() {
        assert_eq!(texts(&["END"], &[b"aE", b"N", b"X", b"E"]), ["a", "", "ENX", "", "E"]);
        assert_eq!(
            stream(&["END", "\n\n"], &[b"one\n", b"\nEND"]),
            (vec!["one".into(), String::new(), String::new()], true)
        );
        assert_eq!(
            stream(&["ENDE", "D"], &[b"EN", b"DE"]),
            (vec![String::new(), "EN".into(), String::new()], true)
        );
        assert_eq!(texts(&["é"], &[b"a\xc3", b"\xa8"]), ["a", "è", ""]);
    }

    #[test]
    fn empty_stops_are_ignored() {
        assert_eq!(stream(&[""], &[b"abc"]), (vec!["abc".into(), String::new()], false));
    }
}
