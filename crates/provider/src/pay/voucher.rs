//! Whether a voucher is good: what must hold before it is written down and counts.

use tidemill_types::{Address, Amount, EscrowContract, EscrowId, SignatureError, Signed, Voucher};

/// What is known of an escrow when a voucher of it comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) contract: EscrowContract,
    /// The account of this provider.
    pub(crate) operator: Address,
    /// Who signs the escrow's vouchers.
    pub(crate) signer: Address,
    /// The newest voucher so far.
    pub(crate) newest: Option<Signed<Voucher>>,
    /// What the escrow holds and held, if the ledger was asked.
    pub(crate) deposited: Option<Amount>,
}

/// What a good voucher comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Promise {
    /// It replaces what there was.
    New,
    /// It is what there is already.
    Repeated,
}

/// What is wrong with a voucher.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum VoucherError {
    /// No work was done for this escrow, or it has ended.
    #[error("no work was done for the escrow {}", .0.short())]
    UnknownEscrow(EscrowId),
    /// It is for somebody else.
    #[error("it pays {found}, and not {expected}")]
    OtherProvider {
        /// Whom it pays.
        found: Address,
        /// Who this provider is.
        expected: Address,
    },
    /// The coordinator did not sign it for this ledger.
    #[error("the coordinator's signature for this ledger does not hold: {0}")]
    Signature(SignatureError),
    /// The total does not hold the amount, which it is a part of.
    #[error("it promises {amount}, and says that all providers together are promised {total}")]
    TotalBelowAmount {
        /// What this provider is promised.
        amount: Amount,
        /// What all are said to be.
        total: Amount,
    },
    /// It has the number of another one: the two prove a fraud.
    #[error("it has the number {sequence}, as has another one that says something else")]
    SequenceReused {
        /// The number.
        sequence: u64,
    },
    /// It is older than what is there.
    #[error("it has the number {found}, and the last one had {last}")]
    NotRising {
        /// Its number.
        found: u64,
        /// The number of the last one.
        last: u64,
    },
    /// It takes something back.
    #[error("it promises {found}, and the last one promised {last}")]
    Smaller {
        /// What it promises.
        found: Amount,
        /// What the last one promised.
        last: Amount,
    },
    /// The escrow does not hold what it promises.
    #[error("it promises {amount}, and the escrow holds {deposited}")]
    OverDeposit {
        /// What it promises.
        amount: Amount,
        /// What was ever put in.
        deposited: Amount,
    },
    /// The escrow does not hold what is promised to all.
    #[error("all providers together are promised {total}, and the escrow holds {deposited}")]
    OverIssue {
        /// What is promised.
        total: Amount,
        /// What was ever put in.
        deposited: Amount,
    },
}

impl VoucherError {
    /// Whether the voucher promises more than there is, by what is known of the escrow.
    pub(crate) fn is_over_issue(&self) -> bool {
        matches!(self, Self::OverDeposit { .. } | Self::OverIssue { .. })
    }

    /// Whether the voucher proves a fraud.
    pub(crate) fn is_evidence(&self) -> bool {
        self.is_over_issue() || matches!(self, Self::SequenceReused { .. })
    }
}

/// Checks a voucher of an escrow that is known.
pub(crate) fn check(signed: &Signed<Voucher>, known: &Known) -> Result<Promise, VoucherError> {
    let voucher = signed.body;
    if voucher.provider != known.operator {
        let (found, expected) = (voucher.provider, known.operator);
        return Err(VoucherError::OtherProvider { found, expected });
    }
    signed.verify(&known.contract, known.signer).map_err(VoucherError::Signature)?;
    if let Some(newest) = known.newest.map(|newest| newest.body) {
        if voucher == newest {
            return Ok(Promise::Repeated);
        }
        if voucher.sequence == newest.sequence {
            return Err(VoucherError::SequenceReused { sequence: voucher.sequence });
        }
        if voucher.sequence < newest.sequence {
            return Err(VoucherError::NotRising { found: voucher.sequence, last: newest.sequence });
        }
        if voucher.amount < newest.amount {
            return Err(VoucherError::Smaller { found: voucher.amount, last: newest.amount });
        }
    }
    let Voucher { amount, total, .. } = voucher;
    if total < amount {
        return Err(VoucherError::TotalBelowAmount { amount, total });
    }
    check_deposit(&voucher, known.deposited)?;
    Ok(Promise::New)
}

/// Whether an escrow holds what a voucher of it promises, as far as is known.
pub(crate) fn check_deposit(voucher: &Voucher, deposited: Option<Amount>) -> Result<(), VoucherError> {
    let Some(deposited) = deposited else { return Ok(()) };
    let Voucher { amount, total, .. } = *voucher;
    if amount > deposited {
        return Err(VoucherError::OverDeposit { amount, deposited });
    }
    if total > deposited {
        return Err(VoucherError::OverIssue { total, deposited });
    }
    Ok(())
}
