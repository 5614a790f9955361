//! Decides whether a licence expression (SPDX, and the older `A/B`) can be satisfied by allowed licences.

/// True when the expression can be satisfied: of an `OR` one side, of an `AND` both. `AND` binds tighter.
/// `allowed` is asked for each licence, with its exception where it has one (`A WITH B`).
/// An expression that cannot be read is an error that quotes what stood in the way.
pub fn satisfied(expression: &str, allowed: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser { tokens: &tokens, allowed };
    let result = parser.any_of()?;
    match parser.tokens.first() {
        None => Ok(result),
        Some(token) => Err(format!("unexpected `{token}`")),
    }
}

struct Parser<'a> {
    tokens: &'a [&'a str],
    allowed: &'a dyn Fn(&str) -> bool,
}

impl<'a> Parser<'a> {
    fn any_of(&mut self) -> Result<bool, String> {
        let mut result = self.all_of()?;
        while self.skip("OR") {
            // Both sides are read whatever the first one says, since reading moves on.
            result |= self.all_of()?;
        }
        Ok(result)
    }

    fn all_of(&mut self) -> Result<bool, String> {
        let mut result = self.one()?;
        while self.skip("AND") {
            result &= self.one()?;
        }
        Ok(result)
    }

    fn one(&mut self) -> Result<bool, String> {
        if self.skip("(") {
            let result = self.any_of()?;
            return if self.skip(")") { Ok(result) } else { Err("`(` is not closed".to_owned()) };
        }
        let licence = self.licence()?;
        if self.skip("WITH") {
            let exception = self.licence()?;
            return Ok((self.allowed)(&format!("{licence} WITH {exception}")));
        }
        Ok((self.allowed)(licence))
    }

    fn licence(&mut self) -> Result<&'a str, String> {
        let Some((&token, rest)) = self.tokens.split_first() else {
            return Err("a licence is missing at the end".to_owned());
        };
        if ["OR", "AND", "WITH", "(", ")"].contains(&token) {
            return Err(format!("a licence is missing before `{token}`"));
        }
        self.tokens = rest;
        Ok(token)
    }

    fn skip(&mut self, word: &str) -> bool {
        match self.tokens.split_first() {
            Some((&token, rest)) if token == word => {
                self.tokens = rest;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_mit_and_bsd(expression: &str) -> Result<bool, String> {
        satisfied(expression, &|licence| ["MIT", "BSD-3-Clause", "Apache-2.0 WITH X"].contains(&licence))
    }

    #[test]
    fn one_side_of_or_suffices() {
        assert_eq!(with_mit_and_bsd("MIT"), Ok(true));
        assert_eq!(with_mit_and_bsd("GPL-3.0"), Ok(false));
        assert_eq!(with_mit_and_bsd("GPL-3.0 OR MIT"), Ok(true));
        assert_eq!(with_mit_and_bsd("GPL-3.0/MIT"), Ok(true));
        assert_eq!(with_mit_and_bsd("GPL-3.0 / GPL-2.0"), Ok(false));
    }

    #[test]
    fn and_needs_both_and_binds_tighter() {
        assert_eq!(with_mit_and_bsd("MIT AND BSD-3-Clause"), Ok(true));
        assert_eq!(with_mit_and_bsd("MIT AND GPL-3.0"), Ok(false));
        assert_eq!(with_mit_and_bsd("MIT OR BSD-3-Clause AND GPL-3.0"), Ok(true));
        assert_eq!(with_mit_and_bsd("(MIT OR BSD-3-Clause) AND GPL-3.0"), Ok(false));
        assert_eq!(with_mit_and_bsd("(MIT OR GPL-3.0) AND (BSD-3-Clause)"), Ok(true));
    }

    #[test]
    fn an_exception_belongs_to_its_licence() {
        assert_eq!(with_mit_and_bsd("Apache-2.0 WITH X"), Ok(true));
        assert_eq!(with_mit_and_bsd("Apache-2.0"), Ok(false));
        assert_eq!(with_mit_and_bsd("MIT WITH X"), Ok(false));
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        for expression in ["", "MIT OR", "(MIT", "MIT MIT", "AND MIT", "MIT)", "MIT WITH"] {
            assert!(with_mit_and_bsd(expression).is_err(), "{expression}");
        }
    }
}
