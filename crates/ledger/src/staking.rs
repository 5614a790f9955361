//! Stake as its owners see it: what an account has where, and the calls that move it.
//!
//! Reads the contract and the events of its past; sends nothing. A call that takes TIDE carries a permit, so that
//! approval and entry are one transaction.

mod history;
mod keys;
mod moves;
mod slashing;

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    signers::local::PrivateKeySigner,
    sol,
    sol_types::{Eip712Domain, SolCall, SolStruct, eip712_domain},
};
use tidemill_types::Amount;

use self::history::History;
pub use self::{
    keys::VoucherKey,
    moves::Moved,
    slashing::{Reach, Slashers},
};
use crate::{
    AddressBook, BookError, Chain, ChainError,
    contracts::{IProviderStaking, ProviderStaking, Tide, sign},
    escrow::narrow,
    permit::with_permit,
};

/// What an operator does, and so which bond answers for it. The numbers are the contract's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Role {
    /// Runs tasks.
    Provider = 0,
    /// Places tasks, and signs vouchers.
    Coordinator = 1,
}

/// A pool of stake, by its kind and its operator.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Pool {
    /// An operator's own bond.
    Bond(Role, Address),
    /// Others' stake behind a provider.
    Delegation(Address),
}

/// What an account has in one pool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Position {
    /// The pool.
    pub pool: Pool,
    /// Its shares.
    pub shares: U256,
    /// What an exit would set aside now.
    pub value: Amount,
}

/// Stake on its way out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Thaw {
    /// Names it on the ledger.
    pub id: B256,
    /// Where it comes from.
    pub pool: Pool,
    /// When it can be withdrawn, in seconds since 1970 by the chain's clock.
    pub end: u64,
    /// What it is worth after every slash so far.
    pub value: Amount,
}

/// All that an account has at stake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Portfolio {
    /// TIDE that is not at stake.
    pub free: Amount,
    /// What it has earned as a provider and can withdraw.
    pub earned: Amount,
    /// Own bonds and delegations that are worth something, sorted by pool.
    pub positions: Vec<Position>,
    /// Those not withdrawn yet, by their ends.
    pub thaws: Vec<Thaw>,
    /// Stake that moved between providers and is not settled, by its end.
    pub moves: Vec<Moved>,
    /// The time of the chain's last block, in seconds since 1970.
    pub now: u64,
}

/// The staking contract of a ledger.
pub struct Staking {
    chain: Chain,
    staking: Address,
    tide: Address,
    deployed: u64,
}

/// Why stake could not be read.
#[derive(Debug, thiserror::Error)]
pub enum StakingError {
    /// The address book does not name what is needed.
    #[error("the address book lacks a contract")]
    Book(#[source] BookError),
    /// The ledger did not answer, or not well.
    #[error("cannot read {what}")]
    Read {
        /// What was asked for.
        what: &'static str,
        /// Why.
        #[source]
        source: ChainError,
    },
    /// The contract answered with more than there can be.
    #[error("the contract says that {what} is {found}, more than all TIDE that can exist")]
    TooMuch {
        /// What was asked for.
        what: &'static str,
        /// The answer.
        found: U256,
    },
    /// The account has nothing there.
    #[error("the account has no stake in {pool}")]
    NoStake {
        /// Where.
        pool: Pool,
    },
    /// The account has less than that there.
    #[error("the account has {value} in {pool}, which is less than {wanted}")]
    TooLittle {
        /// Where.
        pool: Pool,
        /// What it has.
        value: Amount,
        /// What was wanted.
        wanted: Amount,
    },
}

/// What prices the first entry into a pool; that of contracts/src/libraries/SharePool.sol.
const VIRTUAL_SHARES: U256 = U256::from_limbs([1_000, 0, 0, 0]);

sol! {
    /// What a result key signs to belong to an operator.
    struct ResultKeyBinding {
        address operator;
        bytes32 nodeKey;
        address resultKey;
    }

    /// What a voucher key signs to belong to a coordinator.
    struct VoucherKeyBinding {
        address coordinator;
        address voucherKey;
    }
}

impl Staking {
    /// The contract that the address book names.
    ///
    /// # Errors
    /// [`StakingError::Book`] when it names none.
    pub fn new(chain: Chain, book: &AddressBook) -> Result<Self, StakingError> {
        let address = |name| book.address(name).map_err(StakingError::Book);
        Ok(Self {
            staking: address("ProviderStaking")?,
            tide: address("Tide")?,
            deployed: book.deployment_block,
            chain,
        })
    }

