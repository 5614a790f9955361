//! The words of a line, read one after the other as what they should be.

use crate::error::Error;
use crate::math::{Vec3, vec3};

/// The words of one line still to be read.
pub struct Words<'a> {
    /// The number of the line, from 1.
    pub line: usize,
    /// All its words.
    pub words: Vec<&'a str>,
    /// How many are read.
    pub next: usize,
}

/// What reading gives, or an error that names the line.
pub type Parsed<T> = Result<T, Error>;

impl<'a> Words<'a> {
    /// An error about this line.
    pub fn fail<T>(&self, what: impl Into<String>) -> Parsed<T> {
        Err(Error::Scene { line: self.line, what: what.into() })
    }

    /// The next word.
    pub fn word(&mut self) -> Option<&'a str> {
        let word = self.words.get(self.next).copied();
        self.next += 1;
        word
    }

    /// The next word, which must be there.
    pub fn name(&mut self, what: &str) -> Parsed<&'a str> {
        match self.word() {
            Some(word) => Ok(word),
            None => self.fail(format!("{what} is missing")),
        }
    }

    /// The next word as a number.
    pub fn number(&mut self, what: &str) -> Parsed<f64> {
        let Some(word) = self.word() else { return self.fail(format!("{what}: a number is missing")) };
        match word.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => self.fail(format!("{what}: \"{word}\" is not a number")),
        }
    }

    /// The next word as a number above zero.
    pub fn positive(&mut self, what: &str) -> Parsed<f64> {
        let number = self.number(what)?;
        if number > 0.0 { Ok(number) } else { self.fail(format!("{what} must be above 0, not {number}")) }
    }

    /// The next word as a whole number from 1 to `most`.
    pub fn count(&mut self, what: &str, most: u32) -> Parsed<u32> {
        let number = self.number(what)?;
        if number >= 1.0 && number <= f64::from(most) && number.fract() == 0.0 {
            Ok(number as u32)
        } else {
            self.fail(format!("{what} must be a whole number from 1 to {most}, not {number}"))
        }
    }

    /// The next three words as a vector or colour.
    pub fn vector(&mut self, what: &str) -> Parsed<Vec3> {
        Ok(vec3(self.number(what)?, self.number(what)?, self.number(what)?))
    }

    /// The next three words as a direction.
    pub fn direction(&mut self, what: &str) -> Parsed<Vec3> {
        let v = self.vector(what)?;
        if v.length() > 0.0 { Ok(v.unit()) } else { self.fail(format!("{what} must not be 0 0 0")) }
    }

    /// An error about a word that is not known here.
    pub fn unknown<T>(&self, word: &str, known: &str) -> Parsed<T> {
        self.fail(format!("unknown word \"{word}\"; expected {known}"))
    }
}
