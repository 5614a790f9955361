//! Which escrow is meant: by its id, or by how that begins.

use std::str::FromStr;

use tidemill_ledger::ours;
use tidemill_types::EscrowId;

use crate::{
    exit::{Code, Exit, WithCode},
    ledger::{Acting, TREASURY, address_of},
    money::escrows,
};

/// With fewer digits an id is easily another than the one that was meant.
const LEAST_DIGITS: usize = 4;

/// An escrow as a person names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Which {
    /// All of its id.
    Id(EscrowId),
    /// The first digits of its id, in lower case.
    Beginning(String),
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("0x").unwrap_or(text).to_ascii_lowercase();
        let is_short = (LEAST_DIGITS..64).contains(&digits.len());
        if is_short && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self::Beginning(digits));
        }
        text.parse().map(Self::Id).map_err(|_| {
            format!(
                "an escrow is named by the 64 digits of its id, or by the first {LEAST_DIGITS} or more of them; \
                 `tidemill escrow list` shows them"
            )
        })
    }
}

impl Which {
    /// The escrow. A beginning is looked for among those that the account has opened on its ledger.
    ///
    /// # Errors
    /// With [`Code::Usage`] when none begins like that, or several do; [`Code::Host`] when the ledger cannot be asked.
    pub async fn find(&self, acting: &Acting) -> anyhow::Result<EscrowId> {
        let beginning = match self {
            Self::Id(id) => return Ok(*id),
            Self::Beginning(digits) => digits,
        };
        let name = acting.account.entry_or(TREASURY)?.name.to_string();
        let account = address_of(&name)?;
        let ledger = acting.ledger.connect().await?;
        let opened = escrows(&ledger).await?.opened_by(ours(account)).await.code(Code::Host)?;
        pick(&opened, beginning, &name)
    }
}

fn pick(opened: &[EscrowId], beginning: &str, account: &str) -> anyhow::Result<EscrowId> {
    let like: Vec<EscrowId> =
        opened.iter().filter(|id| id.to_string()[2..].starts_with(beginning)).copied().collect();
    let message = match like.as_slice() {
        [id] => return Ok(*id),
        [] => format!("no escrow that {account} opened begins with 0x{beginning}"),
        several => format!("{} escrows that {account} opened begin with 0x{beginning}", several.len()),
    };
    Err(Exit::new(Code::Usage, message).hint("`tidemill escrow list --all` lists them").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(first: u8, last: u8) -> EscrowId {
        let mut bytes = [0; 32];
        (bytes[0], bytes[1], bytes[31]) = (first, 0xcd, last);
        EscrowId(bytes)
    }

    #[test]
    fn an_id_may_be_short() {
        let whole = id(0xab, 1);
        assert_eq!(whole.to_string().parse(), Ok(Which::Id(whole)));
        assert_eq!(whole.short().parse(), Ok(Which::Beginning("abcd0000".to_owned())));
        assert_eq!("ABCD".parse(), Ok(Which::Beginning("abcd".to_owned())));
        for wrong in ["", "0x", "abc", "abcg", "0xabcde ", &format!("{whole}0")] {
            assert!(wrong.parse::<Which>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_beginning_means_one_escrow_or_none() {
        let opened = [id(0xab, 1), id(0xab, 2), id(0x12, 3)];
        assert_eq!(pick(&opened, "12cd", "treasury").unwrap(), opened[2]);
        let error = |beginning| pick(&opened, beginning, "treasury").unwrap_err().to_string();
        assert_eq!(error("abcd"), "2 escrows that treasury opened begin with 0xabcd");
        assert_eq!(error("ffff"), "no escrow that treasury opened begins with 0xffff");
    }
}