    /// Where it is.
    pub fn address(&self) -> Address {
        self.staking
    }

    /// All that an account has.
    ///
    /// # Errors
    /// [`StakingError::Read`] when the ledger does not answer.
    pub async fn portfolio(&self, account: Address) -> Result<Portfolio, StakingError> {
        let history = History::of(&self.chain, self.staking, self.deployed, account).await?;
        let mut positions = Vec::new();
        for pool in history.pools {
            let position = self.position(pool, account).await?;
            if position.shares != U256::ZERO {
                positions.push(position);
            }
        }
        let mut thaws = Vec::new();
        for (id, pool) in history.thaws {
            let request = self.thaw(id).await?;
            if request.owner == account {
                let value = amount("a thaw", request.value)?;
                thaws.push(Thaw { id, pool, end: request.end.to(), value });
            }
        }
        thaws.sort_by_key(|thaw| (thaw.end, thaw.id));
        let moves = self.moved(history.moves, account).await?;
        let free = self.free(account).await?;
        let call = ProviderStaking::operatorRecordCall { operator: account };
        let record = self.read("the earnings", self.staking, call).await?;
        let now = self.chain.now().await.map_err(|source| StakingError::Read { what: "the time", source })?;
        Ok(Portfolio {
            free,
            earned: amount("the earnings", U256::from(record.earned))?,
            positions,
            thaws,
            moves,
            now,
        })
    }

    /// The TIDE of an account that is neither at stake nor locked.
    ///
    /// # Errors
    /// [`StakingError::Read`] when the ledger does not answer.
    pub async fn free(&self, account: Address) -> Result<Amount, StakingError> {
        amount("the balance", self.read("the balance", self.tide, Tide::balanceOfCall { account }).await?)
    }

    /// What an account has in a pool.
    ///
    /// # Errors
    /// [`StakingError::Read`] when the ledger does not answer.
    pub async fn position(&self, pool: Pool, holder: Address) -> Result<Position, StakingError> {
        let id = pool.id();
        let shares =
            self.read("shares", self.staking, ProviderStaking::sharesOfCall { pool: id, holder }).await?;
        let value =
            self.read("a stake", self.staking, ProviderStaking::valueOfCall { pool: id, holder }).await?;
        Ok(Position { pool, shares, value: amount("a stake", value)? })
    }

    /// Whether an account has taken up a role.
    ///
    /// # Errors
    /// [`StakingError::Read`] when the ledger does not answer.
    pub async fn is_registered(&self, role: Role, operator: Address) -> Result<bool, StakingError> {
        let call = ProviderStaking::isRegisteredCall { role: role as u8, operator };
        self.read("the registration", self.staking, call).await
    }

    /// The call that makes an account a provider. The result key signs that it is the operator's.
    ///
    /// `commission_ppm`: what it keeps of its delegators' part of its pay, in parts per million.
    pub fn register_provider(
        &self,
        operator: Address,
        metadata: B256,
        commission_ppm: u32,
        node_key: B256,
        result_key: &PrivateKeySigner,
    ) -> Vec<u8> {
        let statement = ResultKeyBinding { operator, nodeKey: node_key, resultKey: result_key.address() };
        let signature = sign(result_key, &statement.eip712_signing_hash(&self.domain()));
        let keys = IProviderStaking::KeyBinding {
            nodeKey: node_key,
            resultKey: result_key.address(),
            signature: Bytes::from(signature.as_bytes().to_vec()),
        };
        ProviderStaking::registerProviderCall { metadataHash: metadata, commission: commission_ppm, keys }
            .abi_encode()
    }

    /// The call that makes an account a coordinator.
    pub fn register_coordinator(&self, metadata: B256) -> Vec<u8> {
        ProviderStaking::registerCoordinatorCall { metadataHash: metadata }.abi_encode()
    }

    /// The call with which a provider says how much may be delegated to it; zero closes its pool to entries.
    pub fn set_max_delegated(&self, most: Amount) -> Vec<u8> {
        ProviderStaking::setMaxDelegatedCall { most: narrow(most) }.abi_encode()
    }

