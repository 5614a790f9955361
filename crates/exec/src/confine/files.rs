//! Landlock without a single rule: what the worker was handed is all that it has.

use landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, Ruleset, RulesetAttr, RulesetError, RulesetStatus,
    Scope,
};

/// What is asked for; a kernel that knows less gives what it knows.
const ASKED: ABI = ABI::V6;

/// Forbids this thread, and those that it will start, to open or change any file by name, to use ports, and to reach
/// processes and abstract sockets that are not as confined.
///
/// # Errors
/// With a sentence about what the kernel lacks.
pub(super) fn none_by_name() -> Result<(), String> {
    let restrict = || -> Result<_, RulesetError> {
        Ruleset::default()
            .handle_access(AccessFs::from_all(ASKED))?
            .handle_access(AccessNet::from_all(ASKED))?
            .scope(Scope::from_all(ASKED))?
            .create()?
            .restrict_self()
    };
    let status = restrict().map_err(|error| error.to_string())?;
    match (status.ruleset, status.landlock) {
        (RulesetStatus::FullyEnforced, _) => Ok(()),
        (RulesetStatus::PartiallyEnforced, LandlockStatus::Available { effective_abi, .. }) => {
            Err(format!("this kernel's Landlock is {effective_abi:?} of {ASKED:?}"))
        }
        (_, LandlockStatus::NotEnabled) => Err("Landlock is not enabled in this kernel".to_owned()),
        _ => Err("this kernel has no Landlock".to_owned()),
    }
}
