//! One call, as often as it is tried.

use std::time::Instant;

use alloy::eips::eip7702::SignedAuthorization;
use alloy::primitives::map::AddressSet;
use alloy::primitives::{Address, TxKind, U256};
use alloy::rpc::types::state::AccountOverride;
use alloy::rpc::types::{AccessList, TransactionRequest};
use revm::context::result::{EVMError, ResultAndState};
use revm::context::{BlockEnv, TxEnv};
use revm::context_interface::either::Either;
use revm::handler::EthPrecompiles;
use revm::inspector::{InspectEvm, Inspector};
use revm::interpreter::{InstructionResult, Interpreter};
use revm::primitives::hardfork::SpecId;
use revm::{Context as EvmContext, MainBuilder, MainContext};

use super::super::context::{Context, Point, in_time};
use super::super::error::{Answer, invalid, no_header, no_state, not_callable, server};
use super::overrides::Overrides;
use crate::chain::{Draft, environment};

/// How many instructions pass between two looks at the clock.
const STEPS: u32 = 4_096;

pub(in crate::rpc) struct Call<'a> {
    context: &'a Context,
    tx: TxEnv,
    env: BlockEnv,
    state: Draft,
    deadline: Instant,
}

impl<'a> Call<'a> {
    /// Fills in what the request leaves open, as clients expect it.
    pub(in crate::rpc) fn new(
        context: &'a Context,
        request: &TransactionRequest,
        point: Point,
        overrides: Overrides,
        deadline: Instant,
    ) -> Answer<Call<'a>> {
        let rules = &context.shared.rules;
        let mut state = context.state_at(point)?;
        for (address, account) in overrides.state {
            replace(&mut state, address, account)?;
        }
        let block = context.block_at(point)?.ok_or_else(no_header)?;
        let header = &block.header;
        let mut env = environment(rules, block.number(), header.timestamp, block.base_fee(), header.mix_hash);
        overrides.block.change(&mut env);
        if request.chain_id.is_some_and(|have| have != rules.chain_id) {
            let (have, want) = (request.chain_id.unwrap_or_default(), rules.chain_id);
            return Err(server(format!("chainId does not match node's (have={have}, want={want})")));
        }
        if request.has_eip4844_fields() {
            return Err(server("transaction type not supported: this ledger takes no blob transactions"));
        }
        let (price, tip) = fees(request, env.basefee)?;
        // Who names no price does not want to pay one.
        if price == 0 {
            env.basefee = 0;
        }
        let caller = request.from.unwrap_or_default();
        let account = state.account(caller).map_err(no_state)?.unwrap_or_default();
        let value = request.value.unwrap_or_default();
        // The block's gas may be said to be other; what is spent here on one call is not.
        let most = env.gas_limit.min(rules.gas_limit);
        let mut gas_limit = request.gas.unwrap_or(most).min(most);
        if request.gas.is_none() && price > 0 {
            let affordable = account.balance.saturating_sub(value) / U256::from(price);
            gas_limit = gas_limit.min(u64::try_from(affordable).unwrap_or(u64::MAX));
        }
        let input = request.input.unique_input().map_err(|_| {
            invalid("both \"data\" and \"input\" are set and not equal; please use \"input\"")
        })?;
        let authorizations: &[SignedAuthorization] =
            request.authorization_list.as_deref().unwrap_or_default();
        let tx = TxEnv {
            tx_type: kind(request, tip.is_some(), authorizations),
            caller,
            gas_limit,
            gas_price: price,
            kind: request.to.unwrap_or(TxKind::Create),
            value,
            data: input.cloned().unwrap_or_default(),
            nonce: request.nonce.unwrap_or(account.nonce),
            chain_id: Some(rules.chain_id),
            access_list: request.access_list.clone().unwrap_or_default(),
            gas_priority_fee: tip,
            blob_hashes: Vec::new(),
            max_fee_per_blob_gas: 0,
            authorization_list: authorizations.iter().cloned().map(Either::Left).collect(),
        };
        Ok(Call { context, tx, env, state, deadline })
    }

    pub(in crate::rpc) fn gas_limit(&self) -> u64 {
        self.tx.gas_limit
    }

    /// Whether nothing is executed: a value for an account without code.
    pub(in crate::rpc) fn is_transfer(&self) -> bool {
        let TxKind::Call(to) = self.tx.kind else { return false };
        let account = self.state.account(to).ok().flatten().unwrap_or_default();
        self.tx.data.is_empty()
            && account.code_hash == revm::primitives::KECCAK_EMPTY
            && !EthPrecompiles::new(SpecId::PRAGUE).warm_addresses().contains(&to)
    }

    pub(super) fn set_access_list(&mut self, list: AccessList) {
        self.tx.access_list = list;
        self.tx.tx_type = self.tx.tx_type.max(1);
    }

    /// The accounts that are warm in any transaction.
    pub(super) fn implied_addresses(&self) -> AddressSet {
        let mut implied: AddressSet = EthPrecompiles::new(SpecId::PRAGUE).warm_addresses().clone();
        implied.extend([self.tx.caller, self.env.beneficiary]);
        implied.insert(match self.tx.kind {
            TxKind::Call(to) => to,
            TxKind::Create => self.tx.caller.create(self.tx.nonce),
        });
        implied
    }

    /// Executes the call with so much gas.
    pub(in crate::rpc) fn run(&self, gas_limit: u64) -> Answer<ResultAndState> {
        let timeout = self.context.options.call_timeout;
        in_time(self.deadline, timeout)?;
        let mut cfg = self.context.shared.rules.cfg();
        cfg.disable_nonce_check = true;
        // Contracts call each other in the world; here they may stand at the beginning.
        cfg.disable_eip3607 = true;
        let mut evm = EvmContext::mainnet()
            .with_db(self.state.clone())
            .with_block(self.env.clone())
            .modify_cfg_chained(|old| *old = cfg)
            .build_mainnet_with_inspector(Deadline::new(self.deadline));
        let ran = evm.inspect_tx(TxEnv { gas_limit, ..self.tx.clone() });
        if evm.inspector.is_over {
            in_time(self.deadline, timeout)?;
        }
        ran.map_err(|error| match error {
            EVMError::Transaction(invalid) => not_callable(&invalid),
            EVMError::Database(gone) => no_state(gone),
            EVMError::Header(header) => server(header.to_string()),
            EVMError::Custom(text) => server(text),
            EVMError::CustomAny(any) => server(any.to_string()),
        })
    }
}