    /// The call with which a coordinator binds a key that signs vouchers for it. The key signs that it is the
    /// coordinator's.
    pub fn bind_voucher_key(&self, coordinator: Address, key: &PrivateKeySigner) -> Vec<u8> {
        let statement = VoucherKeyBinding { coordinator, voucherKey: key.address() };
        let signature = sign(key, &statement.eip712_signing_hash(&self.domain()));
        ProviderStaking::bindVoucherKeyCall {
            voucherKey: key.address(),
            signature: Bytes::from(signature.as_bytes().to_vec()),
        }
        .abi_encode()
    }

    /// What is signed for this contract is signed in this domain.
    fn domain(&self) -> Eip712Domain {
        eip712_domain! {
            name: "Tidemill ProviderStaking",
            version: "1",
            chain_id: self.chain.chain_id(),
            verifying_contract: self.staking,
        }
    }

    /// The call that adds to an own bond, with its permit.
    ///
    /// # Errors
    /// [`StakingError::Read`] when the ledger does not answer.
    pub async fn bond(
        &self,
        owner: &PrivateKeySigner,
        role: Role,
        amount: Amount,
    ) -> Result<Vec<u8>, StakingError> {
        let entry = ProviderStaking::bondCall { role: role as u8, amount: U256::from(amount.wei()) };
        self.with_permit(owner, amount, entry.abi_encode()).await
    }

    /// The call that adds to the stake behind a provider, with its permit.
    ///
    /// # Errors
    /// [`StakingError::Read`] when the ledger does not answer.
    pub async fn delegate(
        &self,
        owner: &PrivateKeySigner,
        provider: Address,
        amount: Amount,
    ) -> Result<Vec<u8>, StakingError> {
        let entry = ProviderStaking::delegateCall { provider, amount: U256::from(amount.wei()) };
        self.with_permit(owner, amount, entry.abi_encode()).await
    }

    /// The call that lets stake thaw: all of it, or as many shares as are worth at least so much.
    ///
    /// # Errors
    /// [`StakingError::NoStake`] or [`StakingError::TooLittle`] when the account has not that much there.
    pub async fn leave(
        &self,
        pool: Pool,
        holder: Address,
        wanted: Option<Amount>,
    ) -> Result<Vec<u8>, StakingError> {
        let (shares, _) = self.shares_for(pool, holder, wanted).await?;
        Ok(match pool {
            Pool::Bond(role, _) => ProviderStaking::unbondCall { role: role as u8, shares }.abi_encode(),
            Pool::Delegation(provider) => ProviderStaking::undelegateCall { provider, shares }.abi_encode(),
        })
    }

    /// The shares of a pool that are worth so much, or all that a holder has, and what they are worth.
    async fn shares_for(
        &self,
        pool: Pool,
        holder: Address,
        wanted: Option<Amount>,
    ) -> Result<(U256, Amount), StakingError> {
        let position = self.position(pool, holder).await?;
        if position.shares == U256::ZERO {
            return Err(StakingError::NoStake { pool });
        }
        Ok(match wanted {
            None => (position.shares, position.value),
            Some(wanted) if wanted > position.value => {
                return Err(StakingError::TooLittle { pool, value: position.value, wanted });
            }
            Some(wanted) => {
                let state = self
                    .read("a pool", self.staking, ProviderStaking::poolOfCall { pool: pool.id() })
                    .await?;
                (shares_worth(wanted, state.active, state.shares).min(position.shares), wanted)
            }
        })
    }

    /// The call that pays out what has thawed and what was earned, and settles moves that are over; nothing when there is
    /// nothing.
    pub fn withdraw(portfolio: &Portfolio) -> Option<Vec<u8>> {
        let ended = portfolio.thaws.iter().filter(|thaw| thaw.end <= portfolio.now);
        let ids: Vec<B256> = ended.map(|thaw| thaw.id).collect();
        let mut calls = Vec::new();
        if !ids.is_empty() {
            calls.push(Bytes::from(ProviderStaking::withdrawCall { thawIds: ids }.abi_encode()));
        }
        for moved in portfolio.moves.iter().filter(|moved| moved.end <= portfolio.now) {
            calls.push(Bytes::from(ProviderStaking::settleMoveCall { moveId: moved.id }.abi_encode()));
        }
        if portfolio.earned > Amount::ZERO {
            calls.push(Bytes::from(ProviderStaking::withdrawEarningsCall {}.abi_encode()));
        }
        (!calls.is_empty()).then(|| ProviderStaking::multicallCall { data: calls }.abi_encode())
    }

