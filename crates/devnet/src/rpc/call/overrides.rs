//! What a call may find other than it is.

use alloy::primitives::{Address, B256, U64, U256};
use alloy::rpc::types::state::StateOverride;
use jsonrpsee::types::params::ParamsSequence;
use revm::context::BlockEnv;
use serde::Deserialize;

use crate::rpc::error::{Answer, invalid};

/// Accounts and the block, as a call is to find them.
#[derive(Clone, Debug, Default)]
pub(in crate::rpc) struct Overrides {
    pub state: StateOverride,
    pub block: BlockOverride,
}

/// The fields of a block that a call is to find. A field that is not here is refused, not ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::rpc) struct BlockOverride {
    #[serde(alias = "blockNumber")]
    number: Option<U256>,
    #[serde(alias = "timestamp")]
    time: Option<U256>,
    gas_limit: Option<U64>,
    #[serde(alias = "coinbase")]
    fee_recipient: Option<Address>,
    #[serde(alias = "random")]
    prev_randao: Option<B256>,
    #[serde(alias = "baseFee")]
    base_fee_per_gas: Option<U64>,
}

impl BlockOverride {
    pub(super) fn change(&self, env: &mut BlockEnv) {
        env.number = self.number.unwrap_or(env.number);
        env.timestamp = self.time.unwrap_or(env.timestamp);
        env.gas_limit = self.gas_limit.map_or(env.gas_limit, |gas| gas.to());
        env.beneficiary = self.fee_recipient.unwrap_or(env.beneficiary);
        env.prevrandao = self.prev_randao.or(env.prevrandao);
        env.basefee = self.base_fee_per_gas.map_or(env.basefee, |fee| fee.to());
    }
}

impl Overrides {
    /// The third parameter of a call, and the fourth where the method has one.
    pub(super) fn read(params: &mut ParamsSequence<'_>, with_block: bool) -> Answer<Self> {
        let state = params.optional_next::<StateOverride>()?.unwrap_or_default();
        let block = match with_block {
            true => params.optional_next::<BlockOverride>()?.unwrap_or_default(),
            false => BlockOverride::default(),
        };
        if params.optional_next::<serde_json::Value>()?.is_some() {
            return Err(invalid(format!("too many arguments, want at most {}", 3 + u8::from(with_block))));
        }
        Ok(Self { state, block })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_the_names_that_clients_give_them() {
        let read = |text: &str| serde_json::from_str::<BlockOverride>(text);
        let time = BlockOverride { time: Some(U256::from(7)), ..BlockOverride::default() };
        assert_eq!(read(r#"{"time":"0x7"}"#).expect("a field"), time);
        assert_eq!(read(r#"{"timestamp":"0x7"}"#).expect("a field"), time);
        assert!(read(r#"{"nonsense":1}"#).is_err());
        assert!(read(r#"{"blobBaseFee":"0x1"}"#).is_err());
    }
}