/// The most it pays per gas, and the tip if it is of EIP-1559.
fn fees(request: &TransactionRequest, base_fee: u64) -> Answer<(u128, Option<u128>)> {
    match (request.gas_price, request.max_fee_per_gas, request.max_priority_fee_per_gas) {
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
            Err(invalid("both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified"))
        }
        (Some(price), None, None) => Ok((price, None)),
        (None, Some(cap), tip) => Ok((cap, Some(tip.unwrap_or(0)))),
        (None, None, Some(tip)) if tip > 0 => Ok((tip.saturating_add(base_fee.into()), Some(tip))),
        (None, None, _) => Ok((0, None)),
    }
}

fn kind(request: &TransactionRequest, has_tip: bool, authorizations: &[SignedAuthorization]) -> u8 {
    match (authorizations.is_empty(), has_tip, request.access_list.is_some()) {
        (false, ..) => 4,
        (true, true, _) => 2,
        (true, false, true) => 1,
        (true, false, false) => 0,
    }
}

fn replace(state: &mut Draft, address: Address, replaced: AccountOverride) -> Answer<()> {
    if replaced.move_precompile_to.is_some() {
        return Err(invalid("precompiles cannot be moved on this ledger"));
    }
    if replaced.state.is_some() && replaced.state_diff.is_some() {
        return Err(invalid(format!("account {address} has both \"state\" and \"stateDiff\"")));
    }
    let mut account = state.account(address).map_err(no_state)?.unwrap_or_default();
    account.balance = replaced.balance.unwrap_or(account.balance);
    account.nonce = replaced.nonce.unwrap_or(account.nonce);
    if let Some(code) = replaced.code {
        account.code_hash = state.add_code(revm::state::Bytecode::new_legacy(code));
    }
    state.set_account(address, account);
    if replaced.state.is_some() {
        state.forget_storage(address);
    }
    for (slot, value) in replaced.state.into_iter().chain(replaced.state_diff).flatten() {
        state.set_slot(address, slot.into(), value.into());
    }
    Ok(())
}

/// Ends a call that takes too long. Gas bounds work, but not how long a slow machine needs for it.
struct Deadline {
    at: Instant,
    steps: u32,
    is_over: bool,
}

impl Deadline {
    fn new(at: Instant) -> Deadline {
        // The first look comes at once: halving asks many times in a row.
        Deadline { at, steps: 0, is_over: Instant::now() >= at }
    }
}

impl<CTX> Inspector<CTX> for Deadline {
    fn step(&mut self, interpreter: &mut Interpreter, _: &mut CTX) {
        self.steps += 1;
        if self.steps >= STEPS {
            self.steps = 0;
            self.is_over |= Instant::now() >= self.at;
        }
        if self.is_over {
            interpreter.halt(InstructionResult::OutOfGas);
        }
    }
}