    async fn with_permit(
        &self,
        owner: &PrivateKeySigner,
        amount: Amount,
        entry: Vec<u8>,
    ) -> Result<Vec<u8>, StakingError> {
        with_permit(&self.chain, self.tide, self.staking, owner, amount, entry)
            .await
            .map_err(|source| StakingError::Read { what: "what a permit needs", source })
    }

    async fn thaw(&self, id: B256) -> Result<IProviderStaking::ThawRequest, StakingError> {
        self.read("a thaw", self.staking, ProviderStaking::thawRequestCall { thawId: id }).await
    }

    async fn read<C: SolCall>(
        &self,
        what: &'static str,
        at: Address,
        call: C,
    ) -> Result<C::Return, StakingError> {
        self.chain.read(at, &call).await.map_err(|source| StakingError::Read { what, source })
    }
}

impl Pool {
    /// Its name on the ledger: the kind above the operator's 160 bits.
    pub fn id(self) -> B256 {
        let (kind, operator) = match self {
            Self::Bond(Role::Provider, operator) => (0, operator),
            Self::Bond(Role::Coordinator, operator) => (1, operator),
            Self::Delegation(operator) => (2, operator),
        };
        let mut id = operator.into_word();
        id[11] = kind;
        id
    }

    /// The pool of such a name.
    pub fn of_id(id: B256) -> Option<Self> {
        let operator = Address::from_slice(&id[12..]);
        match (&id[..11], id[11]) {
            ([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0) => Some(Self::Bond(Role::Provider, operator)),
            ([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1) => Some(Self::Bond(Role::Coordinator, operator)),
            ([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 2) => Some(Self::Delegation(operator)),
            _ => None,
        }
    }
}

impl std::fmt::Display for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bond(Role::Provider, operator) => write!(f, "the provider's bond of {operator}"),
            Self::Bond(Role::Coordinator, operator) => write!(f, "the coordinator's bond of {operator}"),
            Self::Delegation(operator) => write!(f, "the delegations to {operator}"),
        }
    }
}

/// The fewest shares for which a pool gives `wanted`: the inverse of `toTokensDown` in
/// contracts/src/libraries/SharePool.sol.
fn shares_worth(wanted: Amount, active: U256, shares: U256) -> U256 {
    (U256::from(wanted.wei()) * (shares + VIRTUAL_SHARES)).div_ceil(active + U256::ONE)
}

fn amount(what: &'static str, found: U256) -> Result<Amount, StakingError> {
    u128::try_from(found).map(Amount::from_wei).map_err(|_| StakingError::TooMuch { what, found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_named_as_the_contract_names_it() {
        let operator = Address::repeat_byte(0xab);
        for pool in [
            Pool::Bond(Role::Provider, operator),
            Pool::Bond(Role::Coordinator, operator),
            Pool::Delegation(operator),
        ] {
            assert_eq!(Pool::of_id(pool.id()), Some(pool));
        }
        let id = Pool::Delegation(operator).id();
        assert_eq!(U256::from_be_bytes(id.0) >> 160, U256::from(2));
        assert_eq!(Pool::of_id(B256::repeat_byte(1)), None);
    }

    #[test]
    fn as_many_shares_leave_as_are_worth_it() {
        let tokens =
            |shares: U256, active: U256, all: U256| shares * (active + U256::ONE) / (all + VIRTUAL_SHARES);
        for (active, all) in [(500, 500_000), (7, 3), (1, 1_000), (1_000_003, 17)] {
            let (active, all) = (U256::from(active), U256::from(all));
            for wanted in 1..7_u64 {
                let shares = shares_worth(Amount::from_wei(wanted.into()), active, all);
                assert!(tokens(shares, active, all) >= U256::from(wanted));
                assert!(tokens(shares - U256::ONE, active, all) < U256::from(wanted), "one less is too few");
            }
        }
    }
}
